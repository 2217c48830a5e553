// Upstream: validator
// Downstream: domain, settings
// Role: The rules a fetched adjustment factor must keep.

use std::collections::{BTreeSet, HashSet};
use std::ops::RangeInclusive;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use rust_decimal::Decimal;

use crate::domain::expected_rows::RequestedDays;
use crate::domain::{
    Anomaly, Code, DateRange, FetchedFactor, Field, Frequency, MarketFacts, Millionths, RawFactor, Rule, SourceId,
    TaskCounts,
};
use crate::settings::rules::{RuleAction, RuleSettings};

/// Factors of A-shares lie between 1 and some thousands. Within these bounds a quotient of two of them fits
/// `Decimal(16, 6)`.
const PLAUSIBLE: RangeInclusive<Millionths> = Millionths(100)..=Millionths(100_000_000_000);

/// What is known of all factors of one answer.
#[derive(Clone, Copy)]
pub struct FactorContext<'a> {
    /// The security.
    pub code: Code,
    /// The days that were asked for.
    pub range: DateRange,
    /// Who gave the rows.
    pub source: SourceId,
    /// Listings and calendar.
    pub facts: &'a MarketFacts,
    /// Which rules of the market count, and how.
    pub rules: &'a RuleSettings,
}

/// The factors of one answer, checked; sound ones oldest first, each day once.
pub struct CheckedFactors {
    /// Sound ones.
    pub rows: Vec<RawFactor>,
    /// Rows by what became of them.
    pub counts: TaskCounts,
    /// Examples of invalid ones.
    pub anomalies: Vec<Anomaly>,
    /// The days of which a row came, sound or not.
    days: BTreeSet<NaiveDate>,
}

/// Checks all factors of one answer.
pub fn check_all(fetched: &[FetchedFactor], context: &FactorContext<'_>, max_examples: usize) -> CheckedFactors {
    let mut checked = CheckedFactors {
        rows: Vec::with_capacity(fetched.len()),
        counts: TaskCounts { fetched: fetched.len() as u64, ..TaskCounts::default() },
        anomalies: Vec::new(),
        days: BTreeSet::new(),
    };
    let mut seen = HashSet::with_capacity(fetched.len());
    for row in fetched {
        if let Field::Value(time) = &row.timestamp {
            checked.days.insert(time.date());
        }
        let outcome = check(row, context).and_then(|factor| {
            let doubled = || anomaly(context, &factor.timestamp.to_string(), "timestamp", Rule::DuplicateTimestamp);
            if seen.insert(factor.timestamp) { Ok(factor) } else { Err(doubled()) }
        });
        match outcome {
            Ok(factor) => checked.rows.push(factor),
            Err(anomaly) => checked.tell(anomaly, RuleAction::Error, max_examples),
        }
    }
    checked.rows.sort_by_key(|row| row.timestamp);
    checked.judge(context, max_examples);
    checked
}

impl CheckedFactors {
    /// Judges the sound factors, oldest first, by the rules of the market.
    fn judge(&mut self, context: &FactorContext<'_>, max_examples: usize) {
        let listing = context.facts.listing(context.code);
        let (listed, delisted) = listing.map_or((None, None), |listing| (listing.listed, listing.delisted));
        let mut before: Option<Millionths> = None;
        let mut rows = std::mem::take(&mut self.rows);
        rows.retain(|row| {
            let day = row.timestamp.date();
            let broken = [
                (Rule::NonTradingDay, context.facts.calendar.is_trading_day(day) == Some(false)),
                (Rule::BeforeListing, listed.is_some_and(|listed| day < listed)),
                (Rule::AfterDelisting, delisted.is_some_and(|delisted| day > delisted)),
                (Rule::FactorDecreases, before.is_some_and(|before| row.factor < before)),
            ];
            for (rule, _) in broken.into_iter().filter(|(_, is_broken)| *is_broken) {
                let (field, value) = match rule {
                    Rule::FactorDecreases => ("adjustfactor", row.factor.to_decimal().normalize().to_string()),
                    _ => ("timestamp", day.to_string()),
                };
                let found = Anomaly { timestamp: Some(row.timestamp), ..anomaly(context, &value, field, rule) };
                let action = context.rules.action(rule);
                self.tell(found, action, max_examples);
                if action == RuleAction::Error {
                    return false;
                }
            }
            // One that fell is what the following ones are compared with: it is told once.
            before = Some(row.factor);
            true
        });
        self.rows = rows;
    }

    /// Counts what should have come, where the source has a factor for each trading day.
    pub fn expect(&mut self, context: &FactorContext<'_>, now: NaiveDateTime) {
        if !context.source.has_factors_of_all_days() {
            return;
        }
        let came: Vec<NaiveDate> = self.days.iter().copied().collect();
        let (calendar, listing) = (&context.facts.calendar, context.facts.listing(context.code));
        let asked =
            RequestedDays { range: context.range, frequency: Frequency::Day, calendar, listing, suspended: &[] };
        let expected = asked.expect(&came, now);
        (self.counts.expected, self.counts.missing) = (expected.rows, expected.missing);
    }

    fn tell(&mut self, anomaly: Anomaly, action: RuleAction, max_examples: usize) {
        let counts = match action {
            RuleAction::Ignore => return,
            RuleAction::Warning => &mut self.counts.warned,
            RuleAction::Error => &mut self.counts.skipped,
        };
        *counts.entry(anomaly.rule).or_default() += 1;
        if self.anomalies.len() < max_examples {
            self.anomalies.push(anomaly);
        }
    }
}

