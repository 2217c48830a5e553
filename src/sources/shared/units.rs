// Upstream: many
// Downstream: actors, config
// Role: Numbers counted in a vendor's smaller unit, turned into Ginkgo's unit without rounding.

use actors::domain::Field;
use rust_decimal::Decimal;

use crate::config::{AmountUnit, VolumeUnit};

/// From shares to lots of 100 shares.
pub const SHARES: u32 = 2;
/// From yuan to thousand yuan.
pub const YUAN: u32 = 3;

/// A number counted in a unit that is 10 to the power of `places` smaller than ours: its decimal point moves to the left.
/// Exact, or unreadable where a decimal has no room for it.
pub fn smaller(number: Field<Decimal>, places: u32) -> Field<Decimal> {
    match number {
        Field::Value(mut value) => {
            let text = value.to_string();
            match value.set_scale(value.scale() + places) {
                Ok(()) => Field::Value(value),
                Err(_) => Field::unreadable(&text),
            }
        }
        other => other,
    }
}

/// A volume in lots of 100 shares.
pub fn lots(volume: Field<Decimal>, unit: VolumeUnit) -> Field<Decimal> {
    match unit {
        VolumeUnit::Shares => smaller(volume, SHARES),
        VolumeUnit::Lots => volume,
    }
}

/// An amount in thousand yuan.
pub fn thousand_yuan(amount: Field<Decimal>, unit: AmountUnit) -> Field<Decimal> {
    match unit {
        AmountUnit::Yuan => smaller(amount, YUAN),
        AmountUnit::ThousandYuan => amount,
    }
}
