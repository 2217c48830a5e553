// Upstream: data_worker, domain, ports, quality_monitor, simulation, supervisor
// Downstream: many
// Role: A quality report: the figures of an interval or a job, as a notification and as rows to store.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::domain::calendar::CALENDAR_NOTICE_DAYS;
use crate::domain::random_id::random_uuid;
use crate::domain::{Affected, Anomaly, ControlCommand, Level, Notification, QualitySummary, Rule, Subject, counted};

/// Maximum number of per-code problems stored with one report; about 2 MB.
const MAX_ISSUES: usize = 20_000;

/// Maximum length of a sender's name or id, in characters.
const MAX_TEXT: usize = 100;

/// Identifies a job, a group of related commands: those with the same sender id of the job, otherwise those of one
/// sender and one command name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JobKey {
    /// The sender's id of the job, shared by all its commands. A `message_id` is not used: it is unique to each
    /// message.
    pub id: Option<String>,
    /// The command name.
    pub command: &'static str,
    /// The sender.
    pub sender: String,
}

impl JobKey {
    /// The job of a command. `word` is the command name.
    pub fn of(command: &ControlCommand, word: &'static str) -> Self {
        let text = |text: &String| text.chars().take(MAX_TEXT).collect();
        let sender = command.source.as_ref().map(text).unwrap_or_default();
        Self { id: command.job_id.as_ref().map(text), command: word, sender }
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.id {
            Some(id) => f.write_str(id),
            None => write!(f, "{} {}", self.sender, self.command),
        }
    }
}

/// A quality report.
#[derive(Debug, Clone, PartialEq)]
pub struct QualityReport {
    /// The unique id of the report.
    pub id: String,
    /// The reporting worker.
    pub node_id: String,
    /// The job; `None` for a report on everything the worker did in an interval.
    pub job: Option<JobKey>,
    /// Start of the reported period.
    pub since: DateTime<Utc>,
    /// End of the reported period.
    pub until: DateTime<Utc>,
    /// The figures.
    pub summary: QualitySummary,
    /// The number of days from the report to the last known trading day; `None` if the calendar is not read yet.
    pub calendar_days_left: Option<i64>,
}

/// A problem of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeIssue {
    /// The code.
    pub code: String,
    /// `missing`, `skipped`, `warned`, `failed` or `late`.
    pub what: String,
    /// The broken rule; empty if no rule applies.
    pub rule: String,
    /// The number of rows; for a late task the delay in seconds; for a failed task 1.
    pub number: u64,
    /// The reason of a failure, or the first findings of a rule: day, field and value. Empty otherwise.
    pub detail: String,
}

/// A stored [`CodeIssue`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredIssue {
    /// End of the reported period, Shanghai wall clock.
    pub at: NaiveDateTime,
    /// The worker.
    pub node_id: String,
    /// The problem.
    pub issue: CodeIssue,
}

impl QualityReport {
    /// A report with a new unique id.
    pub fn new(
        node_id: &str,
        job: Option<JobKey>,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
        summary: QualitySummary,
    ) -> Self {
        let (id, node_id) = (random_uuid().to_string(), node_id.to_owned());
        Self { id, node_id, job, since, until, summary, calendar_days_left: None }
    }

    /// The report with the number of days to the end of the trading calendar.
    pub fn with_calendar(self, days_left: Option<i64>) -> Self {
        Self { calendar_days_left: days_left, ..self }
    }

    /// What a reader must know about the expected rows; empty while the calendar is known for long enough.
    fn calendar_note(&self) -> String {
        match self.calendar_days_left {
            Some(days) if days < 0 => "; the trading calendar has ended: rows are expected on every weekday".to_owned(),
            Some(days) if days <= CALENDAR_NOTICE_DAYS => {
                format!("; the trading calendar ends in {}", counted(days.unsigned_abs(), "day"))
            }
            _ => String::new(),
        }
    }

