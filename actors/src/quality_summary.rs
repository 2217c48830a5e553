// Upstream: actors::quality_alerts, actors::quality_monitor, actors::quality_score_tests
// Downstream: actors::domain::code, actors::domain::notification, actors::domain::task, actors::ports, actors::ports::market_source, actors::settings, actors::ticket
// Role: Adds up what tasks brought in an interval, and words it as the spec's quality report and alerts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::{Anomaly, Level, Notification, Rule, Subject, TaskCounts};
use crate::ports::{SourceError, StoreError};
use crate::settings::{QualitySettings, ms};
use crate::ticket::TaskReport;

/// What happened since the last summary.
#[derive(Debug, Default)]
pub struct QualitySummary {
    num_tasks: u64,
    num_failed: u64,
    num_refused: u64,
    counts: TaskCounts,
    anomalies: Vec<Anomaly>,
    failed_subjects: BTreeSet<Subject>,
    delays: Delays,
    /// Tasks of which rows are missing, that were late, and of which rows were invalid.
    pub(crate) incomplete: Affected,
    pub(crate) late: Affected,
    pub(crate) invalid: Affected,
}

/// Tasks that something is wrong with: some of their subjects, and how many there are.
#[derive(Debug, Default)]
pub struct Affected {
    shown: BTreeSet<Subject>,
    total: u64,
}

impl Affected {
    fn add(&mut self, subject: Subject, max_shown: usize) {
        self.total += 1;
        if self.shown.len() < max_shown {
            self.shown.insert(subject);
        }
    }

    /// Those that are shown.
    pub fn names(&self) -> Vec<String> {
        self.shown.iter().map(Subject::to_string).collect()
    }

    /// All, shown or not.
    pub fn total(&self) -> u64 {
        self.total
    }
}

/// Delays from a command's own timestamp to its rows being readable.
#[derive(Debug, Default)]
struct Delays {
    longest: Duration,
    sum: Duration,
    count: u32,
    /// In milliseconds, of the interval's first tasks.
    some: Vec<u32>,
}

impl Delays {
    /// Three evenings of the whole market; 64 KB.
    const MAX_KEPT: usize = 16_000;

    fn add(&mut self, delay: Duration) {
        self.longest = self.longest.max(delay);
        self.sum += delay;
        self.count += 1;
        if self.some.len() < Self::MAX_KEPT {
            self.some.push(u32::try_from(delay.as_millis()).unwrap_or(u32::MAX));
        }
    }

    /// The delay that so many percent of the tasks do not exceed; `None` where none is known.
    fn percentile(&self, percent: usize) -> Option<Duration> {
        let mut sorted = self.some.clone();
        sorted.sort_unstable();
        let place = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
        sorted.get(place).map(|milliseconds| Duration::from_millis(u64::from(*milliseconds)))
    }
}

impl QualitySummary {
    /// Whether there is nothing to report.
    pub fn is_empty(&self) -> bool {
        self.num_tasks == 0 && self.num_failed == 0 && self.num_refused == 0
    }

    /// A task ended well.
    pub fn add_finished(
        &mut self,
        subject: Subject,
        report: TaskReport,
        delay: Option<Duration>,
        quality: &QualitySettings,
    ) {
        let max_examples = quality.max_examples;
        if report.counts.missing > 0 {
            self.incomplete.add(subject, max_examples);
        }
        if report.counts.num_skipped() > 0 {
            self.invalid.add(subject, max_examples);
        }
        if delay.is_some_and(|delay| delay > ms(quality.alerts.delay_warning_ms)) {
            self.late.add(subject, max_examples);
        }
        self.num_tasks += 1;
        self.counts.add(&report.counts);
        let room = max_examples.saturating_sub(self.anomalies.len());
        self.anomalies.extend(report.anomalies.into_iter().take(room));
        if let Some(delay) = delay {
            self.delays.add(delay);
        }
    }

    /// Rows of the interval.
    pub fn counts(&self) -> &TaskCounts {
        &self.counts
    }

    /// Whether tasks ended, and all of them well.
    pub fn is_all_well(&self) -> bool {
        self.num_tasks > 0 && self.num_failed == 0
    }

    /// The delay that 95 of 100 tasks do not exceed; `None` where no command told its time.
    pub fn usual_delay(&self) -> Option<Duration> {
        self.delays.percentile(95)
    }

    /// A task failed for good.
    pub fn add_failed(&mut self, subject: Subject, max_examples: usize) {
        self.num_failed += 1;
        if self.failed_subjects.len() < max_examples {
            self.failed_subjects.insert(subject);
        }
    }

