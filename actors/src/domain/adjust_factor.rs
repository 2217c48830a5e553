// Upstream: many
// Downstream: bar, code, row_version
// Role: Adjustment factors of a security: as fetched, as stored, and how the stored values derive from raw factors.

use chrono::NaiveDateTime;
use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};
use uuid::Uuid;

use crate::domain::row_version::{RowVersion, is_same_row};
use crate::domain::{Code, Field, SourceId};

/// The UUID namespace of factors. It is a constant, so every worker computes the same UUID for a row.
const FACTOR_NAMESPACE: Uuid = Uuid::from_u128(0x1f0b_7d64_52a9_4c37_9b1e_83d5_60f2_c48a);

/// A raw factor as fetched from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedFactor {
    /// Midnight of the day.
    pub timestamp: Field<NaiveDateTime>,
    /// The factor; must be greater than zero.
    pub factor: Field<Decimal>,
}

/// A fixed-point number with six decimals, stored as an integer number of millionths. This is the scale of Ginkgo's
/// factor columns (`Decimal(16, 6)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Millionths(pub i64);

impl Millionths {
    /// `Decimal(16, 6)` holds fewer than 10^16 millionths.
    const LIMIT: i64 = 10_000_000_000_000_000;

    /// Rounds half away from zero to six decimals; `None` if the value does not fit `Decimal(16, 6)`.
    pub fn from_decimal(value: Decimal) -> Option<Self> {
        let rounded = value.round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero);
        let millionths = rounded.checked_mul(Decimal::from(1_000_000))?.to_i64()?;
        (millionths.abs() < Self::LIMIT).then_some(Self(millionths))
    }

    /// The value as an exact decimal.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.0, 6)
    }

    /// The quotient of two factors; `None` if it does not fit.
    fn by(self, divisor: Self) -> Option<Self> {
        Self::from_decimal(self.to_decimal().checked_div(divisor.to_decimal())?)
    }
}

/// A raw factor that passed every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawFactor {
    /// Midnight of the day.
    pub timestamp: NaiveDateTime,
    /// The factor; greater than zero.
    pub factor: Millionths,
    /// The source of the factor.
    pub source: SourceId,
}

/// A stored row: the raw factor and the two factors by which Ginkgo's readers multiply prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdjustFactor {
    /// The security.
    pub code: Code,
    /// The raw factor.
    pub raw: RawFactor,
    /// The last raw factor of the series divided by this one.
    pub fore: Millionths,
    /// This raw factor divided by the first one of the series.
    pub back: Millionths,
    /// The version of a row that replaces others of its key.
    pub version: Option<RowVersion>,
}

impl AdjustFactor {
    /// The row of one day in a series with these first and last raw factors; `None` if a value does not fit.
    pub fn of(code: Code, raw: RawFactor, first: Millionths, last: Millionths) -> Option<Self> {
        Some(Self { code, raw, fore: last.by(raw.factor)?, back: raw.factor.by(first)?, version: None })
    }

    /// The row's UUID: 32 hexadecimal digits of its name, or of its version and its name (see [`RowVersion::uuid`]).
    pub fn uuid(&self) -> String {
        let uuid = self.version.map_or(self.name_based(), |version| version.uuid(self.name_based()));
        uuid.simple().to_string()
    }

    /// Whether a stored row with this UUID has the same key and values.
    pub fn is_stored_as(&self, uuid: &str) -> bool {
        is_same_row(uuid, &self.name_based().simple().to_string())
    }

    /// A UUID version 5 over the key and the values. It identifies an unchanged row in the store, so the row is not
    /// written again.
    fn name_based(&self) -> Uuid {
        let mut name = Vec::with_capacity(48);
        name.extend_from_slice(self.code.as_str().as_bytes());
        name.extend_from_slice(&self.raw.timestamp.and_utc().timestamp().to_le_bytes());
        for value in [self.raw.factor, self.fore, self.back] {
            name.extend_from_slice(&value.0.to_le_bytes());
        }
        Uuid::new_v5(&FACTOR_NAMESPACE, &name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    #[test]
    fn fore_and_back_are_the_readers_formulas() {
        let day = NaiveDate::from_ymd_opt(2024, 1, 2).unwrap().and_hms_opt(0, 0, 0).unwrap();
        let millionths = |text: &str| Millionths::from_decimal(text.parse().unwrap()).unwrap();
        let raw = RawFactor { timestamp: day, factor: millionths("108.031"), source: SourceId::TUSHARE };
        let code = "000001.SZ".parse().unwrap();
        let row = AdjustFactor::of(code, raw, millionths("1"), millionths("124.06")).unwrap();
        assert_eq!(row.fore, millionths("1.148374"), "last / factor, rounded half up");
        assert_eq!(row.back, millionths("108.031"), "factor / first");
        let later = AdjustFactor::of(code, raw, millionths("1"), millionths("125")).unwrap();
        assert_ne!(row.uuid(), later.uuid(), "another last factor is another row");
        assert_eq!(row.uuid(), row.uuid());
        assert_eq!(row.uuid().len(), 32);
    }
}
