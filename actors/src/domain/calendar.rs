// Upstream: many
// Downstream: task
// Role: The built-in trading calendar of the A-share exchanges.

//! The past and future trading days. Working Saturdays that compensate for holidays are not trading days. The list ends
//! with the last year whose holidays the exchanges have announced. Whether shares are traded on later days is unknown.
//! Where rows are expected, later weekdays count as probable trading days: unknown must not look like complete.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use chrono::{Datelike, Days, NaiveDate, Weekday};

use crate::domain::DateRange;

const BUILT_IN: &str = include_str!("../../../data/calendar/a-share-trading-days.txt");

static CALENDAR: LazyLock<TradingCalendar> = LazyLock::new(|| TradingCalendar::parse(BUILT_IN));

/// Upper bound for a closure in calendar days. The longest closures lasted twelve days, for example at the Spring
/// Festival of 2000.
const LONGEST_CLOSURE: Days = Days::new(14);

/// Days before the end of the calendar from which on it is mentioned. The exchanges announce the next year in December.
pub const CALENDAR_NOTICE_DAYS: i64 = 45;

/// Trading days, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradingCalendar {
    days: Vec<NaiveDate>,
}

impl TradingCalendar {
    /// The calendar embedded in the program.
    pub fn built_in() -> &'static Self {
        &CALENDAR
    }

    /// Skips lines without a date, such as comments.
    fn parse(text: &str) -> Self {
        let days = text.lines().filter_map(|line| NaiveDate::parse_from_str(line.trim(), "%Y%m%d").ok());
        let mut days: Vec<NaiveDate> = days.collect();
        days.sort_unstable();
        days.dedup();
        Self { days }
    }

    /// The built-in calendar, corrected by `corrections`: pairs of a day and whether shares are traded on it. For a day
    /// that occurs twice the first pair takes precedence. Days after the built-in calendar extend it as long as gaps do
    /// not exceed [`LONGEST_CLOSURE`]. Days after a longer gap are ignored.
    pub fn corrected_by(corrections: &[(NaiveDate, bool)]) -> Self {
        let mut days: BTreeMap<NaiveDate, bool> = BTreeMap::new();
        for (day, is_open) in corrections {
            days.entry(*day).or_insert(*is_open);
        }
        let known = Self::built_in();
        let (Some(first), Some(mut end)) = (known.days.first().copied(), known.days.last().copied()) else {
            return known.clone();
        };
        days.retain(|day, _| {
            let is_near = *day >= first && *day <= end.checked_add_days(LONGEST_CLOSURE).unwrap_or(end);
            if is_near {
                end = end.max(*day);
            }
            is_near
        });
        for day in &known.days {
            days.entry(*day).or_insert(true);
        }
        Self { days: days.into_iter().filter_map(|(day, is_open)| is_open.then_some(day)).collect() }
    }

    /// The range from the first to the last known trading day; `None` if the calendar is empty.
    pub fn range(&self) -> Option<DateRange> {
        Some(DateRange { start: *self.days.first()?, end: *self.days.last()? })
    }

    /// Whether shares are traded on `date`; `None` outside [`Self::range`].
    pub fn is_trading_day(&self, date: NaiveDate) -> Option<bool> {
        self.range().filter(|range| range.contains(date))?;
        Some(self.days.binary_search(&date).is_ok())
    }

    /// The known trading days in `range`, oldest first.
    pub fn trading_days(&self, range: DateRange) -> &[NaiveDate] {
        let start = self.days.partition_point(|day| *day < range.start);
        let end = self.days.partition_point(|day| *day <= range.end);
        self.days.get(start..end).unwrap_or_default()
    }

    /// The days in `range` on which rows are expected, oldest first: the known trading days, and every weekday after
    /// the last of them. Some of those are holidays.
    pub fn expected_days(&self, range: DateRange) -> Vec<NaiveDate> {
        let mut days = self.trading_days(range).to_vec();
        days.extend(self.probable_days(range));
        days
    }

    /// Whether rows are expected on any day in `range`, as [`Self::expected_days`].
    pub fn expects_rows_in(&self, range: DateRange) -> bool {
        !self.trading_days(range).is_empty() || self.probable_days(range).next().is_some()
    }

    /// The weekdays in `range` after the last known trading day.
    fn probable_days(&self, range: DateRange) -> impl Iterator<Item = NaiveDate> {
        let after = self.days.last().and_then(NaiveDate::succ_opt);
        let later = after.map_or(range.start, |after| after.max(range.start));
        later.iter_days().take_while(move |day| *day <= range.end).filter(|day| is_weekday(*day))
    }

    /// Splits a range into parts of at most `days_per_part` days on which rows are expected. The parts cover the whole
    /// range: days between two parts belong to the first of them.
    pub fn cut(&self, range: DateRange, days_per_part: usize) -> Vec<DateRange> {
        let days = self.expected_days(range);
        let firsts: Vec<NaiveDate> = days.iter().step_by(days_per_part.max(1)).skip(1).copied().collect();
        let starts = std::iter::once(range.start).chain(firsts.iter().copied());
        let ends = firsts.iter().filter_map(NaiveDate::pred_opt).chain([range.end]);
        starts.zip(ends).map(|(start, end)| DateRange { start, end }).collect()
    }

    /// The last known trading day, if `range` goes beyond it.
    pub fn end_within(&self, range: DateRange) -> Option<NaiveDate> {
        self.days.last().copied().filter(|end| range.end > *end && is_weekday_between(*end, range.end))
    }

    /// The number of days from `today` to the last known trading day; negative after it.
    pub fn days_left(&self, today: NaiveDate) -> Option<i64> {
        Some((*self.days.last()? - today).num_days())
    }

    /// The last trading day before `date`; `None` if unknown.
    pub fn previous(&self, date: NaiveDate) -> Option<NaiveDate> {
        // The predecessor of the day after the last known trading day is known; that of later days may not be.
        if date.pred_opt()? > *self.days.last()? {
            return None;
        }
        let index = self.days.partition_point(|day| *day < date);
        self.days.get(index.checked_sub(1)?).copied()
    }

    /// The first of the last `count` trading days up to and including `date`. Outside the known range every weekday
    /// counts as a trading day.
    pub fn nth_last(&self, count: u32, date: NaiveDate) -> NaiveDate {
        let is_open = |day: NaiveDate| self.is_trading_day(day).unwrap_or(is_weekday(day));
        let mut days = std::iter::successors(Some(date), NaiveDate::pred_opt).filter(|day| is_open(*day));
        days.nth(count.saturating_sub(1) as usize).unwrap_or(DateRange::FIRST_TRADING_DAY)
    }

    /// The first trading day after `date`; `None` if unknown.
    pub fn next(&self, date: NaiveDate) -> Option<NaiveDate> {
        if date.succ_opt()? < *self.days.first()? {
            return None;
        }
        self.days.get(self.days.partition_point(|day| *day <= date)).copied()
    }
}

