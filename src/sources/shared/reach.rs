// Upstream: sources::eastmoney, sources::tdx
// Downstream: actors
// Role: Checks whether a vendor's minute bars reach back to the start of a range. Pure.

//! Vendors keep minute bars for a limited time. An answer with only some of the days would look complete, and replacing
//! the range would delete stored rows. So a range that begins before the vendor's oldest bar is rejected, unless the
//! security had no trading day before that bar.

use actors::domain::DateRange;
use actors::ports::{BarRequest, SourceErrorKind};
use chrono::NaiveDate;

/// The days of a range before the oldest available bar; `None` if the bars reach back to the first day.
pub fn days_before(oldest: Option<NaiveDate>, range: DateRange) -> Option<DateRange> {
    let end = match oldest {
        Some(oldest) => oldest.pred_opt()?.min(range.end),
        None => range.end,
    };
    (range.start <= end).then_some(DateRange { start: range.start, end })
}

/// The error of a range that begins before the oldest available bar.
pub fn too_far_back(request: &BarRequest, oldest: Option<NaiveDate>) -> SourceErrorKind {
    let BarRequest { code, frequency, range } = request;
    let begin = oldest.map_or("the source has none".to_owned(), |day| format!("they begin on {day}"));
    SourceErrorKind::BadRequest(format!(
        "{frequency} bars of {code} do not reach back to {}: {begin}; request later days or configure another source in \
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
