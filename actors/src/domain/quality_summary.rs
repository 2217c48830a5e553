// Upstream: data_worker, domain, quality_monitor, quality_report
// Downstream: code, settings, source_stats, task, task_report
// Role: Accumulates task results of an interval or a job: rows, sources, delays, examples, affected codes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::{Anomaly, Code, Rule, SourceStats, Subject, TaskCounts, TaskReport};
use crate::settings::{QualitySettings, ms};

/// Maximum number of securities listed per kind of problem: all A-shares. Further ones are only counted.
const MAX_NAMED: usize = 6_000;

/// Maximum number of requests that are named: a job has one, an interval may have one a command.
pub const MAX_TRACES: usize = 20;

/// Maximum number of findings that are named per security and rule.
const MAX_FINDINGS_EACH: usize = 3;

/// Maximum number of securities and rules with named findings; about 1 MB.
const MAX_FINDINGS: usize = 5_000;

/// Maximum length of a failure reason kept per code, in characters.
const MAX_REASON: usize = 200;

/// The accumulated results of an interval or a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QualitySummary {
    /// Tasks that succeeded.
    pub num_done: u64,
    /// Tasks that failed permanently.
    pub num_failed: u64,
    /// Commands that were rejected.
    pub num_refused: u64,
    /// Commands that were sent again from dead letters.
    pub num_replayed: u64,
    /// The ids of the requests that the commands belong to, the first [`MAX_TRACES`] of them.
    pub trace_ids: BTreeSet<Arc<str>>,
    /// Ginkgo's names of the executed commands.
    pub commands: BTreeSet<&'static str>,
    /// Row counts.
    pub counts: TaskCounts,
    /// Call statistics per source.
    pub sources: SourceStats,
    /// Delays until rows were readable.
    pub delays: Delays,
    /// Examples of anomalies, per rule.
    pub examples: BTreeMap<Rule, Vec<Anomaly>>,
    /// The first findings of each security and rule: day, field and value.
    pub findings: BTreeMap<(Code, Rule), Vec<String>>,
    /// Tasks with missing rows, with the number of missing rows.
    pub incomplete: Affected,
    /// Late tasks, with the delay in seconds.
    pub late: Affected,
    /// Tasks with invalid rows, with the number of invalid rows.
    pub invalid: Affected,
    /// Tasks with invalid rows per rule, with the number of rows.
    pub skipped: BTreeMap<Rule, Affected>,
    /// Tasks with rows that broke a market rule but were kept, per rule, with the number of rows.
    pub warned: BTreeMap<Rule, Affected>,
    /// Tasks whose kind of security no configured source offers.
    pub not_offered: Affected,
    /// Failed tasks, with the last reason.
    pub failed: BTreeMap<Subject, String>,
}

/// Affected subjects, each with a number, and their total count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Affected {
    named: BTreeMap<Subject, u64>,
    unnamed: u64,
}

impl Affected {
    fn add(&mut self, subject: Subject, number: u64) {
        if self.named.len() < MAX_NAMED || self.named.contains_key(&subject) {
            *self.named.entry(subject).or_default() += number;
        } else {
            self.unnamed += 1;
        }
    }

    /// The names of the first `max_shown` subjects.
    pub fn names(&self, max_shown: usize) -> Vec<String> {
        self.named.keys().take(max_shown).map(Subject::to_string).collect()
    }

    /// Each listed subject with its number.
    pub fn iter(&self) -> impl Iterator<Item = (&Subject, u64)> {
        self.named.iter().map(|(subject, number)| (subject, *number))
    }

    /// The count of all affected subjects, listed or not.
    pub fn total(&self) -> u64 {
        self.named.len() as u64 + self.unnamed
    }
}

/// Delays until the rows of tasks were readable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Delays {
    longest: Duration,
    sum: Duration,
    count: u32,
    /// Delays of the first tasks, in milliseconds.
    samples: Vec<u32>,
}

impl Delays {
    /// Covers the tasks of about three evenings for the whole market; 64 KB.
    const MAX_KEPT: usize = 16_000;

    fn add(&mut self, delay: Duration) {
        self.longest = self.longest.max(delay);
        self.sum += delay;
        self.count += 1;
        if self.samples.len() < Self::MAX_KEPT {
            self.samples.push(u32::try_from(delay.as_millis()).unwrap_or(u32::MAX));
        }
    }

    /// The delay that `percent` percent of the tasks do not exceed; `None` if there is no delay.
    pub fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
        sorted.get(place).map(|milliseconds| Duration::from_millis(u64::from(*milliseconds)))
    }

    /// The longest delay; `None` if there is none.
    pub fn longest(&self) -> Option<Duration> {
        (self.count > 0).then_some(self.longest)
    }

    /// The mean delay; `None` if there is none.
    pub fn mean(&self) -> Option<Duration> {
        self.sum.checked_div(self.count)
    }
}

impl QualitySummary {
    /// Whether no task ended and no command was rejected.
    pub fn is_empty(&self) -> bool {
        self.num_tasks() == 0 && self.num_refused == 0
    }

    /// Adds the id of the request that a command belongs to.
    pub fn note_trace(&mut self, id: Arc<str>) {
        if self.trace_ids.len() < MAX_TRACES {
            self.trace_ids.insert(id);
        }
    }

    /// The number of ended tasks.
    pub fn num_tasks(&self) -> u64 {
        self.num_done + self.num_failed + self.counts.not_offered
    }

