// Upstream: sources::eastmoney, sources::tdx
// Downstream: actors
// Role: How far back a vendor's minute bars reach, and what to say when that is not enough. Pure.

//! Vendors keep minutes for a limited time. An answer with some of the days would be taken for all of them, and would take
//! stored rows away where the range is replaced: so a range that begins before the vendor's bars do is refused, unless the
//! security had no trading day before.

use actors::domain::DateRange;
use actors::ports::{BarRequest, SourceErrorKind};
use chrono::NaiveDate;

/// The days of a range before the oldest bar there is; `None` where the bars reach back to its first day.
pub fn days_before(oldest: Option<NaiveDate>, range: DateRange) -> Option<DateRange> {
    let end = match oldest {
        Some(oldest) => oldest.pred_opt()?.min(range.end),
        None => range.end,
    };
    (range.start <= end).then_some(DateRange { start: range.start, end })
}

/// The refusal of a range that begins too early.
pub fn too_far_back(request: &BarRequest, oldest: Option<NaiveDate>) -> SourceErrorKind {
    let BarRequest { code, frequency, range } = request;
    let begin = oldest.map_or("there are none".to_owned(), |day| format!("they begin on {day}"));
    SourceErrorKind::BadRequest(format!(
        "its {frequency} bars of {code} do not reach back to {}, {begin}; ask for later days, or name another source in \
         sources.minute_bars",
        range.start
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_days_before_the_oldest_bar_are_missing() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let range = |start, end| DateRange { start: day(start), end: day(end) };
        let asked = range("2024-01-02", "2024-01-31");
        assert_eq!(days_before(Some(day("2024-01-02")), asked), None);
        assert_eq!(days_before(Some(day("2023-12-29")), asked), None);
        assert_eq!(days_before(Some(day("2024-01-10")), asked), Some(range("2024-01-02", "2024-01-09")));
        assert_eq!(days_before(Some(day("2024-03-01")), asked), Some(asked));
        assert_eq!(days_before(None, asked), Some(asked));
    }
}
