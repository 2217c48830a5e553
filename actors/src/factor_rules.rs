// Upstream: actors::validator
// Downstream: actors::domain::adjust_factor, actors::domain::bar, actors::domain::code, actors::domain::task
// Role: The rules a fetched adjustment factor must keep.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use chrono::NaiveTime;
use rust_decimal::Decimal;

use crate::domain::{
    Anomaly, Code, DateRange, FetchedFactor, Field, Millionths, RawFactor, Rule, SourceId, TaskCounts,
};

/// Factors of A-shares lie between 1 and some thousands. Within these bounds a quotient of two of them fits
/// `Decimal(16, 6)`.
const PLAUSIBLE: RangeInclusive<Millionths> = Millionths(100)..=Millionths(100_000_000_000);

/// What is known of all factors of one answer.
#[derive(Debug, Clone, Copy)]
pub struct FactorContext {
    /// The security.
    pub code: Code,
    /// The days that were asked for.
    pub range: DateRange,
    /// Who gave the rows.
    pub source: SourceId,
}

/// The factors of one answer, checked; sound ones oldest first, each day once.
pub struct CheckedFactors {
    /// Sound ones.
    pub rows: Vec<RawFactor>,
    /// Rows by what became of them.
    pub counts: TaskCounts,
    /// Examples of invalid ones.
    pub anomalies: Vec<Anomaly>,
}

/// Checks all factors of one answer.
pub fn check_all(fetched: &[FetchedFactor], context: &FactorContext, max_examples: usize) -> CheckedFactors {
    let mut checked = CheckedFactors {
        rows: Vec::with_capacity(fetched.len()),
        counts: TaskCounts { fetched: fetched.len() as u64, ..TaskCounts::default() },
        anomalies: Vec::new(),
    };
    let mut seen = HashSet::with_capacity(fetched.len());
    for row in fetched {
        let outcome = check(row, context).and_then(|factor| {
            let doubled = || anomaly(context, &factor.timestamp.to_string(), "timestamp", Rule::DuplicateTimestamp);
            if seen.insert(factor.timestamp) { Ok(factor) } else { Err(doubled()) }
        });
        match outcome {
            Ok(factor) => checked.rows.push(factor),
            Err(anomaly) => {
                *checked.counts.skipped.entry(anomaly.rule).or_default() += 1;
                if checked.anomalies.len() < max_examples {
                    checked.anomalies.push(anomaly);
                }
            }
        }
    }
    checked.rows.sort_by_key(|row| row.timestamp);
    checked
}

fn check(row: &FetchedFactor, context: &FactorContext) -> Result<RawFactor, Anomaly> {
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

fn anomaly(context: &FactorContext, value: &str, field: &'static str, rule: Rule) -> Anomaly {
    Anomaly { code: context.code, timestamp: None, field, value: value.to_owned(), rule }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

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
    }
}
