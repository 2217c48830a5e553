// Upstream: many
// Downstream: code, frequency, price
// Role: A price bar as fetched from a source (any field may be missing or unreadable) and as stored.

use std::fmt;

use chrono::NaiveDateTime;
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::domain::{Code, Frequency, Price};

/// The source of a row: Ginkgo's `SOURCE_TYPES` value (column `source`), and what the values of the source are good
/// for. Two ids with the same number are the same source.
#[derive(Debug, Clone, Copy)]
pub struct SourceId {
    number: i8,
    has_amounts: bool,
    has_exact_prices: bool,
    has_factors_of_all_days: bool,
}

impl SourceId {
    /// A source without a Ginkgo number, such as a directory of files.
    pub const OTHER: Self = Self::new(0);
    /// BaoStock.
    pub const BAOSTOCK: Self = Self::new(4).with_factors_of_all_days();
    /// Tushare Pro.
    pub const TUSHARE: Self = Self::new(7).with_factors_of_all_days();
    /// TDX.
    pub const TDX: Self = Self::new(8);
    /// A database of the user.
    pub const DATABASE: Self = Self::new(10);

    /// A source with amounts and exact prices.
    pub const fn new(number: i8) -> Self {
        Self { number, has_amounts: true, has_exact_prices: true, has_factors_of_all_days: false }
    }

    /// The same source, whose bars lack the traded amount. Ginkgo's column is not nullable, so 0 is stored for
    /// "unknown".
    pub const fn without_amounts(self) -> Self {
        Self { has_amounts: false, ..self }
    }

    /// The same source, whose prices are not those of the exchange, for example computed back from adjusted ones.
    pub const fn without_exact_prices(self) -> Self {
        Self { has_exact_prices: false, ..self }
    }

    const fn with_factors_of_all_days(self) -> Self {
        Self { has_factors_of_all_days: true, ..self }
    }

    /// Ginkgo's number.
    pub fn number(self) -> i8 {
        self.number
    }

    /// Whether the source provides the exchange's exact prices.
    pub fn has_exact_prices(self) -> bool {
        self.has_exact_prices
    }

    /// Whether the source has an adjustment factor for each trading day since the listing, including days without
    /// trades.
    pub fn has_factors_of_all_days(self) -> bool {
        self.has_factors_of_all_days
    }

    /// Whether the source's bars contain the traded amount.
    pub fn has_amounts(self) -> bool {
        self.has_amounts
    }
}

impl PartialEq for SourceId {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for SourceId {}

/// A fixed-point number with two decimals, stored as an integer number of hundredths. This is the scale of Ginkgo's
/// amount column (`Decimal(16,2)`). Values are rounded only once and never pass through binary floating
/// point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hundredths(pub i64);

impl Hundredths {
    /// `Decimal(16,2)` holds fewer than 10^16 hundredths.
    const LIMIT: i64 = 10_000_000_000_000_000;

    /// Rounds half away from zero to two decimals; `None` if the value does not fit `Decimal(16,2)`.
    pub fn from_decimal(value: Decimal) -> Option<Self> {
        let rounded = value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
        let hundredths = rounded.checked_mul(Decimal::ONE_HUNDRED)?.to_i64()?;
        (hundredths.abs() < Self::LIMIT).then_some(Self(hundredths))
    }

    /// The value as an exact decimal.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.0, 2)
    }
}

impl fmt::Debug for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_decimal())
    }
}

impl fmt::Display for Hundredths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_decimal())
    }
}

/// One field of a row as fetched from a source. No default replaces a missing value: the Validator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field<T> {
    /// A readable value.
    Value(T),
    /// Null, empty or NaN.
    Missing,
    /// A text that cannot be parsed as this type. It is kept, shortened, for the report.
    Unreadable(Box<str>),
}

impl<T> Field<T> {
    /// Maximum length of the text of an unreadable field, in characters: enough to recognise it in a report.
    pub const MAX_TEXT: usize = 40;

    /// An unreadable field with its text shortened to [`Self::MAX_TEXT`] characters.
    pub fn unreadable(text: &str) -> Self {
        Self::Unreadable(text.chars().take(Self::MAX_TEXT).collect())
    }

    /// The value, if there is one.
    pub fn value(&self) -> Option<&T> {
        if let Self::Value(value) = self { Some(value) } else { None }
    }
}

impl Field<Decimal> {
    /// Parses a number in plain or scientific notation. Empty text, `null`, `None` and `NaN` are missing values.
    pub fn number(text: &str) -> Self {
        let text = text.trim();
        match text {
            "" | "null" | "None" | "NaN" | "nan" | "NAN" => return Self::Missing,
            _ => {}
        }
        text.parse::<Decimal>()
            .or_else(|_| Decimal::from_scientific(text))
            .map_or_else(|_| Self::unreadable(text), Self::Value)
    }
}

/// A bar as fetched from a source, converted to Ginkgo's units and time zone, not yet checked.
///
/// Units: prices in yuan; volume in lots of 100 shares; amount in thousand yuan; time as naive Shanghai wall clock,
/// midnight for a daily bar. Each adapter converts to these units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedBar {
    /// Shanghai wall clock; midnight of the day for a daily bar.
    pub timestamp: Field<NaiveDateTime>,
    /// Opening price, yuan.
    pub open: Field<Decimal>,
    /// Highest price, yuan.
    pub high: Field<Decimal>,
    /// Lowest price, yuan.
    pub low: Field<Decimal>,
    /// Closing price, yuan.
    pub close: Field<Decimal>,
    /// Volume in lots of 100 shares; the fraction is truncated when the bar is stored.
    pub volume: Field<Decimal>,
    /// Turnover in thousand yuan.
    pub amount: Field<Decimal>,
}

/// A bar that passed every rule and fits its columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// The security.
    pub code: Code,
    /// The frequency.
    pub frequency: Frequency,
    /// Shanghai wall clock.
    pub timestamp: NaiveDateTime,
    /// Opening price, yuan.
    pub open: Price,
    /// Highest price, yuan.
    pub high: Price,
    /// Lowest price, yuan.
    pub low: Price,
    /// Closing price, yuan.
    pub close: Price,
    /// Volume in lots of 100 shares.
    pub volume: i32,
    /// Turnover in thousand yuan.
    pub amount: Hundredths,
    /// The source of the row.
    pub source: SourceId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hundredths_round_half_up_and_reject_overflow() {
        let read = |text: &str| Hundredths::from_decimal(text.parse().unwrap()).map(|h| h.0);
        assert_eq!(read("1.005"), Some(101)); // binary floating point would round to 1.00
        assert_eq!(read("2.675"), Some(268));
        assert_eq!(read("460697.377"), Some(46_069_738));
        assert_eq!(read("99999999999999.99"), Some(9_999_999_999_999_999));
        assert_eq!(read("100000000000000"), None);
        assert_eq!(read("79228162514264337593543950335"), None);
    }

    #[test]
    fn a_number_field_keeps_what_it_could_not_read() {
        assert_eq!(Field::number("8.75"), Field::Value(Decimal::new(875, 2)));
        assert_eq!(Field::number("1.5e3"), Field::Value(Decimal::new(1500, 0)));
        assert_eq!(Field::number("NaN"), Field::Missing);
        assert_eq!(Field::number(" "), Field::Missing);
        assert_eq!(Field::number("abc"), Field::unreadable("abc"));
        assert_eq!(Field::number("inf"), Field::unreadable("inf"));
    }
}