fn check(row: &FetchedFactor, context: &FactorContext<'_>) -> Result<RawFactor, Anomaly> {
    let wrong = |value: &str, field, rule| anomaly(context, value, field, rule);
    let timestamp = match &row.timestamp {
        Field::Value(time) => *time,
        Field::Missing => return Err(wrong("", "timestamp", Rule::MissingValue)),
        Field::Unreadable(text) => return Err(wrong(text, "timestamp", Rule::UnreadableValue)),
    };
    if timestamp.time() != NaiveTime::MIN || !context.range.contains(timestamp.date()) {
        return Err(wrong(&timestamp.to_string(), "timestamp", Rule::ImplausibleTimestamp));
    }
    let factor = match &row.factor {
        Field::Value(factor) => *factor,
        Field::Missing => return Err(wrong("", "adjustfactor", Rule::MissingValue)),
        Field::Unreadable(text) => return Err(wrong(text, "adjustfactor", Rule::UnreadableValue)),
    };
    let shown = factor.to_string();
    if factor <= Decimal::ZERO {
        return Err(wrong(&shown, "adjustfactor", Rule::FactorNotPositive));
    }
    match Millionths::from_decimal(factor).filter(|factor| PLAUSIBLE.contains(factor)) {
        Some(factor) => Ok(RawFactor { timestamp, factor, source: context.source }),
        None => Err(wrong(&shown, "adjustfactor", Rule::ValueOutOfRange)),
    }
}

fn anomaly(context: &FactorContext<'_>, value: &str, field: &'static str, rule: Rule) -> Anomaly {
    Anomaly { code: context.code, timestamp: None, field, value: value.to_owned(), rule }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Listing;
    use chrono::NaiveDate;
    use std::sync::Arc;

    #[test]
    fn a_factor_is_above_zero_on_a_day_that_was_asked_for_and_comes_once() {
        let day = |d: u32| NaiveDate::from_ymd_opt(2024, 1, d).unwrap();
        let row = |d: u32, factor: &str| FetchedFactor {
            timestamp: Field::Value(day(d).and_time(NaiveTime::MIN)),
            factor: Field::number(factor),
        };
        let context = FactorContext {
            code: "000001.SZ".parse().unwrap(),
            range: DateRange { start: day(1), end: day(10) },
            source: SourceId::TUSHARE,
            facts: &MarketFacts::built_in(day(10)),
            rules: &RuleSettings::default(),
        };
        let fetched = [
            row(3, "1.5"),
            row(2, "108.031"),
            row(2, "108.031"),
            row(4, "0"),
            row(5, "-1"),
            row(6, "0.0000001"),
            row(7, "NaN"),
            row(11, "1"),
            row(8, "99999999999"),
        ];
        let checked = check_all(&fetched, &context, 3);
        assert_eq!(checked.rows.iter().map(|row| row.timestamp.date()).collect::<Vec<_>>(), [day(2), day(3)]);
        let expected = [
            (Rule::MissingValue, 1),
            (Rule::DuplicateTimestamp, 1),
            (Rule::ImplausibleTimestamp, 1),
            (Rule::FactorNotPositive, 2),
            (Rule::ValueOutOfRange, 2),
        ];
        assert_eq!(checked.counts.skipped, expected.into_iter().collect());
        assert_eq!(checked.anomalies.len(), 3);
        assert_eq!(checked.counts.warned, [(Rule::FactorDecreases, 1)].into_iter().collect(), "108.031, then 1.5");
    }

    #[test]
    fn factors_outside_the_listing_or_below_earlier_ones_are_told_and_may_be_refused() {
        let day = |text: &str| text.parse::<NaiveDate>().unwrap();
        let row = |date: &str, factor: &str| FetchedFactor {
            timestamp: Field::Value(day(date).and_time(NaiveTime::MIN)),
            factor: Field::number(factor),
        };
        let code = "601061.SH".parse().unwrap();
        let (listed, delisted) = (Some(day("2023-04-10")), Some(day("2024-01-31")));
        let listing = Listing { code, name: "A".to_owned(), listed, delisted };
        let listings = Arc::new([(code, listing)].into_iter().collect());
        let facts = MarketFacts { listings, ..MarketFacts::built_in(day("2024-06-03")) };
        let range = DateRange { start: day("2023-01-01"), end: day("2024-12-31") };
        let judged = |rules: &RuleSettings| {
            let rows = [
                row("2023-04-07", "1"),
                row("2023-04-10", "1"),
                row("2023-04-15", "1"),
                row("2023-06-15", "1.2"),
                row("2023-06-16", "1.1"),
                row("2023-06-19", "1.1"),
                row("2024-02-01", "1.2"),
            ];
            let context = FactorContext { code, range, source: SourceId::TUSHARE, facts: &facts, rules };
            check_all(&rows, &context, 10)
        };
        let expected =
            [(Rule::NonTradingDay, 1), (Rule::BeforeListing, 1), (Rule::AfterDelisting, 1), (Rule::FactorDecreases, 1)];
        let checked = judged(&RuleSettings::default());
        assert_eq!(checked.counts.warned, expected.into_iter().collect());
        assert_eq!(checked.rows.len(), 7);
        let strict = RuleSettings { factor_decreases: RuleAction::Error, ..RuleSettings::default() };
        let checked = judged(&strict);
        assert_eq!(checked.counts.skipped, [(Rule::FactorDecreases, 2)].into_iter().collect(), "1.2 still counts");
        assert_eq!(checked.rows.len(), 5);
    }
}
