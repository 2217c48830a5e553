// Upstream: coverage, data_worker, fetcher, gaps, validator, validator::rules
// Downstream: calendar, frequency, market_facts, task
// Role: The number of rows that a source should return, according to the trading calendar.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::domain::calendar::TradingCalendar;
use crate::domain::{DateRange, Frequency, Listing};

/// Time at which vendors should have the day's bars (Tushare documents 15:00 to 16:00 for daily bars). Before that the
/// day does not count as missing.
const VENDOR_DATA_READY: NaiveTime = match NaiveTime::from_hms_opt(17, 0, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// Time at which a daily bar is final: the after-hours trading of STAR and ChiNext, which is part of it, has ended.
const DAILY_BAR_FINAL: NaiveTime = match NaiveTime::from_hms_opt(15, 30, 0) {
    Some(time) => time,
    None => NaiveTime::MIN,
};

/// Minutes in the sessions of a full trading day.
const SESSION_MINUTES: u32 = 240;

/// Days with a market-wide early close, with the minutes that were certainly traded. The index fell by 7 % and trading
/// was halted: on 4 January 2016 at 13:33 after a 15-minute pause, on 7 January 2016 before 10:00.
const SHORT_DAYS: [(Option<NaiveDate>, u32); 2] =
    [(NaiveDate::from_ymd_opt(2016, 1, 4), 137), (NaiveDate::from_ymd_opt(2016, 1, 7), 13)];

/// Expected and missing row counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExpectedRows {
    /// Rows that the source should return.
    pub rows: u64,
    /// Expected rows that the source did not return.
    pub missing: u64,
}

/// The requested days and their context.
#[derive(Debug, Clone, Copy)]
pub struct RequestedDays<'a> {
    /// The requested range.
    pub range: DateRange,
    /// The frequency of the rows; [`Frequency::Day`] for other data with one row a day.
    pub frequency: Frequency,
    /// The trading calendar. Rows are expected on its trading days, and on every weekday after its end.
    pub calendar: &'a TradingCalendar,
    /// The listing of the security; `None` if unknown.
    pub listing: Option<&'a Listing>,
    /// Days on which the source reports the security as suspended, in ascending order.
    pub suspended: &'a [NaiveDate],
}

impl RequestedDays<'_> {
    /// Counts expected and missing rows of one answer. `came` contains the day of each row, in ascending order. `now`
    /// is Shanghai wall clock.
    ///
    /// A range that starts at the first possible day is cut: for daily bars to the listing day if it is known,
    /// otherwise to the first returned row. If no row was returned and the source reports no suspension, only the last
    /// day of the range is expected. Otherwise a suspended share, for which the same days are requested every evening,
    /// would count them all as missing each time.
    pub fn expect(&self, came: &[NaiveDate], now: NaiveDateTime) -> ExpectedRows {
        let Some(range) = self.expected_range(came, now) else { return ExpectedRows::default() };
        let mut days = self.calendar.expected_days(range);
        if came.is_empty() && self.suspended.is_empty() {
            days.drain(..days.len().saturating_sub(1));
        }
        let is_suspended = |day: &NaiveDate| self.suspended.binary_search(day).is_ok();
        let mut expected = ExpectedRows::default();
        for day in days.iter().filter(|day| !is_suspended(day)) {
            let rows = rows_of(self.frequency, *day);
            expected.rows += rows;
            expected.missing += rows.saturating_sub(num_of(*day, came));
        }
        expected
    }

    /// The expected trading days for which no row was returned, oldest first.
    pub fn missing_days(&self, came: &[NaiveDate], now: NaiveDateTime) -> Vec<NaiveDate> {
        let Some(range) = self.expected_range(came, now) else { return Vec::new() };
        let is_missing = |day: &NaiveDate| {
            self.suspended.binary_search(day).is_err()
                && rows_of(self.frequency, *day) > 0
                && came.binary_search(day).is_err()
        };
        self.calendar.expected_days(range).into_iter().filter(is_missing).collect()
    }

    fn expected_range(&self, came: &[NaiveDate], now: NaiveDateTime) -> Option<DateRange> {
        let end = self.range.end.min(last_expected_day(now));
        let is_dated = self.frequency == Frequency::Day && self.listing.is_some_and(|listing| listing.listed.is_some());
        let start = match came.first() {
            Some(first) if self.range.start <= self.frequency.first_day() && !is_dated => *first,
            _ => self.range.start,
        };
        let range = DateRange { start, end };
        self.listing.map_or(Some(range), |listing| listing.within(range)).filter(|range| range.start <= range.end)
    }
}

