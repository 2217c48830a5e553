// Upstream: demonstration
// Downstream: actors, adapters::sqlite, news, sample, steps
// Role: Formats the outcome of the demonstration, and compares it with the expected outcome.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use actors::domain::DateRange;
use actors::domain::calendar::TradingCalendar;
use chrono::NaiveDate;

use crate::adapters::sqlite::store::CodeSummary;
use crate::standalone::news::MessageTotals;
use crate::standalone::sample::{MADE_UP, REAL, SAMPLES};
use crate::standalone::steps::StepDone;

/// The outcome of the demonstration.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The executed commands.
    pub steps: Vec<StepDone>,
    /// The stored rows by code.
    pub stored: Vec<CodeSummary>,
    /// The worker's notifications and dead letters.
    pub tally: MessageTotals,
    /// Time from the start to the last report.
    pub took: Duration,
}

impl Outcome {
    /// All deviations from the expected outcome, one text each.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for sample in SAMPLES {
            let should = (sample.num_sound, sample.days.0, sample.days.1);
            let stored = self.stored.iter().find(|stored| stored.code == sample.code);
            let is = stored.map(|stored| (stored.num_rows, day(&stored.first), day(&stored.last)));
            if is != Some(should) {
                faults.push(format!("stored rows of {}: {is:?} instead of {should:?}", sample.code));
            }
        }
        for step in self.steps.iter().filter(|step| step.step.writes_nothing && step.change.written > 0) {
            faults.push(format!("{}: {} rows written instead of none", step.step.title, step.change.written));
        }
        let rules = SAMPLES.iter().flat_map(|sample| sample.faults);
        let should: BTreeMap<String, u64> = rules.map(|(rule, count)| (rule.as_str().to_owned(), *count)).collect();
        if self.tally.skipped != should {
            faults.push(format!("skipped rows: {:?} instead of {should:?}", self.tally.skipped));
        }
        let classes: Vec<&str> = self.tally.records.iter().map(|record| record.class.as_str()).collect();
        if classes != ["bad_command"] {
            faults.push(format!("dead letters: {classes:?} instead of one, `bad_command`"));
        }
        faults
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Stored, by code:")?;
        for stored in &self.stored {
            let CodeSummary { code, num_rows, first, last } = stored;
            let remark = remark(stored).unwrap_or_default();
            writeln!(f, "  {code}  {num_rows:5} rows  {} to {}{remark}", day(first), day(last))?;
        }
        writeln!(f, "Skipped rows, by violated rule:")?;
        for (rule, count) in &self.tally.skipped {
            writeln!(f, "  {rule:26} {count:2}")?;
        }
        writeln!(f, "Dead letters:")?;
        for record in &self.tally.records {
            writeln!(f, "  {record}")?;
        }
        let verdict = if self.faults().is_empty() { "All results as expected" } else { "Results NOT as expected" };
        write!(f, "{verdict}, in {:.1} s.", self.took.as_secs_f64())
    }
}

/// The date part of a stored timestamp.
fn day(time: &str) -> &str {
    time.split(' ').next().unwrap_or_default()
}

fn remark(stored: &CodeSummary) -> Option<String> {
    if stored.code == MADE_UP.code {
        return Some("  (made up)".to_owned());
    }
    if stored.code != REAL.code {
        return None;
    }
    let parse = |time: &str| day(time).parse::<NaiveDate>().ok();
    let range = DateRange { start: parse(&stored.first)?, end: parse(&stored.last)? };
    let num_days = TradingCalendar::built_in().trading_days(range).len();
    let num_without = num_days.checked_sub(usize::try_from(stored.num_rows).ok()?)?;
    Some(format!("  (suspended on {num_without} of {num_days} trading days)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::standalone::news::DeadLetterRecord;
    use crate::standalone::steps::{Figures, steps};

    fn as_it_should_be() -> Outcome {
        let stored = |sample: &crate::standalone::sample::Sample| CodeSummary {
            code: sample.code.to_owned(),
            num_rows: sample.num_sound,
            first: format!("{} 00:00:00", sample.days.0),
            last: format!("{} 00:00:00", sample.days.1),
        };
        let rules = MADE_UP.faults.iter().map(|(rule, count)| (rule.as_str().to_owned(), *count));
        let record = DeadLetterRecord { class: "bad_command".to_owned(), ..DeadLetterRecord::default() };
        let done = |step| StepDone { step, change: Figures::default(), took: Duration::ZERO };
        Outcome {
            steps: steps().into_iter().map(done).collect(),
            stored: vec![stored(&MADE_UP), stored(&REAL)],
            tally: MessageTotals { num_ended: 5, skipped: rules.collect(), records: vec![record] },
            took: Duration::from_millis(4_300),
        }
    }

    fn fault(change: impl FnOnce(&mut Outcome)) -> String {
        let mut outcome = as_it_should_be();
        change(&mut outcome);
        assert!(outcome.to_string().contains("NOT as expected"));
        let faults = outcome.faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        faults.concat()
    }

    #[test]
    fn nothing_is_at_fault_where_all_is_as_it_should_be() {
        let outcome = as_it_should_be();
        assert_eq!(outcome.faults(), Vec::<String>::new());
        let text = outcome.to_string();
        assert!(text.contains("(suspended on 106 of 2919 trading days)"), "{text}");
        assert!(text.ends_with("All results as expected, in 4.3 s."), "{text}");
    }

    #[test]
    fn every_difference_is_a_fault_with_both_values() {
        let missing = fault(|outcome| outcome.stored[1].num_rows -= 1);
        assert!(missing.contains("002032.SZ") && missing.contains("2812") && missing.contains("2813"), "{missing}");
        assert!(fault(|outcome| outcome.stored[0].last = "2004-08-27 00:00:00".into()).contains("2004-08-27"));
        assert!(fault(|outcome| drop(outcome.stored.remove(0))).contains("None instead of"));
        let doubled = fault(|outcome| outcome.steps[1].change.written = 2);
        assert!(doubled.contains("again: 2 rows written instead of none"), "{doubled}");
        assert!(
            fault(|outcome| outcome.tally.skipped.retain(|rule, _| rule != "missing_value")).contains("missing_value")
        );
        assert!(fault(|outcome| outcome.tally.records.clear()).contains("dead letters: []"));
        assert!(fault(|outcome| outcome.tally.records[0].class = "crashed".into()).contains("crashed"));
    }
}
