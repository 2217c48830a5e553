// Upstream: command_router, fetcher, task_report, validator
// Downstream: calendar, task
// Role: The days of ticks that a task fetches, and how a backfill proceeds into the past and ends.

use chrono::{Datelike, Days, NaiveDate, Weekday};

use crate::domain::calendar::TradingCalendar;
use crate::domain::{DateRange, OpenRange};

/// Trading days per task. The ticks of all these days are in memory at once: about 5,000 a day, far more for a few
/// securities.
pub const DAYS_PER_TASK: u32 = 10;

/// Start of an incremental fetch if nothing is stored, in calendar days before today: the same as in the Python worker.
pub const FIRST_DAYS: u64 = 7;

/// The possible trading days in a range, oldest first. Outside the known calendar, every weekday counts.
pub fn trading_days(range: DateRange, calendar: &TradingCalendar) -> Vec<NaiveDate> {
    let weekday = |day: NaiveDate| !matches!(day.weekday(), Weekday::Sat | Weekday::Sun);
    let is_open = |day: &NaiveDate| calendar.is_trading_day(*day).unwrap_or(weekday(*day));
    range.start.iter_days().take_while(|day| *day <= range.end).filter(is_open).collect()
}

/// The part of the range that one task fetches, and the remaining days for a further task.
pub fn first_part(range: DateRange, calendar: &TradingCalendar) -> (DateRange, Option<OpenRange>) {
    let days = trading_days(range, calendar);
    match days.get(DAYS_PER_TASK as usize) {
        None => (range, None),
        Some(next) => {
            let end = next.pred_opt().unwrap_or(*next);
            (DateRange { start: range.start, end }, Some(OpenRange { start: Some(*next), end: Some(range.end) }))
        }
    }
}

/// The part of a backfill that ends on `end`.
pub fn part_until(end: NaiveDate) -> OpenRange {
    OpenRange { start: Some(TradingCalendar::built_in().nth_last(DAYS_PER_TASK, end)), end: Some(end) }
}

/// Splits the requested days into parts, newest first. A range without a start (it continues after the stored days) is
/// one part.
pub fn parts_of(range: OpenRange, today: NaiveDate) -> Vec<OpenRange> {
    let Some(start) = range.start else { return vec![range] };
    let mut parts = Vec::new();
    let mut end = range.end.unwrap_or(today);
    while end >= start {
        let part = part_until(end);
        let first = part.start.unwrap_or(start).max(start);
        parts.push(OpenRange { start: Some(first), end: Some(end) });
        let Some(before) = first.pred_opt() else { break };
        end = before;
    }
    if parts.is_empty() { vec![range] } else { parts }
}

/// The state of a backfill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BackfillDays {
    /// Number of consecutive trading days without a tick, counted back from the oldest day that had any.
    pub empty: u32,
}

impl BackfillDays {
    /// The state after a further part. `days` yields one flag per day, newest first: whether the day had ticks.
    pub fn after(self, days: impl Iterator<Item = bool>) -> Self {
        Self { empty: days.fold(self.empty, |empty, has_ticks| if has_ticks { 0 } else { empty + 1 }) }
    }
}

/// The part before `done`. `None` ends the backfill: `stop_after` consecutive days had no ticks, or there is no older
/// day.
pub fn next_part(done: OpenRange, days: BackfillDays, stop_after: u32) -> Option<OpenRange> {
    let end = done.start?.checked_sub_days(Days::new(1))?;
    (days.empty < stop_after && end >= DateRange::FIRST_TRADING_DAY).then(|| part_until(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn backfill_steps_back_until_enough_empty_days() {
        let first = part_until(day("2024-01-19"));
        assert_eq!(first.start, Some(day("2024-01-08")));
        let found = BackfillDays::default().after([true, true, false, false].into_iter());
        assert_eq!(found.empty, 2);
        let second = next_part(first, found, 3).unwrap();
        assert_eq!(second.end, Some(day("2024-01-07")));
        assert_eq!(next_part(second, found.after(std::iter::once(false)), 3), None);
        assert_eq!(found.after([false, true].into_iter()).empty, 0);
        let oldest = OpenRange { start: Some(DateRange::FIRST_TRADING_DAY), end: None };
        assert_eq!(next_part(oldest, BackfillDays::default(), 365), None);
    }

    #[test]
    fn a_long_range_is_fetched_in_parts_without_gaps() {
        let range = OpenRange { start: Some(day("2023-11-01")), end: None };
        let parts = parts_of(range, day("2024-01-31"));
        assert_eq!((parts[0].end, parts.last().unwrap().start), (Some(day("2024-01-31")), range.start));
        for pair in parts.windows(2) {
            assert_eq!(pair[1].end.unwrap().succ_opt(), pair[0].start);
        }
        assert_eq!(parts_of(OpenRange::default(), day("2024-01-31")), [OpenRange::default()]);
    }

    #[test]
    fn splits_long_range_into_bounded_parts() {
        let calendar = TradingCalendar::built_in();
        let mut range = DateRange { start: day("2024-01-02"), end: day("2024-02-07") };
        let mut days = Vec::new();
        loop {
            let (part, rest) = first_part(range, calendar);
            let fetched = trading_days(part, calendar);
            assert!(fetched.len() <= DAYS_PER_TASK as usize);
            days.extend(fetched);
            let Some(OpenRange { start: Some(start), end: Some(end) }) = rest else { break };
            range = DateRange { start, end };
        }
        assert_eq!(days, trading_days(DateRange { start: day("2024-01-02"), end: day("2024-02-07") }, calendar));
    }

    #[test]
    fn only_trading_days_are_asked_for() {
        let range = |start, end| DateRange { start: day(start), end: day(end) };
        let days = trading_days(range("2024-02-07", "2024-02-20"), TradingCalendar::built_in());
        assert_eq!(days, [day("2024-02-07"), day("2024-02-08"), day("2024-02-19"), day("2024-02-20")]);
        assert_eq!(
            trading_days(range("2999-01-04", "2999-01-06"), TradingCalendar::built_in()),
            [day("2999-01-04")],
            "a Friday beyond the calendar"
        );
    }
}
