// Upstream: coverage, data_worker
// Downstream: code, expected_rows, frequency, market_facts, task
// Role: Finds missing, partial, duplicate and unexpected stored bars of a security, by calendar and listing.

use chrono::{Days, NaiveDate};

use crate::domain::expected_rows::rows_of;
use crate::domain::{Code, DateRange, Frequency, Listing, MarketFacts};

/// Two gaps at most this far apart are fetched by one command: two requests cost more than some extra rows.
const MAX_JOIN_DISTANCE: Days = Days::new(30);

/// The stored rows of a security on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredDay {
    /// The day.
    pub day: NaiveDate,
    /// Number of distinct timestamps.
    pub times: u32,
    /// Number of rows; greater than `times` if some rows are duplicates.
    pub rows: u32,
}

/// The parameters of a gap search.
#[derive(Debug, Clone, Copy)]
pub struct GapSearch<'a> {
    /// The frequency of the bars.
    pub frequency: Frequency,
    /// First day. `None`: daily bars start at the listing, minute bars at the first stored day.
    pub start: Option<NaiveDate>,
    /// Last day. Callers include today only once vendors should have the day's bars.
    pub end: NaiveDate,
    /// Listings and the trading calendar.
    pub facts: &'a MarketFacts,
}

/// The problems of a security's stored bars. All days are in ascending order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Trading days without a row, and weekdays without one after the end of the calendar.
    pub missing: Vec<NaiveDate>,
    /// Trading days with fewer minute bars than their sessions have.
    pub partial: Vec<NaiveDate>,
    /// Days with more than one row for a timestamp.
    pub doubled: Vec<NaiveDate>,
    /// Days with rows on which the exchanges were closed.
    pub non_trading: Vec<NaiveDate>,
    /// Days with rows before the listing or on or after the delisting day.
    pub outside_listing: Vec<NaiveDate>,
}

/// A repair command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repair {
    /// First day.
    pub start: NaiveDate,
    /// Last day.
    pub end: NaiveDate,
    /// Whether the fetched rows replace the stored ones.
    pub replace: bool,
}

impl GapSearch<'_> {
    /// Finds the problems; `stored` must be in ascending order. If neither the listing nor a stored row gives the first
    /// day of a security, no day counts as missing.
    pub fn find(&self, code: Code, stored: &[StoredDay]) -> Gaps {
        let (calendar, listing) = (&self.facts.calendar, self.facts.listing(code));
        let mut gaps = Gaps::default();
        for StoredDay { day, times, rows } in stored.iter().copied() {
            if rows > times {
                gaps.doubled.push(day);
            }
            if calendar.is_trading_day(day) == Some(false) {
                gaps.non_trading.push(day);
            } else if listing.is_some_and(|listing| listing.within(DateRange { start: day, end: day }).is_none()) {
                gaps.outside_listing.push(day);
            }
        }
        let Some(range) = self.expected(listing, stored) else { return gaps };
        let mut stored = stored.iter().peekable();
        for day in calendar.expected_days(range) {
            while stored.next_if(|found| found.day < day).is_some() {}
            match stored.peek().filter(|found| found.day == day) {
                None => gaps.missing.push(day),
                Some(found) if u64::from(found.times) < rows_of(self.frequency, day) => gaps.partial.push(day),
                Some(_) => {}
            }
        }
        gaps
    }

    fn expected(&self, listing: Option<&Listing>, stored: &[StoredDay]) -> Option<DateRange> {
        let listed = listing.and_then(|listing| listing.listed).filter(|_| self.frequency == Frequency::Day);
        let first = stored.first().map(|found| found.day);
        let start = self.start.or(listed).or(first)?.max(self.frequency.first_day());
        let range = DateRange { start, end: self.end };
        let range = listing.map_or(Some(range), |listing| listing.within(range))?;
        (range.start <= range.end).then_some(range)
    }
}