    /// `job` or `interval`.
    pub fn kind(&self) -> &'static str {
        if self.job.is_some() { "job" } else { "interval" }
    }

    /// The executed commands, such as `bar_snapshot`.
    pub fn task_type(&self) -> String {
        match &self.job {
            Some(job) => job.command.to_owned(),
            None => self.summary.task_type(),
        }
    }

    /// Fetched rows that were valid.
    pub fn num_actual(&self) -> u64 {
        let counts = &self.summary.counts;
        counts.fetched.saturating_sub(counts.num_skipped())
    }

    /// Share of successful tasks, 0 to 1; 1 if no task ended.
    pub fn success_rate(&self) -> f64 {
        let tasks = self.summary.num_done + self.summary.num_failed;
        if tasks == 0 { 1.0 } else { self.summary.num_done as f64 / tasks as f64 }
    }

    /// Length of the reported period.
    pub fn duration(&self) -> Duration {
        (self.until - self.since).to_std().unwrap_or_default()
    }

    /// The problems of single codes, at most `MAX_ISSUES`.
    pub fn issues(&self) -> Vec<CodeIssue> {
        let summary = &self.summary;
        let failed = summary.failed.iter().map(|(subject, reason)| issue(subject, "failed", "", 1, reason));
        let rules = |what, by_rule: &BTreeMap<Rule, Affected>| {
            let of_rule = |(rule, affected): (&Rule, &Affected)| {
                let finding = |subject: &Subject| summary.findings_of(subject, *rule);
                let issues = affected
                    .iter()
                    .map(move |(subject, number)| issue(subject, what, rule.as_str(), number, &finding(subject)));
                issues.collect::<Vec<_>>()
            };
            by_rule.iter().flat_map(of_rule).collect::<Vec<_>>()
        };
        failed
            .chain(rows("missing", "", &summary.incomplete))
            .chain(rules("skipped", &summary.skipped))
            .chain(rules("warned", &summary.warned))
            .chain(rows("late", "", &summary.late))
            .take(MAX_ISSUES)
            .collect()
    }

    /// The notification to people: the spec's DataQualityReport with additional figures.
    pub fn to_notification(&self, max_shown: usize) -> Notification {
        let summary = &self.summary;
        let counts = &summary.counts;
        let skipped = counts.num_skipped();
        let is_well = summary.num_failed == 0 && summary.num_refused == 0 && skipped == 0;
        let what = self.job.as_ref().map(|job| format!("job {job} finished: ")).unwrap_or_default();
        let replayed = match summary.num_replayed {
            0 => String::new(),
            number => format!("; {} replayed from dead letters", counted(number, "command")),
        };
        let not_offered = match counts.not_offered {
            0 => String::new(),
            number => format!("; {} for securities that no configured source offers", counted(number, "task")),
        };
        let content = format!(
            "{what}{} done, {} failed, {} refused; {} fetched, {} written, {} unchanged, {} skipped; \
             {} expected, {} missing{not_offered}{replayed}{}",
            counted(summary.num_done, "task"),
            summary.num_failed,
            counted(summary.num_refused, "command"),
            counted(counts.fetched, "row"),
            counts.written,
            counts.unchanged,
            skipped,
            counts.expected,
            counts.missing,
            self.calendar_note()
        );
        Notification {
            kind: "data_quality_report",
            level: if is_well { Level::Info } else { Level::Warning },
            title: if self.job.is_some() {
                "数据任务完成报告".to_owned()
            } else {
                "数据质量报告".to_owned()
            },
            content,
            fields: vec![
                ("node_id", self.node_id.clone()),
                ("task_type", self.task_type()),
                ("records_expected", counts.expected.to_string()),
                ("records_missing", counts.missing.to_string()),
                ("records_actual", self.num_actual().to_string()),
                ("records_written", counts.written.to_string()),
                ("records_skipped", skipped.to_string()),
                ("records_failed", summary.num_failed.to_string()),
                ("success_rate", format!("{:.4}", self.success_rate())),
            ],
            data: self.body(max_shown),
        }
    }

    /// The body of the notification. Codes and examples are limited to `max_shown` each.
    pub fn body(&self, max_shown: usize) -> Value {
        let summary = &self.summary;
        let counts = &summary.counts;
        let failed: Vec<String> = summary.failed.keys().take(max_shown).map(Subject::to_string).collect();
        let examples: Vec<Value> = summary.shown_examples(max_shown).into_iter().map(anomaly_json).collect();
        let sources: BTreeMap<&str, Value> = summary.sources.iter().map(source_json).collect();
        let mut data = json!({
            "report_id": self.id,
            "report_kind": self.kind(),
            "job": self.job.as_ref().map(|job| json!({"id": job.to_string(), "command": job.command, "sender": job.sender})),
            "timestamp": self.until.to_rfc3339_opts(SecondsFormat::Micros, true),
            "task_type": self.task_type(),
            // Based on the trading calendar; lists and factors have no expected number of rows.
            "records_expected": counts.expected,
            "records_missing": counts.missing,
            "calendar_days_left": self.calendar_days_left,
            "records_fetched": counts.fetched,
            "records_actual": self.num_actual(),
            "records_written": counts.written,
            "records_unchanged": counts.unchanged,
            "records_replaced": counts.replaced,
            "records_compared": counts.compared,
            "records_not_compared": counts.not_compared,
            "success_rate": self.success_rate(),
            "records_failed": summary.num_failed,
            "records_skipped": counts.num_skipped(),
            "skipped_by_rule": by_rule(&counts.skipped),
            "warned_by_rule": by_rule(&counts.warned),
            "tasks_done": summary.num_done,
            "tasks_failed": summary.num_failed,
            "tasks_not_offered": counts.not_offered,
            "not_offered_codes": summary.not_offered.names(max_shown),
            "commands_refused": summary.num_refused,
            "commands_replayed": summary.num_replayed,
            "sources": sources,
            "failed_codes": failed,
            "failed_codes_total": summary.failed.len(),
            "anomalies": examples,
            "invalid_codes": summary.invalid.names(max_shown),
            "invalid_codes_total": summary.invalid.total(),
            "incomplete_codes": summary.incomplete.names(max_shown),
            "incomplete_codes_total": summary.incomplete.total(),
            "late_codes": summary.late.names(max_shown),
            "late_codes_total": summary.late.total(),
            "delay_seconds_mean": seconds(summary.delays.mean()),
            "delay_seconds_p50": seconds(summary.delays.percentile(50)),
            "delay_seconds_p95": seconds(summary.delays.percentile(95)),
            "delay_seconds_max": seconds(summary.delays.longest()),
            "duration_seconds": self.duration().as_secs_f64(),
        });
        // The macro has no room for more fields.
        if let Some(fields) = data.as_object_mut() {
            let ids: Vec<&str> = summary.trace_ids.iter().map(AsRef::as_ref).collect();
            fields.insert("trace_ids".to_owned(), ids.into());
        }
        data
    }
}

