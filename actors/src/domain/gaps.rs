// Upstream: data_worker
// Downstream: code, expected_rows, frequency, market_facts, task
// Role: What is missing of a security's stored bars, by calendar and listing, and what is stored that should not be.

use chrono::{Days, NaiveDate};

use crate::domain::expected_rows::rows_of;
use crate::domain::{Code, DateRange, Frequency, Listing, MarketFacts};

/// Days between two gaps that one command fetches with them: asking twice costs more than some rows too many.
const JOINED: Days = Days::new(30);

/// What is stored of a security on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredDay {
    /// The day.
    pub day: NaiveDate,
    /// Different times.
    pub times: u32,
    /// Rows; more than times where some are doubled.
    pub rows: u32,
}

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Bars of this length.
    pub frequency: Frequency,
    /// From; `None`: from the listing on, of minutes from the first stored day on.
    pub start: Option<NaiveDate>,
    /// To; today counts once vendors should have it.
    pub end: NaiveDate,
    /// What is known of days and securities.
    pub facts: &'a MarketFacts,
}

/// What is wrong with a security's bars. All days are in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Trading days without a row.
    pub missing: Vec<NaiveDate>,
    /// Trading days with fewer minutes than their session has.
    pub partial: Vec<NaiveDate>,
    /// Days with more than one row for a time.
    pub doubled: Vec<NaiveDate>,
    /// Days with rows on which the exchanges did not trade.
    pub non_trading: Vec<NaiveDate>,
    /// Days with rows before the listing, or from the delisting on.
    pub outside_listing: Vec<NaiveDate>,
}

/// A command that repairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repair {
    /// Its first day.
    pub start: NaiveDate,
    /// Its last day.
    pub end: NaiveDate,
    /// Whether what is stored there is replaced by what is fetched.
    pub replace: bool,
}

impl Look<'_> {
    /// Finds what is wrong; `stored` is in order. Where neither the listing nor a row tells when a security began, nothing is
    /// missed of it.
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
        for day in calendar.trading_days(range) {
            while stored.next_if(|found| found.day < *day).is_some() {}
            match stored.peek().filter(|found| found.day == *day) {
                None => gaps.missing.push(*day),
                Some(found) if u64::from(found.times) < rows_of(self.frequency, *day) => gaps.partial.push(*day),
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
    /// Whether all is well.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each kind with its days.
    pub fn kinds(&self) -> [(&'static str, &[NaiveDate]); 5] {
        [
            ("missing", &self.missing),
            ("partial", &self.partial),
            ("doubled", &self.doubled),
            ("non_trading", &self.non_trading),
            ("outside_listing", &self.outside_listing),
        ]
    }

    /// The commands that repair them, oldest first. What is missing is fetched; what should not be there is replaced, with a
    /// trading day on either side: a replacement by an answer without rows is not believed.
    pub fn repairs(&self, look: &Look<'_>) -> Vec<Repair> {
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
        let replacing = runs(&unwanted, JOINED).into_iter().map(widened).map(repair(true));
        let mut repairs: Vec<Repair> = runs(&wanted, JOINED).into_iter().map(repair(false)).chain(replacing).collect();
        repairs.sort_unstable();
        repairs
    }
}

/// Days, in order, as ranges; those that are no further apart than this are one range.
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

    fn look<'a>(facts: &'a MarketFacts, frequency: Frequency, start: Option<&str>) -> Look<'a> {
        Look { frequency, start: start.map(day), end: day("2024-01-15"), facts }
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
    fn where_nobody_tells_the_first_day_the_first_row_does() {
        let unknown = facts(None, None);
        let look = |start| look(&unknown, Frequency::Day, start);
        assert_eq!(look(None).find(code(), &[]), Gaps::default(), "nothing is known of it");
        let rows = stored(&[("2024-01-10", 1, 1), ("2024-01-12", 1, 1)]);
        assert_eq!(look(None).find(code(), &rows).missing, [day("2024-01-11"), day("2024-01-15")]);
        assert_eq!(
            look(Some("2024-01-08")).find(code(), &rows).missing.len(),
            4,
            "who names a start expects from there"
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
            "minutes begin with the first stored"
        );
    }

    #[test]
    fn far_gaps_are_fetched_apart_and_near_ones_together() {
        let days = ["2023-01-04", "2023-01-20", "2023-06-01", "2023-06-02"].map(day);
        let range = |start, end| DateRange { start: day(start), end: day(end) };
        assert_eq!(runs(&days, JOINED), [range("2023-01-04", "2023-01-20"), range("2023-06-01", "2023-06-02")]);
        assert_eq!(runs(&days, Days::new(1)).len(), 3);
        assert_eq!(runs(&[], JOINED), []);
    }
}
