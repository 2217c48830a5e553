// Upstream: many
// Downstream: calendar, code, task
// Role: What is known of securities and days beside their rows: listings and the calendar.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{Days, NaiveDate};

use crate::domain::calendar::TradingCalendar;
use crate::domain::{Code, DateRange};

/// How the names of shares under special treatment begin; S is a share whose reform is still to come.
const SPECIAL_TREATMENT: [&str; 4] = ["ST", "*ST", "SST", "S*ST"];

/// For so many days before it was read, a name is taken to have been the same: it changes at most a few times a year.
const NAME_HOLDS: Days = Days::new(30);

/// When a security is traded, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Its code.
    pub code: Code,
    /// Its short name of today.
    pub name: String,
    /// Its first trading day, where it is known.
    pub listed: Option<NaiveDate>,
    /// The day on which it was taken off the list; `None` while it is listed.
    pub delisted: Option<NaiveDate>,
}

impl Listing {
    /// Whether today's name says special treatment.
    pub fn is_special_treatment(&self) -> bool {
        SPECIAL_TREATMENT.iter().any(|begin| self.name.starts_with(begin))
    }

    /// The part of `range` in which the security could be traded; `None`: no day of it.
    pub fn within(&self, range: DateRange) -> Option<DateRange> {
        let start = self.listed.map_or(range.start, |listed| range.start.max(listed));
        let last = self.delisted.and_then(|delisted| delisted.pred_opt());
        let end = last.map_or(range.end, |last| range.end.min(last));
        (start <= end).then_some(DateRange { start, end })
    }
}

/// What is known at a moment.
#[derive(Debug, Clone)]
pub struct MarketFacts {
    /// The exchanges' trading days.
    pub calendar: Arc<TradingCalendar>,
    /// Securities by code; one that is not there is unknown.
    pub listings: Arc<HashMap<Code, Listing>>,
    /// The day on which this was read, in Shanghai.
    pub read_on: NaiveDate,
}

impl MarketFacts {
    /// What is known without asking anybody: the built-in calendar.
    pub fn built_in(today: NaiveDate) -> Self {
        Self { calendar: Arc::new(TradingCalendar::built_in().clone()), listings: Arc::default(), read_on: today }
    }

    /// What is known of one security.
    pub fn listing(&self, code: Code) -> Option<&Listing> {
        self.listings.get(&code)
    }

    /// Whether the name says that the share was under special treatment on `day`; a name that was read long after that day
    /// says nothing of it.
    pub fn is_named_special(&self, code: Code, day: NaiveDate) -> bool {
        let is_near = self.read_on.checked_sub_days(NAME_HOLDS).is_some_and(|first| day >= first);
        is_near && self.listing(code).is_some_and(Listing::is_special_treatment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn listing(name: &str) -> Listing {
        let (listed, delisted) = (Some(day("2020-01-02")), Some(day("2024-06-28")));
        Listing { code: "600000.SH".parse().unwrap(), name: name.to_owned(), listed, delisted }
    }

    #[test]
    fn a_listing_cuts_a_range_to_the_days_it_covers() {
        let within = |start: &str, end: &str| listing("A").within(DateRange { start: day(start), end: day(end) });
        let range = |start: &str, end: &str| Some(DateRange { start: day(start), end: day(end) });
        assert_eq!(within("2019-01-01", "2021-01-01"), range("2020-01-02", "2021-01-01"));
        assert_eq!(within("2024-01-01", "2025-01-01"), range("2024-01-01", "2024-06-27"));
        assert_eq!(within("2018-01-01", "2020-01-01"), None);
        assert_eq!(within("2024-06-28", "2024-07-01"), None);
        let unknown = Listing { listed: None, delisted: None, ..listing("A") };
        let all = DateRange { start: day("1990-12-19"), end: day("2026-12-31") };
        assert_eq!(unknown.within(all), Some(all));
    }

    #[test]
    fn a_name_tells_of_special_treatment_around_the_day_it_was_read() {
        for (name, expected) in [("ST康美", true), ("*ST海润", true), ("S*ST前锋", true), ("平安银行", false)]
        {
            assert_eq!(listing(name).is_special_treatment(), expected, "{name}");
        }
        let code = "600000.SH".parse().unwrap();
        let listings = Arc::new([(code, listing("*ST海润"))].into_iter().collect());
        let facts = MarketFacts { listings, ..MarketFacts::built_in(day("2024-06-03")) };
        assert!(facts.is_named_special(code, day("2024-05-31")));
        assert!(!facts.is_named_special(code, day("2024-01-31")), "it may have had another name then");
        assert!(!facts.is_named_special("600001.SH".parse().unwrap(), day("2024-05-31")));
    }
}
