// Upstream: actor, message_kinds_tests, score_tests
// Downstream: alert_draft, alert_state, domain, settings
// Role: Compares the figures of an interval with their limits and builds the alerts.

use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::{Affected, Level, Notification, QualitySummary};
use crate::quality_monitor::alert_draft::AlertDraft;
use crate::quality_monitor::alert_state::AlertTransition;
use crate::settings::{QualitySettings, ms};

/// A figure and its limits.
struct Judged {
    alert_type: &'static str,
    title: &'static str,
    unit: &'static str,
    value: f64,
    /// The limits for a warning and for an error.
    limits: [f64; 2],
    expected: Value,
    actual: Value,
    names: Vec<String>,
    num_affected: u64,
    task_type: String,
}

/// The alerts on the figures of an interval of one kind of data. Each kind has its own: complete factors say nothing about
/// bars that are missing. A figure that is based on too few rows changes no alert.
pub fn threshold_alerts(summary: &QualitySummary, quality: &QualitySettings) -> Vec<AlertDraft> {
    let (limits, task_type) = (&quality.alerts, summary.task_type());
    let counts = summary.counts();
    let names = |affected: &Affected| affected.names(quality.max_examples);
    let mut judged = Vec::new();
    if counts.expected >= limits.min_rows.max(1) {
        judged.push(Judged {
            alert_type: "data_missing",
            title: "数据缺失",
            unit: "% of the expected rows are missing",
            value: percent(counts.missing, counts.expected),
            limits: [limits.missing_warning_percent, limits.missing_error_percent],
            expected: json!(counts.expected),
            actual: json!(counts.expected.saturating_sub(counts.missing)),
            names: names(&summary.incomplete),
            num_affected: summary.incomplete.total(),
            task_type: task_type.clone(),
        });
    }
    if let Some(delay) = summary.usual_delay() {
        let seconds = [limits.delay_warning_ms, limits.delay_error_ms].map(|limit| ms(limit).as_secs_f64());
        judged.push(Judged {
            alert_type: "data_delayed",
            title: "数据延迟",
            unit: " s until the rows are readable",
            value: delay.as_secs_f64(),
            limits: seconds,
            expected: json!(seconds),
            actual: json!(delay.as_secs_f64()),
            names: names(&summary.late),
            num_affected: summary.late.total(),
            task_type: task_type.clone(),
        });
    }
    if counts.fetched >= limits.min_rows.max(1) {
        let skipped = counts.num_skipped();
        judged.push(Judged {
            alert_type: "validation_error",
            title: "数据校验异常",
            unit: "% of the fetched rows are invalid and were skipped",
            value: percent(skipped, counts.fetched),
            limits: [limits.invalid_warning_percent, limits.invalid_error_percent],
            expected: json!(counts.fetched),
            actual: json!(counts.fetched.saturating_sub(skipped)),
            names: names(&summary.invalid),
            num_affected: summary.invalid.total(),
            task_type,
        });
    }
    judged.into_iter().map(|judged| judged.draft(ms(limits.cool_down_ms))).collect()
}

impl Judged {
    fn level(&self) -> Option<Level> {
        let [warning, error] = self.limits;
        match self.value {
            value if value > error => Some(Level::Error),
            value if value > warning => Some(Level::Warning),
            _ => None,
        }
    }

    fn draft(self, cool_down: Duration) -> AlertDraft {
        let level = self.level();
        let name = format!("{}:{}", self.alert_type, self.task_type);
        let words = move |transition| self.words(level.unwrap_or(Level::Info), transition);
        AlertDraft::new(name, level, Some(cool_down), words)
    }

    fn words(&self, level: Level, word: AlertTransition) -> Notification {
        let resolved = word == AlertTransition::Resolved;
        let [warning, error] = self.limits;
        let threshold = if level == Level::Error { error } else { warning };
        let title = if resolved { format!("{}已恢复", self.title) } else { self.title.to_owned() };
        let value = format!("{:.2}", self.value);
        Notification {
            kind: "data_collection_alert",
            level,
            title,
            content: format!("{value}{}, the limit is {threshold} ({})", self.unit, word.as_str()),
            fields: vec![
                ("alert_type", self.alert_type.to_owned()),
                ("task_type", self.task_type.clone()),
                ("state", word.as_str().to_owned()),
                ("value", value),
                ("affected", self.num_affected.to_string()),
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
                "affected_codes": self.names,
                "affected_codes_total": self.num_affected,
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
    use crate::quality_monitor::alert_draft::LoneAlerts;
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
        let (mut alerts, quality) = (LoneAlerts::default(), QualitySettings::default());
        let judge = |(number, interval): (usize, &Interval)| {
            let summary = summary(interval, &quality);
            let messages = alerts.tell(threshold_alerts(&summary, &quality), 300 * number as u64);
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
        let (mut alerts, quality) = (LoneAlerts::default(), QualitySettings::default());
        let mut judge = |command: &'static str, missing| {
            let mut summary = summary(&Interval { missing, ..GOOD }, &quality);
            summary.commands.insert(command);
            let states = alerts.tell(threshold_alerts(&summary, &quality), 0);
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
        let (mut alerts, quality) = (LoneAlerts::default(), QualitySettings::default());
        let summary = summary(&Interval { missing: 300, ..GOOD }, &quality);
        let messages = alerts.tell(threshold_alerts(&summary, &quality), 0);
        let data = &messages[0].data;
        assert_eq!(data["affected_codes"].as_array().unwrap().len(), 20);
        assert_eq!(
            (&data["affected_codes_total"], &data["expected"], &data["actual"]),
            (&json!(300), &json!(1_000), &json!(700))
        );
        assert_eq!((&data["value"], &data["threshold"]), (&json!(30.0), &json!(20.0)));
    }
}
