// Upstream: many
// Downstream: none
// Role: A price with up to four decimals, and the decimals that a store's columns hold.

use std::fmt;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

/// A price in ten-thousandths of a yuan. Shares in yuan are traded in hundredths, funds, bonds and B shares in
/// thousandths. Values are rounded only once and never pass through binary floating point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Price(pub i64);

impl Price {
    /// Number of decimals.
    pub const DECIMALS: u32 = 4;
    /// Ten-thousandths in a hundredth of a yuan (fen).
    const FEN: i64 = 100;

    /// A price in whole fen.
    pub const fn fen(fen: i64) -> Self {
        Self(fen.saturating_mul(Self::FEN))
    }

    /// The price in fen, rounded half away from zero.
    pub fn to_fen(self) -> i64 {
        let half = if self.0 < 0 { -Self::FEN / 2 } else { Self::FEN / 2 };
        self.0.saturating_add(half) / Self::FEN
    }

    /// Whole fen, and the ten-thousandths beyond them.
    pub fn fen_and_rest(self) -> (i64, u8) {
        (self.0.div_euclid(Self::FEN), self.0.rem_euclid(Self::FEN) as u8)
    }

    /// Rounds half away from zero to four decimals; `None` if the value does not fit any column.
    pub fn from_decimal(value: Decimal) -> Option<Self> {
        PriceFormat::FINEST.round(value)
    }

    /// The value as an exact decimal, with at least two decimals.
    pub fn to_decimal(self) -> Decimal {
        match self.fen_and_rest() {
            (fen, 0) => Decimal::new(fen, 2),
            (_, rest) if rest % 10 == 0 => Decimal::new(self.0 / 10, 3),
            _ => Decimal::new(self.0, Self::DECIMALS),
        }
    }
}

impl fmt::Debug for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_decimal())
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_decimal())
    }
}

/// What the price columns of a store can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PriceFormat {
    /// Number of decimals, at most [`Price::DECIMALS`].
    pub decimals: u32,
    /// Number of digits before the decimal point, at most 14.
    pub digits: u32,
}

impl PriceFormat {
    /// Ginkgo's columns, `Decimal(16, 2)`.
    pub const GINKGO: Self = Self { decimals: 2, digits: 14 };
    /// The most that is kept of a price.
    pub const FINEST: Self = Self { decimals: Price::DECIMALS, digits: 14 };

    /// The format that holds no more than either.
    pub fn min(self, other: Self) -> Self {
        Self { decimals: self.decimals.min(other.decimals), digits: self.digits.min(other.digits) }
    }

    /// Rounds half away from zero to the decimals; `None` if the value has too many digits.
    pub fn round(self, value: Decimal) -> Option<Price> {
        let decimals = self.decimals.min(Price::DECIMALS);
        let rounded = value.round_dp_with_strategy(decimals, RoundingStrategy::MidpointAwayFromZero);
        let units = rounded.checked_mul(Decimal::from(10_i64.pow(Price::DECIMALS)))?.to_i64()?;
        self.has_room(rounded).then_some(Price(units))
    }

    /// Whether a value has no more digits before the decimal point than the columns.
    pub fn has_room(self, value: Decimal) -> bool {
        value.abs() < Decimal::from(10_i64.pow(self.digits.min(Self::FINEST.digits)))
    }

    /// Whether a value would be rounded.
    pub fn rounds(self, value: Decimal) -> bool {
        value.scale() > self.decimals && value.round_dp(self.decimals) != value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_keep_four_decimals_and_show_at_least_two() {
        let read = |text: &str| Price::from_decimal(text.parse().unwrap()).unwrap();
        for (text, shown) in [("1.853", "1.853"), ("105.1234", "105.1234"), ("8.5", "8.50"), ("10", "10.00")] {
            assert_eq!(read(text).to_string(), shown);
        }
        assert_eq!((read("8.75"), read("1.85349").0), (Price::fen(875), 18_535));
        assert_eq!((read("1.855").to_fen(), read("1.8549").to_fen(), Price(-150).to_fen()), (186, 185, -2));
        assert_eq!((read("1.853").fen_and_rest(), read("1.85").fen_and_rest()), ((185, 30), (185, 0)));
    }

    #[test]
    fn columns_limit_decimals_and_digits() {
        let round = |text: &str| PriceFormat::GINKGO.round(text.parse().unwrap()).map(|price| price.0);
        assert_eq!(round("1.005"), Some(10_100)); // binary floating point would round to 1.00
        assert_eq!(round("99999999999999.99"), Some(999_999_999_999_999_900));
        assert_eq!((round("100000000000000"), round("79228162514264337593543950335")), (None, None));
        let narrow = PriceFormat { decimals: 4, digits: 10 }.min(PriceFormat { decimals: 3, digits: 14 });
        assert_eq!(narrow, PriceFormat { decimals: 3, digits: 10 });
        assert_eq!(narrow.round("12345678901".parse().unwrap()), None);
        assert!(narrow.rounds("1.8531".parse().unwrap()) && !narrow.rounds("1.8530".parse().unwrap()));
    }
}
