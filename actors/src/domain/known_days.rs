// Upstream: many
// Downstream: adjust_factor, code, market_facts, price
// Role: Context for validating rows of one security: day notes, listing, calendar, factor changes, stored bars.

use std::sync::Arc;

use chrono::{NaiveDate, NaiveDateTime};

use crate::domain::{Code, Listing, MarketFacts, Millionths, Price, PriceFormat};

/// What a source reports about a day in addition to the bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayNote {
    /// The day.
    pub day: NaiveDate,
    /// The reference price of the day's price limits: the previous close, adjusted for ex-rights.
    pub reference: Option<Price>,
    /// Whether the security was suspended; a suspended day has no missing bar.
    pub is_suspended: bool,
    /// Whether the security was under special treatment (ST); `None` if the source does not report it.
    pub is_special: Option<bool>,
}

impl DayNote {
    /// A note that only reports a suspension on this day.
    pub fn suspended(day: NaiveDate) -> Self {
        Self { day, reference: None, is_suspended: true, is_special: None }
    }
}

/// A stored daily bar, reduced to the values that are compared with the minute bars of its day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayTotal {
    /// The day.
    pub day: NaiveDate,
    /// Highest price, yuan.
    pub high: Price,
    /// Lowest price, yuan.
    pub low: Price,
    /// Closing price, yuan.
    pub close: Price,
    /// Volume in lots of 100 shares.
    pub volume: i64,
}

/// A stored series of raw factors, reduced to the days on which the factor changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorChanges {
    /// Each factor with the first day on which it applies, oldest first.
    pub since: Vec<(NaiveDate, Millionths)>,
    /// The last day of the series.
    pub until: NaiveDate,
}

impl FactorChanges {
    /// The factors that apply on two days; `None` if the series does not cover both.
    pub fn between(&self, from: NaiveDate, to: NaiveDate) -> Option<(Millionths, Millionths)> {
        let on = |day: NaiveDate| {
            let later = self.since.partition_point(|(since, _)| *since <= day);
            self.since.get(later.checked_sub(1)?).map(|(_, factor)| *factor)
        };
        if to > self.until { None } else { Some((on(from)?, on(to)?)) }
    }
}

/// The context for validating the rows of one answer.
#[derive(Debug, Clone)]
pub struct KnownDays {
    /// Listings and the trading calendar.
    pub facts: Arc<MarketFacts>,
    /// Notes of the source, sorted by day.
    notes: Vec<DayNote>,
    /// Changes of the stored factors; `None` if they were not needed or none are stored.
    pub factors: Option<FactorChanges>,
    /// The last stored close before the first row, with its day.
    pub close_before: Option<(NaiveDate, Price)>,
    /// The day of the newest stored row, however old, if it is before the first row.
    pub newest_before: Option<NaiveDate>,
    /// For minute bars: the stored daily bars of the same days, oldest first.
    pub day_totals: Vec<DayTotal>,
    /// The times of bars of which the source offers only some values.
    pub not_offered: Vec<NaiveDateTime>,
    /// What the columns of the store hold of a price.
    pub prices: PriceFormat,
}

impl KnownDays {
    /// Creates the context. `notes` may be in any order.
    pub fn new(facts: Arc<MarketFacts>, mut notes: Vec<DayNote>, factors: Option<FactorChanges>) -> Self {
        notes.sort_unstable_by_key(|note| note.day);
        let (day_totals, not_offered, prices) = (Vec::new(), Vec::new(), PriceFormat::GINKGO);
        Self { facts, notes, factors, close_before: None, newest_before: None, day_totals, not_offered, prices }
    }

    /// The notes, oldest first.
    pub fn notes(&self) -> &[DayNote] {
        &self.notes
    }

    /// The listing of a security; `None` if unknown.
    pub fn listing(&self, code: Code) -> Option<&Listing> {
        self.facts.listing(code)
    }

    /// The days on which the source reports the security as suspended, oldest first.
    pub fn suspended(&self) -> Vec<NaiveDate> {
        self.notes.iter().filter(|note| note.is_suspended).map(|note| note.day).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factor_changes_are_known_within_the_series() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let since = vec![(day("2024-01-02"), Millionths(1_000_000)), (day("2024-06-13"), Millionths(1_100_000))];
        let changes = FactorChanges { since, until: day("2024-07-01") };
        let between = |from: &str, to: &str| changes.between(day(from), day(to)).map(|(a, b)| (a.0, b.0));
        assert_eq!(between("2024-06-12", "2024-06-13"), Some((1_000_000, 1_100_000)));
        assert_eq!(between("2024-06-13", "2024-07-01"), Some((1_100_000, 1_100_000)));
        assert_eq!(between("2023-12-29", "2024-01-02"), None);
        assert_eq!(between("2024-06-28", "2024-07-02"), None);
    }
}
