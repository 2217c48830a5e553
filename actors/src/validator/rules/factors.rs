// Upstream: validator
// Downstream: domain, settings
// Role: Rules for fetched adjustment factors.

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

/// The accepted range, 0.0001 to 100,000. Factors of A-shares lie between 1 and a few thousand. The quotient of two
/// accepted factors fits `Decimal(16, 6)`.
const PLAUSIBLE: RangeInclusive<Millionths> = Millionths(100)..=Millionths(100_000_000_000);

/// The context of all factors of one answer.
#[derive(Clone, Copy)]
pub struct FactorContext<'a> {
    /// The security.
    pub code: Code,
    /// The requested days.
    pub range: DateRange,
    /// The source of the rows.
    pub source: SourceId,
    /// Listings and the trading calendar.
    pub facts: &'a MarketFacts,
    /// The action of each market rule.
    pub rules: &'a RuleSettings,
}

/// The result of validating the factors of one answer.
pub struct CheckedFactors {
    /// Valid factors, oldest first, at most one a day.
    pub rows: Vec<RawFactor>,
    /// Row counts by outcome.
    pub counts: TaskCounts,
    /// Examples of skipped and reported rows.
    pub anomalies: Vec<Anomaly>,
    /// The days of all returned rows, valid or not.
    days: BTreeSet<NaiveDate>,
}

/// Validates all factors of one answer.
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
    /// Applies the market rules to the valid factors, oldest first.
    fn judge(&mut self, context: &FactorContext<'_>, max_examples: usize) {
        let listing = context.facts.listing(context.code);
        let (listed, delisted) = listing.map_or((None, None), |listing| (listing.listed, listing.delisted));
        let mut before: Option<Millionths> = None;
        let mut rows = std::mem::take(&mut self.rows);
        rows.retain(|row| {
            let day = row.timestamp.date();
            let violation = [
                (Rule::NonTradingDay, context.facts.calendar.is_trading_day(day) == Some(false)),
                (Rule::BeforeListing, listed.is_some_and(|listed| day < listed)),
                (Rule::AfterDelisting, delisted.is_some_and(|delisted| day > delisted)),
                (Rule::FactorDecreases, before.is_some_and(|before| row.factor < before)),
            ];
            for (rule, _) in violation.into_iter().filter(|(_, is_broken)| *is_broken) {
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
            // Later factors are compared with this one, also if it decreased. So each decrease is reported once.
            before = Some(row.factor);
            true
        });
        self.rows = rows;
    }

    /// Counts expected and missing factors, if the source has a factor for each trading day.
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
    fn rejects_bad_duplicate_and_out_of_range_factors() {
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
    fn factor_listing_and_decrease_rules_warn_or_reject() {
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
        assert_eq!(checked.counts.skipped, [(Rule::FactorDecreases, 2)].into_iter().collect(), "both are below 1.2");
        assert_eq!(checked.rows.len(), 5);
    }
}
