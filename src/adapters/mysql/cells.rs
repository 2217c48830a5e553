// Upstream: departed, stock_info, store, trade_day
// Downstream: none
// Role: Reads times from cells of Ginkgo's tables, where a missing or impossible date makes only its cell unknown.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use sqlx::Row;
use sqlx::mysql::MySqlRow;

/// The time in a cell that the query reads as text. `None` where there is none: NULL, or a date such as `0000-00-00`,
/// which the client cannot read in the column's own type.
pub fn time(row: &MySqlRow, index: usize) -> Result<Option<NaiveDateTime>, sqlx::Error> {
    let text: Option<String> = row.try_get(index)?;
    Ok(text.as_deref().and_then(parse))
}

fn parse(text: &str) -> Option<NaiveDateTime> {
    let date = || text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN));
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().or_else(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_dates_are_unknown() {
        let midnight = NaiveDate::from_ymd_opt(2024, 1, 2).map(|day| day.and_time(NaiveTime::MIN));
        for text in ["2024-01-02 00:00:00", "2024-01-02 00:00:00.000000", "2024-01-02"] {
            assert_eq!(parse(text), midnight, "{text}");
        }
        for text in ["0000-00-00 00:00:00", "2024-00-00", "2024-02-30 00:00:00", ""] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
