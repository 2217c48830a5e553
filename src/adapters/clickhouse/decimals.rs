// Upstream: bars, schema, statements, table
// Downstream: actors
// Role: Decimal columns of prices and amounts: which ones hold Ginkgo's values, and how a number is encoded for them.

//! Ginkgo's columns are `Decimal(16, 2)`. A user may give them more decimals, as prices of funds, bonds and B shares
//! have three. ClickHouse stores a decimal as an integer of 8 or 16 bytes, counted in units of the last decimal.

use actors::domain::{Hundredths, Price, PriceFormat};

/// Number of such columns in a table of bars: open, high, low, close, amount.
pub const MAX_COLUMNS: usize = 5;

/// The fewest decimals of a column.
const MIN_SCALE: u32 = 2;

/// The fewest digits before the decimal point. The amount of an index on a day has nine, in thousand yuan.
const MIN_DIGITS: u32 = 10;

/// A decimal column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecimalColumn {
    precision: u32,
    scale: u32,
}

impl DecimalColumn {
    /// Ginkgo's column.
    pub const GINKGO: Self = Self { precision: 16, scale: 2 };

    /// The column of this type, such as `Decimal(18, 4)`; `None` if it cannot hold Ginkgo's values.
    pub fn of(kind: &str) -> Option<Self> {
        let (precision, scale) = kind.strip_prefix("Decimal(")?.strip_suffix(')')?.split_once(',')?;
        let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse::<u32>().ok()?);
        let column = Self { precision, scale };
        (scale >= MIN_SCALE && precision <= 38 && precision >= scale + MIN_DIGITS).then_some(column)
    }

    /// What the column holds of a price.
    pub fn price_format(self) -> PriceFormat {
        let (decimals, digits) = (self.scale, self.precision.saturating_sub(self.scale));
        PriceFormat { decimals, digits }.min(PriceFormat::FINEST)
    }

    /// Appends a price.
    pub fn put_price(self, bytes: &mut Vec<u8>, price: Price) {
        self.put(bytes, price.0.into(), Price::DECIMALS);
    }

    /// Appends an amount.
    pub fn put_amount(self, bytes: &mut Vec<u8>, amount: Hundredths) {
        self.put(bytes, amount.0.into(), 2);
    }

    /// Appends a number that has this many decimals, rounded half away from zero where the column has fewer.
    fn put(self, bytes: &mut Vec<u8>, number: i128, decimals: u32) {
        let units = if self.scale >= decimals {
            number.saturating_mul(10_i128.pow(self.scale - decimals))
        } else {
            let unit = 10_i128.pow(decimals - self.scale);
            (number + number.signum() * unit / 2) / unit
        };
        if self.precision <= 18 {
            bytes.extend_from_slice(&(units as i64).to_le_bytes());
        } else {
            bytes.extend_from_slice(&units.to_le_bytes());
        }
    }
}

/// The expression for a column's value in ten-thousandths, as a 64-bit integer. A price of up to 10^11 yuan passes
/// through the double unchanged.
pub fn ten_thousandths(column: &str) -> String {
    format!("toInt64(round(toFloat64({column}) * 10000))")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_with_room_for_prices_and_amounts_are_accepted() {
        for kind in ["Decimal(16, 2)", "Decimal(18, 4)", "Decimal(18,3)", "Decimal(18, 8)", "Decimal(38, 10)"] {
            assert!(DecimalColumn::of(kind).is_some(), "{kind}");
        }
        for kind in ["Decimal(16, 1)", "Decimal(9, 2)", "Decimal(18, 9)", "Decimal(76, 4)", "Float64", "Decimal(x, 2)"]
        {
            assert_eq!(DecimalColumn::of(kind), None, "{kind}");
        }
        let format = |kind| DecimalColumn::of(kind).unwrap().price_format();
        assert_eq!(format("Decimal(16, 2)"), PriceFormat::GINKGO);
        assert_eq!(format("Decimal(18, 8)"), PriceFormat { decimals: 4, digits: 10 });
    }

    #[test]
    fn numbers_are_scaled_to_the_column() {
        let put = |kind: &str, price: i64| {
            let mut bytes = Vec::new();
            DecimalColumn::of(kind).unwrap().put_price(&mut bytes, Price(price));
            bytes
        };
        assert_eq!(put("Decimal(16, 2)", 87_500), 875_i64.to_le_bytes());
        assert_eq!(put("Decimal(16, 2)", 18_550), 186_i64.to_le_bytes());
        assert_eq!(put("Decimal(18, 4)", 18_530), 18_530_i64.to_le_bytes());
        assert_eq!(put("Decimal(18, 6)", 18_530), 1_853_000_i64.to_le_bytes());
        assert_eq!(put("Decimal(38, 3)", 18_530), 1_853_i128.to_le_bytes());
        let mut bytes = Vec::new();
        DecimalColumn::of("Decimal(18, 4)").unwrap().put_amount(&mut bytes, Hundredths(-123));
        assert_eq!(bytes, (-12_300_i64).to_le_bytes());
    }
}
