// Upstream: many
// Downstream: actors, config
// Role: Converts numbers in a vendor's smaller unit to Ginkgo's unit without rounding.

use actors::domain::Field;
use rust_decimal::Decimal;

use crate::config::{AmountUnit, VolumeUnit};

/// Decimal places between shares and lots of 100 shares.
pub const SHARES: u32 = 2;
/// Decimal places between yuan and thousand yuan.
pub const YUAN: u32 = 3;

/// Converts a number whose unit is 10 to the power of `places` smaller than ours, by moving its decimal point to the
/// left. The result is exact, or unreadable if a decimal cannot hold it.
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

/// Converts a volume to lots of 100 shares.
pub fn lots(volume: Field<Decimal>, unit: VolumeUnit) -> Field<Decimal> {
    match unit {
        VolumeUnit::Shares => smaller(volume, SHARES),
        VolumeUnit::Lots => volume,
    }
}

/// Converts an amount to thousand yuan.
pub fn thousand_yuan(amount: Field<Decimal>, unit: AmountUnit) -> Field<Decimal> {
    match unit {
        AmountUnit::Yuan => smaller(amount, YUAN),
        AmountUnit::ThousandYuan => amount,
    }
}
