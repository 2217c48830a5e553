// Upstream: many
// Downstream: adjust_factor, bar, code, market_facts
// Role: What is known of one security's days beside its rows: notes of its source, listings, calendar, factor changes.

use std::sync::Arc;

use chrono::NaiveDate;

use crate::domain::{Code, Hundredths, Listing, MarketFacts, Millionths};

/// What a source says of a day beside the bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayNote {
    /// The day.
    pub day: NaiveDate,
    /// The price that the day's limits refer to: the close before, less what an ex-right took off.
    pub reference: Option<Hundredths>,
    /// Whether the security was suspended: no bar is missing.
    pub is_suspended: bool,
    /// Whether it was under special treatment (ST); `None`: the source does not say.
    pub is_special: Option<bool>,
}

impl DayNote {
    /// That a security was suspended on this day, and nothing else.
    pub fn suspended(day: NaiveDate) -> Self {
        Self { day, reference: None, is_suspended: true, is_special: None }
    }
}

/// A stored daily bar, as what the minutes of its day make up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayTotal {
    /// The day.
    pub day: NaiveDate,
    /// Highest price, yuan.
    pub high: Hundredths,
    /// Lowest price, yuan.
    pub low: Hundredths,
    /// Closing price, yuan.
    pub close: Hundredths,
    /// Lots of 100 shares.
    pub volume: i64,
}

/// A stored series of raw factors, as the days on which it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorChanges {
    /// Since when which factor holds, oldest first.
    pub since: Vec<(NaiveDate, Millionths)>,
    /// The last day of the series.
    pub until: NaiveDate,
}

impl FactorChanges {
    /// The factors in force on two days; `None` where the series does not reach them.
    pub fn between(&self, from: NaiveDate, to: NaiveDate) -> Option<(Millionths, Millionths)> {
        let on = |day: NaiveDate| {
            let later = self.since.partition_point(|(since, _)| *since <= day);
            self.since.get(later.checked_sub(1)?).map(|(_, factor)| *factor)
        };
        if to > self.until { None } else { Some((on(from)?, on(to)?)) }
    }
}

/// What the rows of one answer are judged by.
#[derive(Debug, Clone)]
pub struct KnownDays {
    /// Listings and calendar.
    pub facts: Arc<MarketFacts>,
    /// Notes of the source, by day.
    notes: Vec<DayNote>,
    /// Changes of the stored factors; `None` where there was nothing to ask them for, or none are stored.
    pub factors: Option<FactorChanges>,
    /// The last stored close before the first row, and its day.
    pub close_before: Option<(NaiveDate, Hundredths)>,
    /// Of minutes: the stored daily bars of their days, oldest first.
    pub day_totals: Vec<DayTotal>,
}

impl KnownDays {
    /// Notes may come in any order.
    pub fn new(facts: Arc<MarketFacts>, mut notes: Vec<DayNote>, factors: Option<FactorChanges>) -> Self {
        notes.sort_unstable_by_key(|note| note.day);
        Self { facts, notes, factors, close_before: None, day_totals: Vec::new() }
    }

    /// The notes, oldest day first.
    pub fn notes(&self) -> &[DayNote] {
        &self.notes
    }

    /// The listing of a security, where it is known.
    pub fn listing(&self, code: Code) -> Option<&Listing> {
        self.facts.listing(code)
    }

    /// The days on which the source says that the security was suspended, oldest first.
    pub fn suspended(&self) -> Vec<NaiveDate> {
        self.notes.iter().filter(|note| note.is_suspended).map(|note| note.day).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_between_two_days_are_known_within_the_series_only() {
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
