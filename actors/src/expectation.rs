// Upstream: actors::validator
// Downstream: actors::domain::calendar, actors::domain::frequency, actors::domain::task
// Role: How many rows a fetch should have brought, by the exchanges' calendar, and how many of them did not come.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::domain::calendar::TradingCalendar;
use crate::domain::{DateRange, Frequency};

/// From then on vendors should have the day (Tushare documents 15:00 to 16:00 for daily bars); before, it is not missed.
const DAY_IS_THERE: NaiveTime = match NaiveTime::from_hms_opt(17, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// Minutes of a whole day's sessions.
const SESSION_MINUTES: u64 = 240;

/// What should have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Expectation {
    /// Rows that should have come.
    pub rows: u64,
    /// Those of them that did not.
    pub missing: u64,
}

/// Judges the rows of one answer; `came` are their days, one a row, in order. `now` is Shanghai's clock.
///
/// A range that goes back to the first day of all begins with the first row that came: before, the share was not listed.
/// Where nothing came at all, the last day stands for the range, because a suspended share is asked for the same days
/// again every evening. Days that the calendar does not know are not expected.
pub fn expect(range: DateRange, frequency: Frequency, came: &[NaiveDate], now: NaiveDateTime) -> Expectation {
    let last = if now.time() >= DAY_IS_THERE { Some(now.date()) } else { now.date().pred_opt() };
    let end = last.map_or(range.end, |last| range.end.min(last));
    let start = match came.first() {
        Some(first) if range.start <= frequency.first_day() => *first,
        _ => range.start,
    };
    let mut days = TradingCalendar::built_in().trading_days(DateRange { start, end });
    if came.is_empty() {
        days = days.last().map_or(&[], std::slice::from_ref);
    }
    let a_day = frequency.minutes().map_or(1, |minutes| SESSION_MINUTES / u64::from(minutes.max(1)));
    let missing = days.iter().map(|day| a_day.saturating_sub(rows_of(*day, came)));
    Expectation { rows: a_day * days.len() as u64, missing: missing.sum() }
}

fn rows_of(day: NaiveDate, came: &[NaiveDate]) -> u64 {
    let before = came.partition_point(|other| *other < day);
    let until = came.partition_point(|other| *other <= day);
    (until - before) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn at(text: &str) -> NaiveDateTime {
        text.parse().unwrap()
    }

    fn days(came: &[&str], start: &str, end: &str, now: &str) -> (u64, u64) {
        let came: Vec<NaiveDate> = came.iter().map(|text| day(text)).collect();
        let range = DateRange { start: day(start), end: day(end) };
        let Expectation { rows, missing } = expect(range, Frequency::Day, &came, at(now));
        (rows, missing)
    }

    const LATER: &str = "2024-06-03T20:00:00";

    #[test]
    fn holidays_and_weekends_are_no_gap_and_a_trading_day_without_a_row_is() {
        let came = ["2024-02-07", "2024-02-08", "2024-02-19"];
        assert_eq!(days(&came, "2024-02-07", "2024-02-19", LATER), (3, 0), "over the Spring Festival");
        assert_eq!(days(&["2024-02-07", "2024-02-19"], "2024-02-07", "2024-02-19", LATER), (3, 1));
        assert_eq!(days(&[], "2024-02-10", "2024-02-17", LATER), (0, 0), "nothing but holidays");
    }

    #[test]
    fn a_whole_history_begins_with_its_first_row() {
        let first = DateRange::FIRST_TRADING_DAY.to_string();
        assert_eq!(days(&["2024-05-29", "2024-05-31", "2024-06-03"], &first, "2024-06-03", LATER), (4, 1));
    }

    #[test]
    fn where_nothing_came_one_day_stands_for_the_range() {
        assert_eq!(days(&[], "2024-01-02", "2024-06-03", LATER), (1, 1));
    }

    #[test]
    fn today_is_expected_once_vendors_should_have_it() {
        let came = ["2024-05-31"];
        assert_eq!(days(&came, "2024-05-31", "2024-06-03", "2024-06-03T16:59:59"), (1, 0));
        assert_eq!(days(&came, "2024-05-31", "2024-06-03", "2024-06-03T17:00:00"), (2, 1));
        assert_eq!(days(&came, "2024-05-31", "2099-12-31", "2024-06-03T12:00:00"), (1, 0), "nor is the future");
    }

    #[test]
    fn a_day_of_minutes_has_as_many_rows_as_its_sessions() {
        let range = DateRange { start: day("2024-01-02"), end: day("2024-01-03") };
        let of = |frequency, first: usize, second: usize| {
            let came = [vec![range.start; first], vec![range.end; second]].concat();
            let Expectation { rows, missing } = expect(range, frequency, &came, at(LATER));
            (rows, missing)
        };
        assert_eq!(of(Frequency::Minute1, 240, 241), (480, 0), "the opening auction's row is one more, not another's");
        assert_eq!(of(Frequency::Minute1, 241, 100), (480, 140));
        assert_eq!(of(Frequency::Minute5, 48, 0), (96, 48));
        assert_eq!(of(Frequency::Minute60, 4, 4), (8, 0));
    }
}