    /// Adds a task that succeeded.
    pub fn add_finished(
        &mut self,
        subject: Subject,
        report: &TaskReport,
        delay: Option<Duration>,
        quality: &QualitySettings,
    ) {
        let counts = &report.counts;
        if counts.not_offered > 0 {
            self.not_offered.add(subject, 1);
            return self.counts.add(counts);
        }
        if counts.missing > 0 {
            self.incomplete.add(subject, counts.missing);
        }
        if counts.num_skipped() > 0 {
            self.invalid.add(subject, counts.num_skipped());
        }
        for (by_rule, found) in [(&mut self.skipped, &counts.skipped), (&mut self.warned, &counts.warned)] {
            for (rule, number) in found {
                by_rule.entry(*rule).or_default().add(subject, *number);
            }
        }
        if let Some(delay) = delay.filter(|delay| *delay > ms(quality.alerts.delay_warning_ms)) {
            self.late.add(subject, delay.as_secs());
        }
        self.num_done += 1;
        self.counts.add(counts);
        for anomaly in &report.anomalies {
            let examples = self.examples.entry(anomaly.rule).or_default();
            if examples.len() < quality.max_examples {
                examples.push(anomaly.clone());
            }
            self.note_finding(anomaly);
        }
        if let Some(delay) = delay {
            self.delays.add(delay);
        }
    }

    fn note_finding(&mut self, anomaly: &Anomaly) {
        let key = (anomaly.code, anomaly.rule);
        if self.findings.len() < MAX_FINDINGS || self.findings.contains_key(&key) {
            let findings = self.findings.entry(key).or_default();
            if findings.len() < MAX_FINDINGS_EACH {
                findings.push(anomaly.finding());
            }
        }
    }

    /// The named findings of a security that broke a rule, in one text; empty if there are none.
    pub fn findings_of(&self, subject: &Subject, rule: Rule) -> String {
        let Subject::Code(code) = subject else { return String::new() };
        self.findings.get(&(*code, rule)).map_or_else(String::new, |findings| findings.join("; "))
    }

    /// Adds a task that failed permanently.
    pub fn add_failed(&mut self, subject: Subject, reason: &str) {
        self.num_failed += 1;
        if self.failed.len() < MAX_NAMED || self.failed.contains_key(&subject) {
            self.failed.insert(subject, reason.chars().take(MAX_REASON).collect());
        }
    }

    /// Adds a rejected command.
    pub fn add_refused(&mut self) {
        self.num_refused += 1;
    }

    /// The row counts.
    pub fn counts(&self) -> &TaskCounts {
        &self.counts
    }

    /// The executed commands, joined by commas, such as `bar_snapshot`; `none` if all were refused.
    pub fn task_type(&self) -> String {
        if self.commands.is_empty() {
            return "none".to_owned();
        }
        self.commands.iter().copied().collect::<Vec<_>>().join(",")
    }

    /// The 95th percentile of the delays; `None` if there is no delay.
    pub fn usual_delay(&self) -> Option<Duration> {
        self.delays.percentile(95)
    }

    /// Up to `max_shown` examples, taken from the rules in turn so that each rule is represented.
    pub fn shown_examples(&self, max_shown: usize) -> Vec<&Anomaly> {
        let most = self.examples.values().map(Vec::len).max().unwrap_or_default();
        let turn = |turn: usize| self.examples.values().filter_map(move |examples| examples.get(turn));
        (0..most).flat_map(turn).take(max_shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anomaly(code: Code, rule: Rule) -> Anomaly {
        Anomaly { code, timestamp: None, field: "open", value: "-1".into(), rule }
    }

    #[test]
    fn findings_name_day_field_and_value_of_each_code() {
        let code: Code = "000001.SZ".parse().unwrap();
        let mut summary = QualitySummary::default();
        let quality = QualitySettings { max_examples: 0, ..QualitySettings::default() };
        let at = |day: u32| {
            let timestamp = chrono::NaiveDate::from_ymd_opt(2024, 1, day).and_then(|day| day.and_hms_opt(0, 0, 0));
            Anomaly { timestamp, ..anomaly(code, Rule::PriceNotPositive) }
        };
        let report = TaskReport { anomalies: (1..9).map(at).collect(), ..TaskReport::default() };
        summary.add_finished(Subject::Code(code), &report, None, &quality);
        let text = summary.findings_of(&Subject::Code(code), Rule::PriceNotPositive);
        assert_eq!(text, "2024-01-01 open -1; 2024-01-02 open -1; 2024-01-03 open -1");
        assert_eq!(summary.findings_of(&Subject::Code(code), Rule::MissingValue), "");
    }

    #[test]
    fn examples_are_of_every_rule_and_bounded() {
        let code: Code = "000001.SZ".parse().unwrap();
        let quality = QualitySettings { max_examples: 4, ..QualitySettings::default() };
        let mut summary = QualitySummary::default();
        let mut anomalies = vec![anomaly(code, Rule::PriceNotPositive); 50];
        anomalies.push(anomaly(code, Rule::MissingValue));
        let report = TaskReport { anomalies, ..TaskReport::default() };
        summary.add_finished(Subject::Code(code), &report, None, &quality);
        let shown: Vec<Rule> = summary.shown_examples(4).iter().map(|anomaly| anomaly.rule).collect();
        assert_eq!(shown.iter().filter(|rule| **rule == Rule::MissingValue).count(), 1);
        assert_eq!(shown.len(), 4);
    }

    #[test]
    fn the_named_are_bounded_and_all_are_counted() {
        let mut affected = Affected::default();
        for n in 0..7_000 {
            affected.add(Subject::Code(format!("{n:06}.SZ").parse().unwrap()), 2);
        }
        affected.add(Subject::Code("000000.SZ".parse().unwrap()), 3);
        assert_eq!((affected.total(), affected.iter().count(), affected.names(20).len()), (7_000, MAX_NAMED, 20));
        assert_eq!(affected.iter().next().map(|(_, number)| number), Some(5));
    }
}
