// Upstream: actor, message_kinds_tests, score_tests
// Downstream: alert_state, domain, settings
// Role: Compares the figures of an interval with their limits and builds the alerts.

use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

use serde_json::{Value, json};

use crate::domain::{Affected, Level, Notification, QualitySummary};
use crate::quality_monitor::alert_state::{AlertState, AlertTransition};
use crate::settings::{QualitySettings, ms};

/// The alerts on the figures of an interval. Each kind of data has its own: complete factors say nothing about bars
/// that are missing.
#[derive(Debug, Default)]
pub struct QualityAlerts {
    /// By task type; there are as many as commands.
    kinds: BTreeMap<String, KindAlerts>,
}

/// The alerts on one kind of data.
#[derive(Debug, Default)]
struct KindAlerts {
    missing: AlertState,
    delayed: AlertState,
    invalid: AlertState,
}

/// A figure and its limits.
struct Judged<'a> {
    alert_type: &'static str,
    title: &'static str,
    unit: &'static str,
    value: f64,
    /// The limits for a warning and for an error.
    limits: [f64; 2],
    expected: Value,
    actual: Value,
    affected: &'a Affected,
    max_shown: usize,
    task_type: &'a str,
}

impl QualityAlerts {
    /// The alerts to send after an interval of one kind of data. A figure that is based on too few rows changes no
    /// alert.
    pub fn judge(&mut self, summary: &QualitySummary, quality: &QualitySettings, now: Instant) -> Vec<Notification> {
        let (limits, max_shown, task_type) = (&quality.alerts, quality.max_examples, summary.task_type());
        let counts = summary.counts();
        let alerts = self.kinds.entry(task_type.clone()).or_default();
        let cool_down = ms(limits.cool_down_ms);
        let mut messages = Vec::new();
        if counts.expected >= limits.min_rows.max(1) {
            let missing = Judged {
                alert_type: "data_missing",
                title: "数据缺失",
                unit: "% of the expected rows are missing",
                value: percent(counts.missing, counts.expected),
                limits: [limits.missing_warning_percent, limits.missing_error_percent],
                expected: json!(counts.expected),
                actual: json!(counts.expected.saturating_sub(counts.missing)),
                affected: &summary.incomplete,
                max_shown,
                task_type: &task_type,
            };
            messages.extend(missing.tell(&mut alerts.missing, now, cool_down));
        }
        if let Some(delay) = summary.usual_delay() {
            let seconds = [limits.delay_warning_ms, limits.delay_error_ms].map(|limit| ms(limit).as_secs_f64());
            let delayed = Judged {
                alert_type: "data_delayed",
                title: "数据延迟",
                unit: " s until the rows are readable",
                value: delay.as_secs_f64(),
                limits: seconds,
                expected: json!(seconds),
                actual: json!(delay.as_secs_f64()),
                affected: &summary.late,
                max_shown,
                task_type: &task_type,
            };
            messages.extend(delayed.tell(&mut alerts.delayed, now, cool_down));
        }
        if counts.fetched >= limits.min_rows.max(1) {
            let skipped = counts.num_skipped();
            let invalid = Judged {
                alert_type: "validation_error",
                title: "数据校验异常",
                unit: "% of the fetched rows are invalid and were skipped",
                value: percent(skipped, counts.fetched),
                limits: [limits.invalid_warning_percent, limits.invalid_error_percent],
                expected: json!(counts.fetched),
                actual: json!(counts.fetched.saturating_sub(skipped)),
                affected: &summary.invalid,
                max_shown,
                task_type: &task_type,
            };
            messages.extend(invalid.tell(&mut alerts.invalid, now, cool_down));
        }
        messages
    }
}

