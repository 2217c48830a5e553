// Upstream: sources::baostock, sources::tushare
// Downstream: actors
// Role: Reads what a vendor's row reports about a day besides the bar: reference price, suspension, ST.

use actors::domain::{DayNote, Field, Price};
use chrono::NaiveDateTime;
use rust_decimal::Decimal;

/// Builds the note of a day, or `None` if the day cannot be read. The reference price is left out unless it is above
/// zero.
pub fn day_note(
    day: &Field<NaiveDateTime>,
    reference: &Field<Decimal>,
    is_suspended: bool,
    is_special: Option<bool>,
) -> Option<DayNote> {
    let Field::Value(time) = day else { return None };
    let reference = match reference {
        Field::Value(price) => Price::from_decimal(*price).filter(|price| price.0 > 0),
        Field::Missing | Field::Unreadable(_) => None,
    };
    Some(DayNote { day: time.date(), reference, is_suspended, is_special })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_keeps_only_a_positive_reference_price() {
        let day = Field::Value("2024-01-02T00:00:00".parse().unwrap());
        let note = |price: &str| day_note(&day, &Field::number(price), false, Some(true)).unwrap();
        assert_eq!(note("8.7200000000").reference, Some(Price::fen(872)));
        assert_eq!([note("0").reference, note("").reference, note("x").reference], [None; 3]);
        assert_eq!(note("1").is_special, Some(true));
        assert_eq!(day_note(&Field::Missing, &Field::number("1"), false, None), None);
    }
}