fn issue(subject: &Subject, what: &str, rule: &str, number: u64, detail: &str) -> CodeIssue {
    let (what, rule, detail) = (what.to_owned(), rule.to_owned(), detail.to_owned());
    CodeIssue { code: subject.to_string(), what, rule, number, detail }
}

fn rows(what: &'static str, rule: &'static str, affected: &Affected) -> Vec<CodeIssue> {
    affected.iter().map(|(subject, number)| issue(subject, what, rule, number, "")).collect()
}

/// A duration in seconds; `null` if there is none.
fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}

fn by_rule(counts: &BTreeMap<Rule, u64>) -> Value {
    counts.iter().map(|(rule, count)| (rule.as_str().to_owned(), json!(count))).collect()
}

fn source_json<'a>((name, figures): (&'a str, &crate::domain::SourceFigures)) -> (&'a str, Value) {
    let json = json!({
        "rows": figures.rows,
        "calls": figures.calls,
        "failures": figures.failures,
        "call_seconds_mean": figures.mean().as_secs_f64(),
        "call_seconds_max": figures.longest.as_secs_f64(),
    });
    (name, json)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    use crate::domain::{Code, TaskCounts, TaskReport};
    use crate::settings::QualitySettings;

    fn code(n: u32) -> Code {
        format!("{n:06}.SZ").parse().unwrap()
    }

    fn spoiled(code: Code) -> TaskReport {
        let mut counts = TaskCounts { expected: 11, missing: 1, fetched: 10, written: 9, ..TaskCounts::default() };
        counts.skipped.insert(Rule::PriceNotPositive, 1);
        let value = "-1".to_owned();
        let anomaly = Anomaly { code, timestamp: None, field: "open", value, rule: Rule::PriceNotPositive };
        TaskReport { counts, anomalies: vec![anomaly], backfill: None }
    }

    fn report(summary: QualitySummary) -> QualityReport {
        let now = Utc::now();
        let job = JobKey { id: None, command: "bar_snapshot", sender: "task_timer".into() };
        QualityReport::new("h1", Some(job), now - chrono::Duration::seconds(60), now, summary)
    }

    #[test]
    fn report_sums_tasks_and_bounds_examples() {
        let quality = QualitySettings::default();
        let mut summary = QualitySummary::default();
        assert!(summary.is_empty());
        for n in 0..3 {
            summary.add_finished(Subject::Code(code(n)), &spoiled(code(n)), Some(Duration::from_secs(2)), &quality);
        }
        summary.add_failed(Subject::Code(code(9)), "no answer");
        summary.sources.called("tushare", false, Duration::from_secs(1));
        summary.sources.rows_came(30);
        let notification = report(summary.clone()).to_notification(2);
        assert_eq!(notification.level, Level::Warning);
        let data = &notification.data;
        assert_eq!((&data["records_expected"], &data["records_missing"]), (&json!(33), &json!(3)));
        let incomplete = (&data["incomplete_codes"], &data["incomplete_codes_total"]);
        assert_eq!(incomplete, (&json!(["000000.SZ", "000001.SZ"]), &json!(3)));
        assert_eq!((&data["delay_seconds_p50"], &data["delay_seconds_max"]), (&json!(2.0), &json!(2.0)));
        assert_eq!((&data["records_actual"], &data["records_skipped"]), (&json!(27), &json!(3)));
        assert_eq!(data["skipped_by_rule"]["price_not_positive"], 3);
        assert_eq!(data["success_rate"], 0.75);
        let example =
            json!({"code": "000000.SZ", "date": null, "field": "open", "value": "-1", "reason": "price_not_positive"});
        assert_eq!((data["anomalies"].as_array().unwrap().len(), &data["anomalies"][0]), (2, &example));
        assert_eq!((&data["failed_codes"], &data["duration_seconds"]), (&json!(["000009.SZ"]), &json!(60.0)));
        assert_eq!(
            (&data["sources"]["tushare"]["rows"], &data["sources"]["tushare"]["calls"]),
            (&json!(30), &json!(1))
        );
        assert_eq!((&data["report_kind"], &data["job"]["id"]), (&json!("job"), &json!("task_timer bar_snapshot")));
        let whats: Vec<_> = report(summary).issues().into_iter().map(|t| (t.code, t.what)).collect();
        assert!(whats.contains(&("000009.SZ".into(), "failed".into())) && whats.len() == 1 + 3 + 3, "{whats:?}");
    }

    #[test]
    fn a_report_tells_of_a_calendar_that_ends() {
        let message = |days_left| report(QualitySummary::default()).with_calendar(days_left).to_notification(20);
        for (days_left, text) in [(45, "; the trading calendar ends in 45 days"), (-1, "expected on every weekday")] {
            let message = message(Some(days_left));
            assert!(message.content.ends_with(text), "{}", message.content);
            assert_eq!(message.data["calendar_days_left"], json!(days_left));
        }
        assert!(message(Some(46)).content.ends_with("0 missing") && message(None).content.ends_with("0 missing"));
        assert_eq!(message(None).data["calendar_days_left"], Value::Null);
    }

    #[test]
    fn whole_market_report_is_fast_and_below_64_kib() {
        let quality = QualitySettings::default();
        let mut summary = QualitySummary::default();
        for n in 0..5_500 {
            let report = if n % 100 == 0 { spoiled(code(n)) } else { TaskReport::default() };
            summary.add_finished(Subject::Code(code(n)), &report, Some(Duration::from_millis(n.into())), &quality);
        }
        let report = report(summary);
        let begun = Instant::now();
        let message = report.to_notification(quality.max_examples).to_json("h1", Utc::now());
        let issues = report.issues();
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert!(message.len() < 64 * 1024, "{} bytes", message.len());
        assert_eq!(issues.len(), 2 * 55);
    }
}
