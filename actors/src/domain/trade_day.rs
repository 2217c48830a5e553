// Upstream: many
// Downstream: bar
// Role: A day of the trading calendar, as fetched from a source and as stored.

use chrono::NaiveDateTime;
use rust_decimal::Decimal;

use crate::domain::{Field, SourceId};

/// A day as fetched from a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedTradeDay {
    /// Midnight of the day.
    pub date: Field<NaiveDateTime>,
    /// 1 (shares are traded) or 0.
    pub is_open: Field<Decimal>,
}

/// A day that passed every rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TradeDay {
    /// Midnight of the day.
    pub date: NaiveDateTime,
    /// Whether shares are traded on it.
    pub is_open: bool,
    /// The source of the row.
    pub source: SourceId,
}

/// Checks one day; returns the reason as text if it is invalid.
pub fn check(fetched: &FetchedTradeDay, source: SourceId) -> Result<TradeDay, String> {
    let date = match &fetched.date {
        Field::Value(date) => *date,
        other => return Err(format!("cal_date is {other:?}")),
    };
    let is_open = match &fetched.is_open {
        Field::Value(number) if *number == Decimal::ONE => true,
        Field::Value(number) if number.is_zero() => false,
        other => return Err(format!("is_open of {} is {other:?}", date.date())),
    };
    Ok(TradeDay { date, is_open, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    #[test]
    fn a_day_is_open_or_not_and_nothing_else() {
        let date = NaiveDate::from_ymd_opt(2024, 1, 2).unwrap().and_hms_opt(0, 0, 0).unwrap();
        let day = |is_open| check(&FetchedTradeDay { date: Field::Value(date), is_open }, SourceId::TUSHARE);
        assert!(day(Field::Value(Decimal::ONE)).unwrap().is_open);
        assert!(!day(Field::Value(Decimal::ZERO)).unwrap().is_open);
        assert!(day(Field::Value(Decimal::TWO)).unwrap_err().contains("2024-01-02"));
        assert!(day(Field::Missing).is_err());
    }
}