fn is_weekday(day: NaiveDate) -> bool {
    !matches!(day.weekday(), Weekday::Sat | Weekday::Sun)
}

/// Whether there is a weekday after `end`, up to and including `last`.
fn is_weekday_between(end: NaiveDate, last: NaiveDate) -> bool {
    end.iter_days().skip(1).take_while(|day| *day <= last).any(is_weekday)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_a_range_at_trading_days_without_gaps() {
        let day = |text: &str| -> NaiveDate { text.parse().unwrap() };
        let range = |start, end| DateRange { start: day(start), end: day(end) };
        let cut = |range, days| TradingCalendar::built_in().cut(range, days);
        // 2024-01-01 was a holiday; 6 and 7 January were a weekend.
        let parts = cut(range("2024-01-01", "2024-01-10"), 4);
        assert_eq!(parts, [range("2024-01-01", "2024-01-07"), range("2024-01-08", "2024-01-10")]);
        assert_eq!(cut(range("2024-01-06", "2024-01-07"), 4), [range("2024-01-06", "2024-01-07")]);
        assert_eq!(cut(range("2024-01-02", "2024-01-03"), 0).len(), 2);
        let whole = range("1990-01-01", "2030-12-31");
        let parts = cut(whole, 20);
        assert!(parts.windows(2).all(|pair| pair[0].end.succ_opt() == Some(pair[1].start)));
        assert_eq!((parts[0].start, parts[parts.len() - 1].end), (whole.start, whole.end));
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn every_line_of_the_list_is_a_day_in_order() {
        let lines: Vec<&str> = BUILT_IN.lines().filter(|line| !line.starts_with('#')).collect();
        let calendar = TradingCalendar::built_in();
        assert_eq!(calendar.days.len(), lines.len());
        let as_written = lines.iter().map(|line| NaiveDate::parse_from_str(line, "%Y%m%d").unwrap());
        assert!(as_written.eq(calendar.days.iter().copied()));
        assert_eq!(calendar.range().unwrap().start, DateRange::FIRST_TRADING_DAY);
        check_list(BUILT_IN);
    }

    /// What a list must fulfil: whole years of weekdays, and a first line with their range.
    fn check_list(text: &str) {
        let calendar = TradingCalendar::parse(text);
        assert!(calendar.days.iter().all(|day| is_weekday(*day)));
        let DateRange { start, end } = calendar.range().unwrap();
        let first_line = text.lines().next().unwrap();
        assert!(first_line.contains(&format!("{start} to {end},")), "{first_line}");
        for year in start.year() + 1..=end.year() {
            let of_year = |month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap();
            let days = calendar.trading_days(DateRange { start: of_year(1, 1), end: of_year(12, 31) });
            assert!((235..=260).contains(&days.len()), "{} days in {year}", days.len());
            assert!(days.last().unwrap() > &of_year(12, 24), "{year} is not whole");
        }
    }

    #[test]
    fn a_year_added_as_described_is_read() {
        let end = TradingCalendar::built_in().range().unwrap().end;
        let of_year = |month, day| NaiveDate::from_ymd_opt(end.year() + 1, month, day).unwrap();
        // New Year's Day is a holiday.
        let year = of_year(1, 2).iter_days().take_while(|day| *day <= of_year(12, 31)).filter(|day| is_weekday(*day));
        let last = year.clone().last().unwrap();
        let lines: String = year.map(|day| day.format("%Y%m%d\n").to_string()).collect();
        let text = format!("{}{lines}", BUILT_IN.replacen(&end.to_string(), &last.to_string(), 1));
        check_list(&text);
        let calendar = TradingCalendar::parse(&text);
        assert_eq!(calendar.is_trading_day(of_year(1, 1)), Some(false));
        assert_eq!(calendar.is_trading_day(last), Some(true));
        assert_eq!(calendar.end_within(DateRange { start: of_year(1, 1), end: last }), None);
    }

    #[test]
    fn tells_holidays_weekends_and_unknown_days_apart() {
        let calendar = TradingCalendar::built_in();
        assert_eq!(calendar.is_trading_day(day("2024-01-02")), Some(true));
        assert_eq!(calendar.is_trading_day(day("2024-01-01")), Some(false)); // New Year
        assert_eq!(calendar.is_trading_day(day("2024-02-12")), Some(false)); // Spring Festival
        assert_eq!(calendar.is_trading_day(day("2024-02-04")), Some(false)); // a Sunday on which offices worked
        assert_eq!(calendar.is_trading_day(day("1990-12-18")), None);
        assert_eq!(calendar.is_trading_day(NaiveDate::MAX), None);
    }

    #[test]
    fn stored_days_correct_and_extend_the_list() {
        let corrections = |days: &[(&str, bool)]| {
            TradingCalendar::corrected_by(&days.iter().map(|(text, is_open)| (day(text), *is_open)).collect::<Vec<_>>())
        };
        assert_eq!(&corrections(&[]), TradingCalendar::built_in());
        let calendar = corrections(&[("2024-01-02", false), ("2024-02-04", true), ("2024-02-04", false)]);
        assert_eq!(calendar.is_trading_day(day("2024-01-02")), Some(false));
        assert_eq!(calendar.is_trading_day(day("2024-02-04")), Some(true), "the first entry takes precedence");
        assert_eq!(calendar.is_trading_day(day("2024-01-03")), Some(true), "other days keep the built-in value");
        let end = TradingCalendar::built_in().range().unwrap().end;
        let after = |days| end + Days::new(days);
        let calendar =
            TradingCalendar::corrected_by(&[(after(1), false), (after(4), true), (after(5), true), (after(60), true)]);
        assert_eq!(calendar.is_trading_day(after(1)), Some(false));
        assert_eq!(calendar.is_trading_day(after(5)), Some(true));
        assert_eq!(calendar.is_trading_day(after(60)), None, "days after a long gap are unknown");
        assert_eq!(corrections(&[("1990-01-01", true)]).range(), TradingCalendar::built_in().range());
    }

    /// The calendar as it was before a year was added.
    fn until_2026() -> TradingCalendar {
        let mut calendar = TradingCalendar::built_in().clone();
        calendar.days.retain(|day| day.year() <= 2026);
        calendar
    }

    #[test]
    fn weekdays_after_the_known_days_are_expected() {
        let calendar = until_2026();
        let range = |start, end| DateRange { start: day(start), end: day(end) };
        let expected = ["2026-12-30", "2026-12-31", "2027-01-01", "2027-01-04"].map(day);
        assert_eq!(calendar.expected_days(range("2026-12-30", "2027-01-04")), expected);
        assert_eq!(calendar.expected_days(range("2027-01-02", "2027-01-05")), ["2027-01-04", "2027-01-05"].map(day));
        assert_eq!(calendar.expected_days(range("2024-12-30", "2025-01-02")).len(), 3, "known days alone");
        assert_eq!(calendar.expected_days(range("2027-01-05", "2027-01-04")), []);
        assert_eq!(calendar.end_within(range("2026-01-01", "2026-12-31")), None);
        assert_eq!(calendar.end_within(range("2027-03-01", "2027-03-01")), Some(day("2026-12-31")));
        assert_eq!(calendar.days_left(day("2026-11-29")), Some(32));
    }

    #[test]
    fn nth_last_day_skips_holidays_and_unknown_weekends() {
        let calendar = TradingCalendar::built_in();
        assert_eq!(calendar.nth_last(1, day("2024-01-02")), day("2024-01-02"));
        assert_eq!(calendar.nth_last(1, day("2024-01-01")), day("2023-12-29"), "a holiday is not a trading day");
        assert_eq!(calendar.nth_last(5, day("2024-02-19")), day("2024-02-05"), "over the Spring Festival");
        let unknown = until_2026().nth_last(2, day("2030-01-07"));
        assert_eq!(unknown, day("2030-01-04"), "a weekend of an unknown year");
    }

    #[test]
    fn neighbours_and_ranges_stay_within_what_is_known() {
        let calendar = TradingCalendar::built_in();
        assert_eq!(calendar.previous(day("2024-01-02")), Some(day("2023-12-29")));
        assert_eq!(calendar.next(day("2023-12-29")), Some(day("2024-01-02")));
        assert_eq!(calendar.previous(day("1990-12-19")), None);
        assert_eq!(calendar.next(day("1990-12-18")), Some(day("1990-12-19")));
        assert_eq!(calendar.next(day("1990-01-01")), None);
        assert_eq!(until_2026().previous(day("2027-01-01")), Some(day("2026-12-31")));
        assert_eq!(until_2026().previous(day("2027-06-01")), None);
        assert_eq!(calendar.next(NaiveDate::MAX), None);
        assert_eq!(calendar.previous(NaiveDate::MIN), None);
        let year = DateRange { start: day("2024-01-01"), end: day("2024-12-31") };
        assert_eq!(calendar.trading_days(year).len(), 242);
        assert_eq!(calendar.trading_days(DateRange { start: year.end, end: year.start }), []);
    }
}