/// The last day whose daily bar is final at `now` (Shanghai wall clock). During a session vendors return an unfinished
/// bar. Once stored, no incremental fetch would request that day again.
pub fn last_closed_day(now: NaiveDateTime) -> NaiveDate {
    if now.time() >= DAILY_BAR_FINAL { now.date() } else { now.date().pred_opt().unwrap_or(now.date()) }
}

/// The last day whose rows are expected at `now` (Shanghai wall clock).
pub fn last_expected_day(now: NaiveDateTime) -> NaiveDate {
    if now.time() >= VENDOR_DATA_READY { now.date() } else { now.date().pred_opt().unwrap_or(now.date()) }
}

/// The trading days that ended early.
pub fn short_days() -> impl Iterator<Item = NaiveDate> {
    SHORT_DAYS.into_iter().filter_map(|(day, _)| day)
}

/// The minimum number of rows of a trading day.
pub fn rows_of(frequency: Frequency, day: NaiveDate) -> u64 {
    let Some(minutes) = frequency.minutes() else { return 1 };
    let short = SHORT_DAYS.iter().find(|(short, _)| *short == Some(day));
    let traded = short.map_or(SESSION_MINUTES, |(_, traded)| *traded);
    u64::from(traded / minutes.max(1))
}

fn num_of(day: NaiveDate, came: &[NaiveDate]) -> u64 {
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
        let ExpectedRows { rows, missing } = asked(range, Frequency::Day).expect(&came, at(now));
        (rows, missing)
    }

    #[test]
    fn weekdays_after_the_calendar_are_expected() {
        // The second Monday after the end, and the Friday of that week.
        let end = TradingCalendar::built_in().range().unwrap().end;
        let monday = end.week(chrono::Weekday::Mon).first_day() + chrono::Days::new(14);
        let (start, friday) = (monday.to_string(), (monday + chrono::Days::new(4)).to_string());
        let now = format!("{}T18:00:00", monday + chrono::Days::new(11));
        assert_eq!(days(&[&start], &start, &friday, &now), (5, 4), "unknown is not complete");
        assert_eq!(days(&[], &start, &friday, &now), (1, 1));
    }

    fn asked(range: DateRange, frequency: Frequency) -> RequestedDays<'static> {
        RequestedDays { range, frequency, calendar: TradingCalendar::built_in(), listing: None, suspended: &[] }
    }

    #[test]
    fn expects_rows_only_between_listing_and_delisting() {
        let (listed, delisted) = (Some(day("2024-05-27")), Some(day("2024-06-03")));
        let listing = Listing { code: "601061.SH".parse().unwrap(), name: String::new(), listed, delisted };
        let of = |start: &str, end: &str, came: &[&str]| {
            let came: Vec<NaiveDate> = came.iter().map(|text| day(text)).collect();
            let range = DateRange { start: day(start), end: day(end) };
            let asked = RequestedDays { listing: Some(&listing), ..asked(range, Frequency::Day) };
            let ExpectedRows { rows, missing } = asked.expect(&came, at(LATER));
            (rows, missing)
        };
        let first = DateRange::FIRST_TRADING_DAY.to_string();
        assert_eq!(of(&first, "2024-06-03", &["2024-05-28", "2024-05-31"]), (5, 3), "its first day is known");
        assert_eq!(of("2024-06-03", "2024-06-03", &[]), (0, 0));
        assert_eq!(of("2024-05-20", "2024-05-24", &[]), (0, 0));
        assert_eq!(of("2024-05-20", "2024-05-27", &[]), (1, 1));
    }

    #[test]
    fn suspended_day_is_not_missing() {
        let suspended = [day("2024-05-29"), day("2024-05-30")];
        let range = DateRange { start: day("2024-05-27"), end: day("2024-05-31") };
        let of = |came: &[&str]| {
            let came: Vec<NaiveDate> = came.iter().map(|text| day(text)).collect();
            let asked = RequestedDays { suspended: &suspended, ..asked(range, Frequency::Day) };
            let ExpectedRows { rows, missing } = asked.expect(&came, at(LATER));
            (rows, missing)
        };
        assert_eq!(of(&["2024-05-27", "2024-05-28", "2024-05-31"]), (3, 0));
        assert_eq!(of(&["2024-05-27", "2024-05-31"]), (3, 1));
        assert_eq!(of(&[]), (3, 3), "a source that reports suspensions must return the other days");
        let asked_days = RequestedDays { suspended: &suspended, ..asked(range, Frequency::Day) };
        let came = [day("2024-05-28"), day("2024-05-28")];
        assert_eq!(asked_days.missing_days(&came, at(LATER)), [day("2024-05-27"), day("2024-05-31")]);
        let all = DateRange { start: suspended[0], end: suspended[1] };
        let asked = RequestedDays { suspended: &suspended, ..asked(all, Frequency::Minute5) };
        assert_eq!(asked.expect(&[], at(LATER)), ExpectedRows::default());
    }

    #[test]
    fn days_that_ended_early_have_fewer_minutes() {
        let of = |date: &str, frequency, num: usize| {
            let range = DateRange { start: day(date), end: day(date) };
            let ExpectedRows { rows, missing } = asked(range, frequency).expect(&vec![day(date); num], at(LATER));
            (rows, missing)
        };
        assert_eq!(of("2016-01-04", Frequency::Minute1, 154), (137, 0), "a source may include the pause's minutes");
        assert_eq!(of("2016-01-07", Frequency::Minute1, 10), (13, 3));
        assert_eq!(of("2016-01-07", Frequency::Minute5, 6), (2, 0));
        assert_eq!(of("2016-01-07", Frequency::Minute60, 0), (0, 0));
        assert_eq!(of("2016-01-05", Frequency::Minute1, 154), (240, 86));
    }

    const LATER: &str = "2024-06-03T20:00:00";

    #[test]
    fn a_day_is_closed_once_its_trading_is_over() {
        assert_eq!(last_closed_day(at("2024-06-03T15:29:59")), day("2024-06-02"));
        assert_eq!(last_closed_day(at("2024-06-03T15:30:00")), day("2024-06-03"));
    }

    #[test]
    fn only_trading_days_without_rows_are_missing() {
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
        assert_eq!(days(&came, "2024-05-31", "2099-12-31", "2024-06-03T12:00:00"), (1, 0), "no future day is expected");
    }

    #[test]
    fn a_day_of_minutes_has_as_many_rows_as_its_sessions() {
        let range = DateRange { start: day("2024-01-02"), end: day("2024-01-03") };
        let of = |frequency, first: usize, second: usize| {
            let came = [vec![range.start; first], vec![range.end; second]].concat();
            let ExpectedRows { rows, missing } = asked(range, frequency).expect(&came, at(LATER));
            (rows, missing)
        };
        assert_eq!(of(Frequency::Minute1, 240, 241), (480, 0), "the opening auction's row replaces no other");
        assert_eq!(of(Frequency::Minute1, 241, 100), (480, 140));
        assert_eq!(of(Frequency::Minute5, 48, 0), (96, 48));
        assert_eq!(of(Frequency::Minute60, 4, 4), (8, 0));
    }
}