impl Judged<'_> {
    fn level(&self) -> Option<Level> {
        let [warning, error] = self.limits;
        match self.value {
            value if value > error => Some(Level::Error),
            value if value > warning => Some(Level::Warning),
            _ => None,
        }
    }

    fn tell(&self, state: &mut AlertState, now: Instant, cool_down: Duration) -> Option<Notification> {
        let level = self.level();
        state.judge(level, now, cool_down).map(|word| self.words(level.unwrap_or(Level::Info), word))
    }

    fn words(&self, level: Level, word: AlertTransition) -> Notification {
        let resolved = word == AlertTransition::Resolved;
        let [warning, error] = self.limits;
        let threshold = if level == Level::Error { error } else { warning };
        let names = self.affected.names(self.max_shown);
        let title = if resolved { format!("{}已恢复", self.title) } else { self.title.to_owned() };
        let value = format!("{:.2}", self.value);
        Notification {
            kind: "data_collection_alert",
            level,
            title,
            content: format!("{value}{}, the limit is {threshold} ({})", self.unit, word.as_str()),
            fields: vec![
                ("alert_type", self.alert_type.to_owned()),
                ("task_type", self.task_type.to_owned()),
                ("state", word.as_str().to_owned()),
                ("value", value),
                ("affected", self.affected.total().to_string()),
            ],
            data: json!({
                "alert_type": self.alert_type,
                "task_type": self.task_type,
                "state": word.as_str(),
                "resolved": resolved,
                "value": self.value,
                "expected": self.expected,
                "actual": self.actual,
                "threshold": threshold,
                "affected_codes": names,
                "affected_codes_total": self.affected.total(),
            }),
        }
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Code, Rule, Subject, TaskCounts, TaskReport};
    use crate::settings::QualitySettings;

    /// An interval with tasks of one expected row each.
    struct Interval {
        tasks: u64,
        missing: u64,
        skipped: u64,
        delay_seconds: u64,
    }

    const GOOD: Interval = Interval { tasks: 1_000, missing: 0, skipped: 0, delay_seconds: 1 };

    fn messages(intervals: &[Interval]) -> Vec<Vec<String>> {
        let (mut alerts, quality) = (QualityAlerts::default(), QualitySettings::default());
        let begin = Instant::now();
        let judge = |(number, interval): (usize, &Interval)| {
            let summary = summary(interval, &quality);
            let now = begin + Duration::from_secs(300 * number as u64);
            let messages = alerts.judge(&summary, &quality, now);
            let short = |alert: &Notification| format!("{} {}", alert.data["alert_type"], alert.data["state"]);
            messages.iter().map(|alert| format!("{:?} {}", alert.level, short(alert).replace('"', ""))).collect()
        };
        intervals.iter().enumerate().map(judge).collect()
    }

    fn summary(interval: &Interval, quality: &QualitySettings) -> QualitySummary {
        let mut summary = QualitySummary::default();
        for number in 0..interval.tasks {
            let code: Code = format!("{:06}.SZ", number).parse().unwrap();
            let missing = u64::from(number < interval.missing);
            let mut counts = TaskCounts { expected: 1, missing, fetched: 1 - missing, ..TaskCounts::default() };
            if number >= interval.tasks - interval.skipped {
                counts.skipped.insert(Rule::PriceNotPositive, 1);
            }
            let report = TaskReport { counts, ..TaskReport::default() };
            let delay = Some(Duration::from_secs(interval.delay_seconds));
            summary.add_finished(Subject::Code(code), &report, delay, quality);
        }
        summary
    }

    #[test]
    fn one_kind_of_data_resolves_no_alert_of_another() {
        let (mut alerts, quality, now) = (QualityAlerts::default(), QualitySettings::default(), Instant::now());
        let mut judge = |command: &'static str, missing| {
            let mut summary = summary(&Interval { missing, ..GOOD }, &quality);
            summary.commands.insert(command);
            let states = alerts.judge(&summary, &quality, now);
            states
                .iter()
                .map(|alert| format!("{} {}", alert.data["task_type"], alert.data["state"]))
                .collect::<Vec<_>>()
        };
        assert_eq!(judge("bar_snapshot", 167), [r#""bar_snapshot" "raised""#]);
        assert_eq!(judge("adjustfactor", 0), [""; 0], "bars are still missing");
        assert_eq!(judge("bar_snapshot", 0), [r#""bar_snapshot" "resolved""#]);
    }

    #[test]
    fn missing_rows_warn_above_5_and_err_above_20_percent() {
        let with = |missing| Interval { missing, ..GOOD };
        let course = [with(50), with(51), with(200), with(201), with(300), with(0), with(0)];
        let words: [&[&str]; 7] = [
            &[],
            &["Warning data_missing raised"],
            &[],
            &["Error data_missing escalated"],
            &[],
            &["Info data_missing resolved"],
            &[],
        ];
        assert_eq!(messages(&course), words);
    }

    #[test]
    fn delays_warn_above_5_and_err_above_10_minutes() {
        let with = |delay_seconds| Interval { delay_seconds, ..GOOD };
        let course = [with(300), with(301), with(601), with(5)];
        let words: [&[&str]; 4] =
            [&[], &["Warning data_delayed raised"], &["Error data_delayed escalated"], &["Info data_delayed resolved"]];
        assert_eq!(messages(&course), words);
    }

    #[test]
    fn invalid_rows_have_their_own_limits() {
        let with = |skipped| Interval { skipped, ..GOOD };
        let words: [&[&str]; 3] = [&[], &["Warning validation_error raised"], &["Error validation_error escalated"]];
        assert_eq!(messages(&[with(1), with(2), with(51)]), words);
    }

    #[test]
    fn a_few_rows_raise_nothing_and_resolve_nothing() {
        let lone = Interval { tasks: 1, missing: 1, ..GOOD };
        let bad = Interval { missing: 500, ..GOOD };
        let fine = Interval { tasks: 1, ..GOOD };
        let words: [&[&str]; 3] = [&[], &["Error data_missing raised"], &[]];
        assert_eq!(messages(&[lone, bad, fine]), words);
    }

    #[test]
    fn lists_bounded_codes_with_total() {
        let (mut alerts, quality) = (QualityAlerts::default(), QualitySettings::default());
        let summary = summary(&Interval { missing: 300, ..GOOD }, &quality);
        let messages = alerts.judge(&summary, &quality, Instant::now());
        let data = &messages[0].data;
        assert_eq!(data["affected_codes"].as_array().unwrap().len(), 20);
        assert_eq!(
            (&data["affected_codes_total"], &data["expected"], &data["actual"]),
            (&json!(300), &json!(1_000), &json!(700))
        );
        assert_eq!((&data["value"], &data["threshold"]), (&json!(30.0), &json!(20.0)));
    }
}
