// Upstream: actor, message_kinds_tests
// Downstream: alert_draft, alert_state, domain, ports, settings
// Role: Alerts on operational failures: failed fetches, rejected commands, replaced topics.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::domain::{Level, Notification, Subject, counted};
use crate::ports::{SourceError, SourceErrorKind};
use crate::quality_monitor::alert_draft::AlertDraft;
use crate::quality_monitor::alert_state::AlertTransition;
use crate::settings::{AlertSettings, ms};

/// The alerts on failed fetches. Each command has its own: fetched factors do not resolve an alert on bars.
#[derive(Debug, Default)]
pub struct SourceAlerts(BTreeMap<&'static str, SourceAlert>);

impl SourceAlerts {
    /// Records a permanently failed fetch of a command.
    pub fn failed(&mut self, command: &'static str, subject: Subject, error: SourceError, max_shown: usize) {
        self.0.entry(command).or_default().failed(command, subject, error, max_shown);
    }

    /// Records a successful task of a command.
    pub fn succeeded(&mut self, command: &'static str) {
        self.0.entry(command).or_default().succeeded(command);
    }

    /// Forgets the refused logins of a source that has an alert of its own.
    pub fn forget_refusals(&mut self, source: &str) {
        self.0.values_mut().for_each(|alert| alert.forget_refusals(source));
    }

    /// The alerts on the failures since the start of the interval that are due.
    pub fn judge(&self, limits: &AlertSettings) -> Vec<AlertDraft> {
        self.0.values().filter_map(|alert| alert.judge(limits)).collect()
    }

    /// Ends the interval.
    pub fn end_interval(&mut self, limits: &AlertSettings) -> Vec<AlertDraft> {
        self.0.values_mut().filter_map(|alert| alert.end_interval(limits)).collect()
    }
}

/// Fetches of one command in the current interval that failed permanently, and their alert.
#[derive(Debug, Default)]
pub struct SourceAlert {
    num_failed: u64,
    num_done: u64,
    /// How many of the failures are refused logins, by source.
    refusals: BTreeMap<&'static str, u64>,
    subjects: BTreeSet<Subject>,
    /// The command; all failures are of the same one.
    command: &'static str,
    last: Option<SourceError>,
}

impl SourceAlert {
    /// Records a permanently failed fetch of a command.
    pub fn failed(&mut self, command: &'static str, subject: Subject, error: SourceError, max_shown: usize) {
        self.num_failed += 1;
        self.command = command;
        if error.kind.is_refused_login() {
            *self.refusals.entry(error.source_name).or_default() += 1;
        }
        if self.subjects.len() < max_shown {
            self.subjects.insert(subject);
        }
        self.last = Some(error);
    }

    /// Forgets the refused logins of a source that has an alert of its own.
    pub fn forget_refusals(&mut self, source: &str) {
        let Some(refused) = self.refusals.remove(source) else { return };
        self.num_failed -= refused;
        let is_refusal = |last: &SourceError| last.source_name == source && last.kind.is_refused_login();
        if self.num_failed == 0 || self.last.as_ref().is_some_and(is_refusal) {
            self.last = None;
        }
        if self.num_failed == 0 {
            self.subjects.clear();
        }
    }

    /// Records a successful task of a command.
    pub fn succeeded(&mut self, command: &'static str) {
        self.num_done += 1;
        self.command = command;
    }

    /// The alert on the failures since the start of the interval, if there are any.
    pub fn judge(&self, limits: &AlertSettings) -> Option<AlertDraft> {
        let (level, error) = (self.level(limits)?, self.last.clone()?);
        let shown: Vec<String> = self.subjects.iter().map(Subject::to_string).collect();
        let (command, num_failed, num_done) = (self.command, self.num_failed, self.num_done);
        let threshold = limits.source_error_percent;
        let fetches = if num_failed == 1 { "1 fetch".to_owned() } else { format!("{num_failed} fetches") };
        let words = move |transition: AlertTransition| Notification {
            kind: "data_collection_alert",
            level,
            title: "数据源采集失败".to_owned(),
            content: format!("{fetches} failed ({}), last error: {error}", transition.as_str()),
            fields: vec![
                ("alert_type", "source_error".to_owned()),
                ("task_type", command.to_owned()),
                ("state", transition.as_str().to_owned()),
                ("source", error.source_name.to_owned()),
                ("failed", num_failed.to_string()),
                ("affected_codes", shown.join(", ")),
            ],
            data: json!({
                "alert_type": "source_error",
                "task_type": command,
                "state": transition.as_str(),
                "resolved": false,
                "expected": num_failed + num_done,
                "actual": num_done,
                "threshold": threshold,
                "affected_codes": shown,
                "affected_codes_total": num_failed,
                "reason": error.to_string(),
            }),
        };
        Some(self.draft(Some(level), limits, words))
    }

    /// Ends the interval. The alert is over if tasks succeeded and none failed. Without any task nothing is known.
    pub fn end_interval(&mut self, limits: &AlertSettings) -> Option<AlertDraft> {
        let draft = match (self.num_failed, self.num_done) {
            (0, 0) => None,
            (0, _) => {
                let recovery = recovery_of_source(self.command);
                Some(self.draft(None, limits, move |_| recovery.clone()))
            }
            _ => self.judge(limits),
        };
        (self.num_failed, self.num_done, self.last) = (0, 0, None);
        self.subjects.clear();
        self.refusals.clear();
        draft
    }

    fn draft(
        &self,
        level: Option<Level>,
        limits: &AlertSettings,
        words: impl Fn(AlertTransition) -> Notification + Send + Sync + 'static,
    ) -> AlertDraft {
        AlertDraft::new(format!("source_error:{}", self.command), level, Some(ms(limits.cool_down_ms)), words)
    }

    /// A single failure is a warning. A failure that only an operator can fix (token, permission) is always an error.
    fn level(&self, limits: &AlertSettings) -> Option<Level> {
        let error = self.last.as_ref()?;
        let needs_operator = matches!(error.kind, SourceErrorKind::Unauthorized(_) | SourceErrorKind::Forbidden(_));
        let percent = 100.0 * self.num_failed as f64 / (self.num_failed + self.num_done).max(1) as f64;
        let is_error = needs_operator || (self.num_failed > 1 && percent > limits.source_error_percent);
        Some(if is_error { Level::Error } else { Level::Warning })
    }
}

fn recovery_of_source(command: &str) -> Notification {
    let state = AlertTransition::Resolved.as_str();
    Notification {
        kind: "data_collection_alert",
        level: Level::Info,
        title: "数据源已恢复".to_owned(),
        content: format!("all fetches of {command} in the last interval succeeded"),
        fields: vec![
            ("alert_type", "source_error".to_owned()),
            ("task_type", command.to_owned()),
            ("state", state.to_owned()),
        ],
        data: json!({
            "alert_type": "source_error",
            "task_type": command,
            "state": state,
            "resolved": true,
            "affected_codes": [],
        }),
    }
}

/// The alert on all commands rejected since the last alert. The dead letters of `num_unrecorded` of them are not
/// recorded yet: the offsets of their partitions stand still.
pub fn refusal_alert(num_refused: u64, num_unrecorded: u64, reason: &str) -> Notification {
    let commands = |number: u64| counted(number, "command");
    let refused = commands(num_refused);
    let content = match num_unrecorded {
        0 => format!("{refused} rejected and recorded as dead letters, last reason: {reason}"),
        number => format!(
            "{refused} rejected, last reason: {reason}; {} not recorded as dead letters yet, which holds the offset of the \
             partition",
            commands(number)
        ),
    };
    Notification {
        kind: "data_collection_alert",
        level: Level::Error,
        title: "数据命令被拒绝".to_owned(),
        content,
        fields: vec![("alert_type", "command_error".to_owned()), ("refused", num_refused.to_string())],
        data: json!({
            "alert_type": "command_error",
            "refused": num_refused,
            "unrecorded": num_unrecorded,
            "reason": reason,
            "affected_codes": [],
        }),
    }
}

/// The alert on a command topic that is not the one that was read. It has no end: what is lost stays lost.
pub fn log_alert(reason: &str) -> Notification {
    Notification {
        kind: "data_collection_alert",
        level: Level::Error,
        title: "数据命令 Topic 已重建".to_owned(),
        content: format!("a command topic is not the one that was read: {reason}"),
        fields: vec![("alert_type", "command_log".to_owned())],
        data: json!({ "alert_type": "command_log", "reason": reason, "affected_codes": [] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality_monitor::alert_draft::LoneAlerts;

    fn error(kind: SourceErrorKind) -> SourceError {
        SourceError { source_name: "tushare", request: "r".to_owned(), kind }
    }

    fn server() -> SourceError {
        error(SourceErrorKind::Server("500".to_owned()))
    }

    fn brief(alerts: &mut LoneAlerts, draft: Option<AlertDraft>, second: u64) -> String {
        let messages = alerts.tell(draft, second);
        let text = |alert: &Notification| format!("{:?} {}", alert.level, alert.data["state"]).replace('"', "");
        messages.iter().map(text).collect()
    }

    #[test]
    fn source_alert_is_raised_escalated_and_resolved_once() {
        let (mut trouble, limits, mut alerts) =
            (SourceAlert::default(), AlertSettings::default(), LoneAlerts::default());
        (0..50).for_each(|_| trouble.succeeded("bar_snapshot"));
        trouble.failed("bar_snapshot", Subject::Calendar, server(), 20);
        assert_eq!(brief(&mut alerts, trouble.judge(&limits), 0), "Warning raised");
        trouble.failed("bar_snapshot", Subject::StockList, server(), 20);
        assert_eq!(brief(&mut alerts, trouble.judge(&limits), 0), "", "already reported");
        (0..20).for_each(|_| trouble.failed("bar_snapshot", Subject::Calendar, server(), 20));
        assert_eq!(brief(&mut alerts, trouble.judge(&limits), 0), "Error escalated");
        assert_eq!(brief(&mut alerts, trouble.end_interval(&limits), 0), "");
        assert_eq!(
            brief(&mut alerts, trouble.end_interval(&limits), 0),
            "",
            "an interval without tasks changes nothing"
        );
        trouble.succeeded("bar_snapshot");
        assert_eq!(brief(&mut alerts, trouble.end_interval(&limits), 0), "Info resolved");
        trouble.succeeded("bar_snapshot");
        assert_eq!(brief(&mut alerts, trouble.end_interval(&limits), 0), "");
    }

    #[test]
    fn fetched_factors_resolve_no_alert_on_bars() {
        let (mut sources, limits, mut alerts) =
            (SourceAlerts::default(), AlertSettings::default(), LoneAlerts::default());
        let mut interval = |failed: &[&'static str], done: &[&'static str]| {
            failed.iter().for_each(|command| sources.failed(command, Subject::Calendar, server(), 20));
            done.iter().for_each(|command| sources.succeeded(command));
            let ended = alerts.tell(sources.end_interval(&limits), 0);
            ended.iter().map(|alert| format!("{} {}", alert.data["task_type"], alert.data["state"])).collect::<Vec<_>>()
        };
        assert_eq!(interval(&["bar_snapshot"], &[]), [r#""bar_snapshot" "raised""#]);
        assert_eq!(interval(&[], &["adjustfactor"]), [""; 0]);
        assert_eq!(interval(&[], &["adjustfactor", "bar_snapshot"]), [r#""bar_snapshot" "resolved""#]);
    }

    #[test]
    fn a_refused_command_is_a_dead_letter_when_it_is_recorded() {
        let text = |unrecorded| refusal_alert(3, unrecorded, "r").content;
        assert_eq!(text(0), "3 commands rejected and recorded as dead letters, last reason: r");
        assert!(text(1).contains("1 command not recorded as dead letters yet"), "{}", text(1));
    }

    #[test]
    fn flapping_source_resolves_after_cool_down() {
        let (mut trouble, limits, mut alerts) =
            (SourceAlert::default(), AlertSettings::default(), LoneAlerts::default());
        let mut messages = Vec::new();
        for minute in 0..4 {
            trouble.failed("bar_snapshot", Subject::Calendar, server(), 20);
            messages.push(brief(&mut alerts, trouble.end_interval(&limits), 60 * minute));
            trouble.succeeded("bar_snapshot");
            messages.push(brief(&mut alerts, trouble.end_interval(&limits), 60 * minute));
        }
        let often =
            ["Warning raised", "Info resolved", "Warning raised", "Info resolved", "Warning raised", "", "", ""];
        assert_eq!(messages, often);
        let mut end = |second| {
            trouble.succeeded("bar_snapshot");
            brief(&mut alerts, trouble.end_interval(&limits), second)
        };
        assert_eq!(end(600), "", "within the cool-down");
        let later = limits.cool_down_ms / 1_000 + 300;
        assert_eq!((end(later).as_str(), end(later).as_str()), ("Info resolved", ""));
    }

    #[test]
    fn a_refused_token_is_an_error_at_once() {
        let (mut trouble, limits, mut alerts) =
            (SourceAlert::default(), AlertSettings::default(), LoneAlerts::default());
        (0..50).for_each(|_| trouble.succeeded("bar_snapshot"));
        trouble.failed("bar_snapshot", Subject::Calendar, error(SourceErrorKind::Unauthorized("no".to_owned())), 20);
        assert_eq!(brief(&mut alerts, trouble.judge(&limits), 0), "Error raised");
    }

    #[test]
    fn refusals_with_their_own_alert_raise_no_second_one() {
        let (mut trouble, limits, mut alerts) =
            (SourceAlert::default(), AlertSettings::default(), LoneAlerts::default());
        let refused = || error(SourceErrorKind::Unauthorized("no".to_owned()));
        (0..3).for_each(|_| trouble.failed("bar_snapshot", Subject::Calendar, refused(), 20));
        trouble.forget_refusals("tushare");
        assert_eq!(brief(&mut alerts, trouble.judge(&limits), 0), "");
        trouble.failed("bar_snapshot", Subject::Calendar, refused(), 20);
        trouble.failed("bar_snapshot", Subject::Calendar, server(), 20);
        trouble.forget_refusals("tushare");
        let alert = alerts.tell(trouble.judge(&limits), 0).remove(0);
        assert!(alert.content.starts_with("1 fetch failed"), "{}", alert.content);
    }
}