    /// A command was refused.
    pub fn add_refused(&mut self) {
        self.num_refused += 1;
    }

    /// The spec's DataQualityReport, with what more is known beside it.
    pub fn to_notification(&self, node_id: &str, since: DateTime<Utc>, now: DateTime<Utc>) -> Notification {
        let skipped = self.counts.num_skipped();
        let tasks = self.num_tasks + self.num_failed;
        let success_rate = if tasks == 0 { 1.0 } else { self.num_tasks as f64 / tasks as f64 };
        let level =
            if self.num_failed > 0 || self.num_refused > 0 || skipped > 0 { Level::Warning } else { Level::Info };
        let content = format!(
            "{} tasks done, {} failed, {} commands refused; {} rows fetched, {} written, {} unchanged, {} skipped; \
             {} expected, {} missing",
            self.num_tasks,
            self.num_failed,
            self.num_refused,
            self.counts.fetched,
            self.counts.written,
            self.counts.unchanged,
            skipped,
            self.counts.expected,
            self.counts.missing
        );
        Notification {
            kind: "data_quality_report",
            level,
            title: "数据质量报告".to_owned(),
            content,
            fields: vec![
                ("node_id", node_id.to_owned()),
                ("records_expected", self.counts.expected.to_string()),
                ("records_missing", self.counts.missing.to_string()),
                ("records_actual", (self.counts.fetched - skipped.min(self.counts.fetched)).to_string()),
                ("records_written", self.counts.written.to_string()),
                ("records_skipped", skipped.to_string()),
                ("records_failed", self.num_failed.to_string()),
                ("success_rate", format!("{success_rate:.4}")),
            ],
            data: self.body(success_rate, since, now),
        }
    }

    fn body(&self, success_rate: f64, since: DateTime<Utc>, now: DateTime<Utc>) -> Value {
        let skipped = self.counts.num_skipped();
        let mean_delay = self.delays.sum.checked_div(self.delays.count).unwrap_or_default();
        json!({
            "report_id": Uuid::new_v4().to_string(),
            "timestamp": now.to_rfc3339_opts(SecondsFormat::Micros, true),
            "task_type": "bar_snapshot",
            // By the exchanges' calendar; lists and factors have no number that could be expected.
            "records_expected": self.counts.expected,
            "records_missing": self.counts.missing,
            "records_fetched": self.counts.fetched,
            "records_actual": self.counts.fetched - skipped.min(self.counts.fetched),
            "records_written": self.counts.written,
            "records_unchanged": self.counts.unchanged,
            "records_replaced": self.counts.replaced,
            "records_compared": self.counts.compared,
            "records_not_compared": self.counts.not_compared,
            "success_rate": success_rate,
            "records_failed": self.num_failed,
            "records_skipped": skipped,
            "skipped_by_rule": by_rule(&self.counts.skipped),
            "warned_by_rule": by_rule(&self.counts.warned),
            "tasks_done": self.num_tasks,
            "tasks_failed": self.num_failed,
            "commands_refused": self.num_refused,
            "failed_codes": self.failed_subjects.iter().map(Subject::to_string).collect::<Vec<_>>(),
            "anomalies": self.anomalies.iter().map(anomaly_json).collect::<Vec<_>>(),
            "incomplete_codes": self.incomplete.names(),
            "incomplete_codes_total": self.incomplete.total(),
            "delay_seconds_mean": mean_delay.as_secs_f64(),
            "delay_seconds_p50": seconds(self.delays.percentile(50)),
            "delay_seconds_p95": seconds(self.delays.percentile(95)),
            "delay_seconds_max": self.delays.longest.as_secs_f64(),
            "duration_seconds": (now - since).as_seconds_f64(),
        })
    }
}

/// A duration in seconds; `null` where there is none.
fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}

fn by_rule(counts: &BTreeMap<Rule, u64>) -> Value {
    counts.iter().map(|(rule, count)| (rule.as_str().to_owned(), json!(count))).collect()
}

fn anomaly_json(anomaly: &Anomaly) -> Value {
    json!({
        "code": anomaly.code.as_str(),
        "date": anomaly.timestamp.map(|time| time.format("%Y-%m-%dT%H:%M:%S").to_string()),
        "field": anomaly.field,
        "value": anomaly.value,
        "reason": anomaly.rule.as_str(),
    })
}