impl Gaps {
    /// Whether there is no problem.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each kind of problem with its days.
    pub fn kinds(&self) -> [(&'static str, &[NaiveDate]); 5] {
        [
            ("missing", &self.missing),
            ("partial", &self.partial),
            ("doubled", &self.doubled),
            ("non_trading", &self.non_trading),
            ("outside_listing", &self.outside_listing),
        ]
    }

    /// The commands that repair these problems, oldest first. Missing rows are fetched. Unwanted rows are replaced, in
    /// a range that has one more trading day on either side: the worker does not replace stored rows by an answer
    /// without rows.
    pub fn repairs(&self, look: &GapSearch<'_>) -> Vec<Repair> {
        let mut wanted: Vec<NaiveDate> = [self.missing.as_slice(), &self.partial].concat();
        wanted.sort_unstable();
        let mut unwanted: Vec<NaiveDate> = [self.doubled.as_slice(), &self.non_trading, &self.outside_listing].concat();
        unwanted.sort_unstable();
        let calendar = &look.facts.calendar;
        let widened = |run: DateRange| DateRange {
            start: calendar.previous(run.start).unwrap_or(run.start),
            end: calendar.next(run.end).unwrap_or(run.end),
        };
        let repair = |replace| move |DateRange { start, end }| Repair { start, end, replace };
        let replacing = runs(&unwanted, MAX_JOIN_DISTANCE).into_iter().map(widened).map(repair(true));
        let mut repairs: Vec<Repair> =
            runs(&wanted, MAX_JOIN_DISTANCE).into_iter().map(repair(false)).chain(replacing).collect();
        repairs.sort_unstable();
        repairs
    }
}

/// Groups ascending days into ranges. Days at most `apart` apart belong to one range.
pub fn runs(days: &[NaiveDate], apart: Days) -> Vec<DateRange> {
    let mut runs: Vec<DateRange> = Vec::new();
    for day in days.iter().copied() {
        match runs.last_mut() {
            Some(run) if run.end.checked_add_days(apart).is_some_and(|reach| day <= reach) => run.end = day,
            _ => runs.push(DateRange { start: day, end: day }),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
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

    fn look<'a>(facts: &'a MarketFacts, frequency: Frequency, start: Option<&str>) -> GapSearch<'a> {
        GapSearch { frequency, start: start.map(day), end: day("2024-01-15"), facts }
    }

    fn stored(days: &[(&str, u32, u32)]) -> Vec<StoredDay> {
        days.iter().map(|(text, times, rows)| StoredDay { day: day(text), times: *times, rows: *rows }).collect()
    }

    #[test]
    fn every_kind_of_gap_is_found() {
        let facts = facts(Some("2024-01-03"), Some("2024-01-12"));
        let rows = [
            ("2024-01-02", 1, 1), // before the listing
            ("2024-01-03", 1, 1),
            ("2024-01-05", 1, 2), // doubled
            ("2024-01-06", 1, 1), // a Saturday
            ("2024-01-08", 1, 1),
            ("2024-01-12", 1, 1), // delisted
        ];
        let look = look(&facts, Frequency::Day, None);
        let gaps = look.find(code(), &stored(&rows));
        let days = |days: &[&str]| days.iter().map(|text| day(text)).collect::<Vec<_>>();
        let expected = Gaps {
            missing: days(&["2024-01-04", "2024-01-09", "2024-01-10", "2024-01-11"]),
            partial: vec![],
            doubled: days(&["2024-01-05"]),
            non_trading: days(&["2024-01-06"]),
            outside_listing: days(&["2024-01-02", "2024-01-12"]),
        };
        assert_eq!(gaps, expected);
        let repairs = gaps.repairs(&look);
        let repair = |start, end, replace| Repair { start: day(start), end: day(end), replace };
        let expected = [repair("2023-12-29", "2024-01-15", true), repair("2024-01-04", "2024-01-11", false)];
        assert_eq!(repairs, expected);
    }

    #[test]
    fn first_row_stands_for_unknown_list_date() {
        let unknown = facts(None, None);
        let look = |start| look(&unknown, Frequency::Day, start);
        assert_eq!(look(None).find(code(), &[]), Gaps::default(), "its first day is unknown");
        let rows = stored(&[("2024-01-10", 1, 1), ("2024-01-12", 1, 1)]);
        assert_eq!(look(None).find(code(), &rows).missing, [day("2024-01-11"), day("2024-01-15")]);
        assert_eq!(
            look(Some("2024-01-08")).find(code(), &rows).missing.len(),
            4,
            "a named start is the first expected day"
        );
    }

    #[test]
    fn a_day_with_too_few_minutes_is_a_partial_one() {
        let facts = facts(Some("2000-01-04"), None);
        let rows = stored(&[("2024-01-12", 48, 48), ("2024-01-15", 47, 47)]);
        let gaps = look(&facts, Frequency::Minute5, None).find(code(), &rows);
        assert_eq!(
            (gaps.partial, gaps.missing),
            (vec![day("2024-01-15")], vec![]),
            "minute bars start at the first stored day"
        );
    }

    #[test]
    fn far_gaps_are_fetched_apart_and_near_ones_together() {
        let days = ["2023-01-04", "2023-01-20", "2023-06-01", "2023-06-02"].map(day);
        let range = |start, end| DateRange { start: day(start), end: day(end) };
        assert_eq!(
            runs(&days, MAX_JOIN_DISTANCE),
            [range("2023-01-04", "2023-01-20"), range("2023-06-01", "2023-06-02")]
        );
        assert_eq!(runs(&days, Days::new(1)).len(), 3);
        assert_eq!(runs(&[], MAX_JOIN_DISTANCE), []);
    }
}
