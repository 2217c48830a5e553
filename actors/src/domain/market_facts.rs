// Upstream: many
// Downstream: calendar, code, task
// Role: Reference data for validation: listings of securities and the trading calendar.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{Days, NaiveDate};

use crate::domain::calendar::TradingCalendar;
use crate::domain::{Code, DateRange};

/// Name prefixes of shares under special treatment. A leading S marks a share that has not completed the share reform.
const SPECIAL_TREATMENT: [&str; 4] = ["ST", "*ST", "SST", "S*ST"];

/// A name is assumed to be valid for this many days before it was read: a name changes at most a few times a year.
const NAME_VALIDITY: Days = Days::new(30);

/// The trading period and the name of a security.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The code.
    pub code: Code,
    /// The current short name.
    pub name: String,
    /// The first trading day; `None` if unknown.
    pub listed: Option<NaiveDate>,
    /// The delisting day; `None` while the security is listed.
    pub delisted: Option<NaiveDate>,
}

impl Listing {
    /// Whether the current name marks special treatment.
    pub fn is_special_treatment(&self) -> bool {
        SPECIAL_TREATMENT.iter().any(|begin| self.name.starts_with(begin))
    }

    /// Whether the current name marks a share in its delisting period: `退市` before the name in Shanghai, `退` after it
    /// in Shenzhen and Beijing.
    pub fn is_being_delisted(&self) -> bool {
        self.name.starts_with("退市") || self.name.ends_with('退')
    }

    /// The part of `range` in which the security was listed; `None` if that is no day.
    pub fn within(&self, range: DateRange) -> Option<DateRange> {
        let start = self.listed.map_or(range.start, |listed| range.start.max(listed));
        let last = self.delisted.and_then(|delisted| delisted.pred_opt());
        let end = last.map_or(range.end, |last| range.end.min(last));
        (start <= end).then_some(DateRange { start, end })
    }
}

/// A snapshot of the reference data.
#[derive(Debug, Clone)]
pub struct MarketFacts {
    /// The trading calendar of the exchanges.
    pub calendar: Arc<TradingCalendar>,
    /// Listings by code; a security without an entry is unknown.
    pub listings: Arc<HashMap<Code, Listing>>,
    /// The Shanghai day on which this snapshot was read.
    pub read_on: NaiveDate,
}

impl MarketFacts {
    /// Facts without any external data: the built-in calendar and no listings.
    pub fn built_in(today: NaiveDate) -> Self {
        Self { calendar: Arc::new(TradingCalendar::built_in().clone()), listings: Arc::default(), read_on: today }
    }

    /// The listing of one security; `None` if unknown.
    pub fn listing(&self, code: Code) -> Option<&Listing> {
        self.listings.get(&code)
    }

    /// Whether the name marks the share as under special treatment on `day`. Returns `false` if the name was read too
    /// long after `day` to apply to it.
    pub fn is_named_special(&self, code: Code, day: NaiveDate) -> bool {
        self.is_name_of(day) && self.listing(code).is_some_and(Listing::is_special_treatment)
    }

    /// Whether the name marks the share as in its delisting period around `day`, with the same bound.
    pub fn is_named_delisting(&self, code: Code, day: NaiveDate) -> bool {
        self.is_name_of(day) && self.listing(code).is_some_and(Listing::is_being_delisted)
    }

    fn is_name_of(&self, day: NaiveDate) -> bool {
        self.read_on.checked_sub_days(NAME_VALIDITY).is_some_and(|first| day >= first)
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
    fn name_shows_special_treatment_around_its_read_day() {
        for (name, expected) in [("ST康美", true), ("*ST海润", true), ("S*ST前锋", true), ("平安银行", false)]
        {
            assert_eq!(listing(name).is_special_treatment(), expected, "{name}");
        }
        for (name, expected) in [("退市海润", true), ("锐电退", true), ("*ST海润", false), ("退", true)] {
            assert_eq!(listing(name).is_being_delisted(), expected, "{name}");
        }
        let code = "600000.SH".parse().unwrap();
        let listings = Arc::new([(code, listing("*ST海润"))].into_iter().collect());
        let facts = MarketFacts { listings, ..MarketFacts::built_in(day("2024-06-03")) };
        assert!(facts.is_named_special(code, day("2024-05-31")));
        assert!(!facts.is_named_delisting(code, day("2024-05-31")));
        assert!(!facts.is_named_special(code, day("2024-01-31")), "the name may have been different then");
        assert!(!facts.is_named_special("600001.SH".parse().unwrap(), day("2024-05-31")));
    }
}
