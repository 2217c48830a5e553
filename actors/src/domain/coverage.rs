// Upstream: data_worker
// Downstream: many
// Role: Which trading days of a security are stored, month by month, as sets of days.

use chrono::NaiveDate;

use crate::domain::expected_rows::rows_of;
use crate::domain::month::{Month, bit_of};
use crate::domain::{Code, DateRange, Frequency, Listing, MarketFacts};

/// The stored days of a security in a month. Bit 0 is the first day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMonth {
    /// The month.
    pub month: Month,
    /// Days with a row.
    pub any: u32,
    /// Days with all their rows.
    pub whole: u32,
}

/// The days of a security in a month. Bit 0 is the first day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MonthDays {
    /// Trading days on which the security was listed.
    pub expected: u32,
    /// Days of which it is unknown whether a row should be there. No expected day is among them.
    pub unknown: u32,
    /// Expected days without a row.
    pub missing: u32,
    /// Expected days with some of their rows.
    pub partial: u32,
}

impl MonthDays {
    /// The expected days with all their rows.
    pub fn stored(self) -> u32 {
        self.expected & !self.missing & !self.partial
    }
}

/// A search for stored days: what is expected in each month of a range.
#[derive(Debug)]
pub struct CoverageSearch<'a> {
    facts: &'a MarketFacts,
    range: DateRange,
    months: Vec<ExpectedMonth>,
}

/// What the calendar says about a month.
#[derive(Debug, Clone, Copy, Default)]
struct ExpectedMonth {
    trading: u32,
    /// Weekdays after the end of the calendar: some of them are holidays.
    unknown: u32,
}

impl<'a> CoverageSearch<'a> {
    /// A search in a range, for rows of a frequency; [`Frequency::Day`] for other data with at least one row a day.
    pub fn new(facts: &'a MarketFacts, range: DateRange, frequency: Frequency) -> Self {
        let range = DateRange { start: range.start.max(frequency.first_day()), end: range.end };
        let first = Month::of(range.start);
        let num_months = Month::of(range.end).since(first).filter(|_| range.start <= range.end).map_or(0, |n| n + 1);
        let mut months = vec![ExpectedMonth::default(); num_months];
        for day in facts.calendar.expected_days(range).into_iter().filter(|day| rows_of(frequency, *day) > 0) {
            let Some(month) = Month::of(day).since(first).and_then(|n| months.get_mut(n)) else { continue };
            match facts.calendar.is_trading_day(day) {
                Some(_) => month.trading |= bit_of(day),
                None => month.unknown |= bit_of(day),
            }
        }
        Self { facts, range, months }
    }

    /// The range that is searched: not before the first day on which rows of the frequency can exist.
    pub fn range(&self) -> DateRange {
        self.range
    }

    /// The first month.
    pub fn first(&self) -> Month {
        Month::of(self.range.start)
    }

    /// The trading days of each month, oldest first.
    pub fn trading_days(&self) -> impl ExactSizeIterator<Item = u32> {
        self.months.iter().map(|month| month.trading)
    }

    /// The days of a security in each month, oldest first.
    ///
    /// A security that is not in the list, or without a stored row and a listing day, is unknown on every day. One
    /// whose listing day is unknown is unknown before its first stored day.
    pub fn find(&self, code: Code, stored: &[StoredMonth]) -> Vec<MonthDays> {
        let listing = self.facts.listing(code);
        let span = listing.and_then(|listing| listing.within(self.range));
        let known = listing.and_then(|listing| self.known(listing, stored));
        let mut months: Vec<MonthDays> = Vec::with_capacity(self.months.len());
        for (n, of_calendar) in self.months.iter().enumerate() {
            let month = self.first().plus(n);
            let listed = if listing.is_none() { u32::MAX } else { days_within(month, span) };
            let known = days_within(month, known) & listed;
            let expected = of_calendar.trading & known;
            let unknown = (of_calendar.unknown & listed) | (of_calendar.trading & listed & !known);
            months.push(MonthDays { expected, unknown, missing: expected, partial: 0 });
        }
        for StoredMonth { month, any, whole } in stored {
            let place = month.since(self.first()).and_then(|n| months.get_mut(n));
            let Some(found) = place else { continue };
            found.missing &= !any;
            found.partial |= found.expected & any & !whole;
        }
        months
    }

    /// The days on which it is known that the security was listed.
    fn known(&self, listing: &Listing, stored: &[StoredMonth]) -> Option<DateRange> {
        let first = || stored.iter().filter_map(|stored| stored.month.days(stored.any).next()).min();
        let start = listing.listed.or_else(first)?.max(self.range.start);
        listing.within(DateRange { start, end: self.range.end }).filter(|range| range.start <= range.end)
    }
}