/// Fetches failed for good; one alert for all of them since the last.
pub fn source_alert(subjects: &BTreeSet<Subject>, num_failed: u64, error: &SourceError) -> Notification {
    let shown: Vec<String> = subjects.iter().map(Subject::to_string).collect();
    Notification {
        kind: "data_collection_alert",
        level: Level::Error,
        title: "数据源采集失败".to_owned(),
        content: format!("{num_failed} fetches failed, the last: {error}"),
        fields: vec![
            ("alert_type", "source_error".to_owned()),
            ("source", error.source_name.to_owned()),
            ("failed", num_failed.to_string()),
            ("affected_codes", shown.join(", ")),
        ],
        data: json!({
            "alert_type": "source_error",
            "task_type": "bar_snapshot",
            "expected": num_failed,
            "actual": 0,
            "threshold": 0,
            "affected_codes": shown,
            "affected_codes_total": num_failed,
            "reason": error.to_string(),
        }),
    }
}

/// The store does not take rows.
pub fn store_alert(error: &StoreError) -> Notification {
    Notification {
        kind: "data_collection_alert",
        level: Level::Error,
        title: "数据写入失败".to_owned(),
        content: format!("{error}; no new commands are taken until rows can be written, nothing is lost"),
        fields: vec![("alert_type", "write_error".to_owned()), ("class", error.class.to_string())],
        data: json!({
            "alert_type": "write_error",
            "task_type": "bar_snapshot",
            "class": error.class.as_str(),
            "reason": error.to_string(),
            "affected_codes": [],
        }),
    }
}

/// The store takes rows again.
pub fn store_recovery(lasted: Duration) -> Notification {
    let seconds = format!("{:.1}", lasted.as_secs_f64());
    Notification {
        kind: "data_collection_alert",
        level: Level::Info,
        title: "数据写入已恢复".to_owned(),
        content: format!("rows are written again after {seconds} s"),
        fields: vec![("alert_type", "write_error".to_owned()), ("outage_seconds", seconds)],
        data: json!({"alert_type": "write_error", "resolved": true, "outage_seconds": lasted.as_secs_f64()}),
    }
}

/// Commands were refused; one alert for all of them since the last.
pub fn refusal_alert(num_refused: u64, reason: &str) -> Notification {
    Notification {
        kind: "data_collection_alert",
        level: Level::Error,
        title: "数据命令被拒绝".to_owned(),
        content: format!("{num_refused} commands refused and recorded as dead letters, the last: {reason}"),
        fields: vec![("alert_type", "command_error".to_owned()), ("refused", num_refused.to_string())],
        data: json!({
            "alert_type": "command_error",
            "refused": num_refused,
            "reason": reason,
            "affected_codes": [],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Code;

    #[test]
    fn a_summary_adds_up_what_tasks_brought_and_bounds_its_examples() {
        let code: Code = "000001.SZ".parse().unwrap();
        let anomaly =
            Anomaly { code, timestamp: None, field: "open", value: "-1".into(), rule: Rule::PriceNotPositive };
        let quality = QualitySettings { max_examples: 2, ..QualitySettings::default() };
        let mut summary = QualitySummary::default();
        assert!(summary.is_empty());
        for _ in 0..3 {
            let mut counts = TaskCounts { expected: 11, missing: 1, fetched: 10, written: 9, ..TaskCounts::default() };
            counts.skipped.insert(Rule::PriceNotPositive, 1);
            let report = TaskReport { counts, anomalies: vec![anomaly.clone()], backfill: None };
            summary.add_finished(Subject::Code(code), report, Some(Duration::from_secs(2)), &quality);
        }
        summary.add_failed(Subject::Code(code), 2);
        let now = Utc::now();
        let notification = summary.to_notification("h1", now - chrono::Duration::seconds(60), now);
        assert_eq!(notification.level, Level::Warning);
        let data = &notification.data;
        assert_eq!((&data["records_expected"], &data["records_missing"]), (&json!(33), &json!(3)));
        assert_eq!((&data["incomplete_codes"], &data["incomplete_codes_total"]), (&json!(["000001.SZ"]), &json!(3)));
        assert_eq!((&data["delay_seconds_p50"], &data["delay_seconds_p95"]), (&json!(2.0), &json!(2.0)));
        assert_eq!(data["records_actual"], 27);
        assert_eq!(data["records_skipped"], 3);
        assert_eq!(data["skipped_by_rule"]["price_not_positive"], 3);
        assert_eq!(data["success_rate"], 0.75);
        assert_eq!(data["anomalies"].as_array().unwrap().len(), 2);
        assert_eq!(
            data["anomalies"][0],
            json!({"code": "000001.SZ", "date": null, "field": "open", "value": "-1", "reason": "price_not_positive"})
        );
        assert_eq!(data["failed_codes"], json!(["000001.SZ"]));
        assert_eq!(data["delay_seconds_mean"], 2.0);
        assert_eq!(data["duration_seconds"], 60.0);
    }
}
