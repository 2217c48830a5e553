// Upstream: source
// Downstream: actors
// Role: How far back Yahoo's candles reach, and the request periods that cover a range of days. Pure.

use std::ops::Range;

use actors::domain::{DateRange, Frequency, shanghai_clock};
use actors::ports::SourceErrorKind;
use chrono::{Days, NaiveDate, NaiveTime};

/// How many days before today have candles of a frequency, and the maximum number of days per request; `None` means no
/// limit. Yahoo counts 30, 60 and 730 days to the second, so the first of these days is incomplete and not used.
fn reach(frequency: Frequency) -> (Option<u64>, Option<u64>) {
    match frequency {
        Frequency::Day => (None, None),
        // Yahoo allows at most 8 days per request.
        Frequency::Minute1 => (Some(29), Some(7)),
        Frequency::Minute5 | Frequency::Minute15 | Frequency::Minute30 => (Some(59), None),
        Frequency::Minute60 => (Some(729), None),
    }
}

/// The name of a frequency in a request.
pub fn interval(frequency: Frequency) -> &'static str {
    frequency.as_str()
}

/// Periods in Unix seconds from the start of a range to the present, so that every split after its bars is known.
pub fn periods(frequency: Frequency, range: DateRange, today: NaiveDate) -> Result<Vec<Range<i64>>, SourceErrorKind> {
    let (days_back, days_per_request) = reach(frequency);
    let first = days_back.and_then(|days| today.checked_sub_days(Days::new(days)));
    if let (Some(days), Some(first)) = (days_back, first)
        && range.start < first
    {
        let text = format!(
            "Yahoo has {frequency} bars of the last {days} days only, but the request begins on {}; \
             see fetch.first_minute_days",
            range.start
        );
        return Err(SourceErrorKind::BadRequest(text));
    }
    let midnight = |day: NaiveDate| shanghai_clock::instant(day.and_time(NaiveTime::MIN)).timestamp();
    let after = |day: NaiveDate, days: u64| day.checked_add_days(Days::new(days)).unwrap_or(day);
    let end = after(range.end.max(today), 1);
    let mut periods = Vec::new();
    let mut start = range.start;
    while start < end {
        let next = days_per_request.map_or(end, |days| after(start, days).min(end));
        periods.push(midnight(start)..midnight(next));
        start = next;
    }
    Ok(periods)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn of(frequency: Frequency, start: &str, end: &str) -> Result<Vec<Range<i64>>, SourceErrorKind> {
        periods(frequency, DateRange { start: day(start), end: day(end) }, day("2024-03-29"))
    }

    #[test]
    fn a_request_reaches_to_the_present() {
        // Midnights in Shanghai are 16:00 UTC of the previous day.
        let expected = 1_704_124_800..1_711_728_000;
        assert_eq!(of(Frequency::Day, "2024-01-02", "2024-01-05"), Ok(vec![expected]));
        assert_eq!(of(Frequency::Day, "1990-12-19", "2024-03-29").unwrap().len(), 1);
        let today = of(Frequency::Minute5, "2024-03-29", "2024-03-29").unwrap();
        assert_eq!((today.len(), today[0].clone()), (1, 1_711_641_600..1_711_728_000));
    }

    #[test]
    fn requests_single_minutes_by_week_without_gaps() {
        let periods = of(Frequency::Minute1, "2024-02-29", "2024-03-01").unwrap();
        assert_eq!(periods.len(), 5);
        assert!(periods.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(periods.iter().all(|period| period.end - period.start <= 7 * 86_400));
        assert_eq!(periods.last().unwrap().end, 1_711_728_000);
    }

    #[test]
    fn rejects_ranges_beyond_the_reach() {
        let refused = |frequency, start| of(frequency, start, "2024-03-29").unwrap_err().to_string();
        assert!(refused(Frequency::Minute1, "2024-02-28").contains("last 29 days"));
        assert!(refused(Frequency::Minute30, "2024-01-29").contains("last 59 days"));
        assert!(refused(Frequency::Minute60, "2022-03-30").contains("last 729 days"));
        assert!(of(Frequency::Minute30, "2024-01-30", "2024-03-29").is_ok());
        assert!(of(Frequency::Minute60, "2022-03-31", "2024-03-29").is_ok());
    }
}