/// The days of a month that are in a range.
fn days_within(month: Month, range: Option<DateRange>) -> u32 {
    let Some(range) = range else { return 0 };
    let (first, last) = (Month::of(range.start), Month::of(range.end));
    if month < first || month > last {
        return 0;
    }
    let up_from = |day: NaiveDate| u32::MAX << (bit_of(day).trailing_zeros());
    let from = if month == first { up_from(range.start) } else { u32::MAX };
    let after = if month == last { range.end.succ_opt().filter(|day| Month::of(*day) == month) } else { None };
    from & !after.map_or(0, up_from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::calendar::TradingCalendar;
    use crate::domain::gaps::{GapSearch, StoredDay};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn code() -> Code {
        "000001.SZ".parse().unwrap()
    }

    fn facts(listed: Option<&str>, delisted: Option<&str>) -> MarketFacts {
        let (listed, delisted) = (listed.map(day), delisted.map(day));
        let listing = Listing { code: code(), name: String::new(), listed, delisted };
        let listings = Arc::new([(code(), listing)].into_iter().collect());
        MarketFacts { listings, ..MarketFacts::built_in(day("2024-06-03")) }
    }

    fn range(start: &str, end: &str) -> DateRange {
        DateRange { start: day(start), end: day(end) }
    }

    /// The stored days with their numbers of rows, as the months that the store reports.
    fn months(days: &[(NaiveDate, u32)], frequency: Frequency) -> Vec<StoredMonth> {
        let mut months: Vec<StoredMonth> = Vec::new();
        for (day, times) in days {
            let whole = if u64::from(*times) >= rows_of(frequency, *day) { bit_of(*day) } else { 0 };
            match months.last_mut().filter(|last| last.month == Month::of(*day)) {
                Some(last) => (last.any, last.whole) = (last.any | bit_of(*day), last.whole | whole),
                None => months.push(StoredMonth { month: Month::of(*day), any: bit_of(*day), whole }),
            }
        }
        months
    }

    fn listed_days(search: &CoverageSearch<'_>, found: &[MonthDays], set: fn(&MonthDays) -> u32) -> Vec<NaiveDate> {
        let days = |(n, month): (usize, &MonthDays)| search.first().plus(n).days(set(month)).collect::<Vec<_>>();
        found.iter().enumerate().flat_map(days).collect()
    }

    fn counts(found: &[MonthDays]) -> Vec<(u32, u32, u32)> {
        let count =
            |month: &MonthDays| (month.expected.count_ones(), month.stored().count_ones(), month.unknown.count_ones());
        found.iter().map(count).collect()
    }

    #[test]
    fn only_days_of_the_listing_are_expected() {
        let facts = facts(Some("2024-01-30"), Some("2024-03-05"));
        let search = CoverageSearch::new(&facts, range("2023-12-01", "2024-04-30"), Frequency::Day);
        let stored = months(&[(day("2024-01-29"), 1), (day("2024-01-30"), 1), (day("2024-03-05"), 1)], Frequency::Day);
        let found = search.find(code(), &stored);
        assert_eq!(counts(&found), [(0, 0, 0), (2, 1, 0), (15, 0, 0), (2, 0, 0), (0, 0, 0)]);
    }

    #[test]
    fn what_is_not_known_is_not_complete() {
        let end = TradingCalendar::built_in().range().unwrap().end;
        let monday = end.week(chrono::Weekday::Mon).first_day() + chrono::Days::new(14);
        let beyond = DateRange { start: monday, end: monday + chrono::Days::new(4) };
        let total = |found: &[MonthDays]| {
            counts(found).iter().fold((0, 0, 0), |sum, c| (sum.0 + c.0, sum.1 + c.1, sum.2 + c.2))
        };
        let known = facts(Some("2000-01-04"), None);
        let search = CoverageSearch::new(&known, beyond, Frequency::Day);
        assert_eq!(total(&search.find(code(), &[])), (0, 0, 5), "the calendar has ended");

        let week = range("2024-01-08", "2024-01-12");
        let wednesday = months(&[(day("2024-01-10"), 1), (day("2024-01-11"), 1)], Frequency::Day);
        let unknown = facts(None, None);
        let search = CoverageSearch::new(&unknown, week, Frequency::Day);
        assert_eq!(total(&search.find(code(), &wednesday)), (3, 2, 2), "the listing day is unknown");
        assert_eq!(total(&search.find(code(), &[])), (0, 0, 5));
        assert_eq!(total(&search.find("600000.SH".parse().unwrap(), &wednesday)), (0, 0, 5), "it is not in the list");
    }

    #[test]
    fn minutes_begin_with_their_first_possible_day() {
        let facts = facts(Some("2000-01-04"), None);
        let search = CoverageSearch::new(&facts, range("2008-12-01", "2009-01-05"), Frequency::Minute5);
        assert_eq!(
            (search.first().to_string(), counts(&search.find(code(), &[]))),
            ("2009-01".to_owned(), vec![(1, 0, 0)])
        );
        let none = CoverageSearch::new(&facts, range("2024-01-05", "2024-01-04"), Frequency::Day);
        assert_eq!(none.find(code(), &[]), []);
    }

    proptest! {
        #[test]
        fn missing_days_are_those_of_a_gap_search(
            days in proptest::collection::btree_map(0_u64..400, 1_u32..60, 0..120),
            listed in 0_u64..300, length in 0_u64..300,
        ) {
            let first = day("2023-01-02");
            let at = |n| first + chrono::Days::new(n);
            let facts = facts(Some(&at(listed).to_string()), Some(&at(listed + length).to_string()));
            let range = DateRange { start: at(20), end: at(380) };
            let days: Vec<(NaiveDate, u32)> = days.into_iter().map(|(n, times)| (at(n), times)).collect();
            for frequency in [Frequency::Day, Frequency::Minute5] {
                let rows: Vec<StoredDay> =
                    days.iter().map(|(day, times)| StoredDay { day: *day, times: *times, rows: *times }).collect();
                let gaps = GapSearch { frequency, start: Some(range.start), end: range.end, facts: &facts }.find(code(), &rows);
                let search = CoverageSearch::new(&facts, range, frequency);
                let found = search.find(code(), &months(&days, frequency));
                prop_assert_eq!(listed_days(&search, &found, |month| month.missing), gaps.missing);
                prop_assert_eq!(listed_days(&search, &found, |month| month.partial), gaps.partial);
            }
        }
    }
}
