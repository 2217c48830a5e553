// Upstream: actor, message_kinds_tests
// Downstream: alert_state, domain, messages, ports, settings
// Role: Alerts on operational failures: failed fetches, failed stores and rejected commands.

use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;

use serde_json::json;

use crate::domain::{Level, Notification, Subject, counted};
use crate::ports::{SourceError, SourceErrorKind};
use crate::quality_monitor::alert_state::{AlertState, AlertTransition};
use crate::quality_monitor::{StoreFailing, StoreRecovered};
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
    pub fn judge(&mut self, limits: &AlertSettings, now: Instant) -> Vec<Notification> {
        self.0.values_mut().filter_map(|alert| alert.judge(limits, now)).collect()
    }

    /// Ends the interval.
    pub fn end_interval(&mut self, limits: &AlertSettings, now: Instant) -> Vec<Notification> {
        self.0.values_mut().filter_map(|alert| alert.end_interval(limits, now)).collect()
    }
}

/// Fetches of one command in the current interval that failed permanently, and their alert.
#[derive(Debug, Default)]
pub struct SourceAlert {
    state: AlertState,
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

    /// The alert on the failures since the start of the interval, if one is due.
    pub fn judge(&mut self, limits: &AlertSettings, now: Instant) -> Option<Notification> {
        let (level, error) = (self.level(limits)?, self.last.clone()?);
        let word = self.state.judge(Some(level), now, ms(limits.cool_down_ms))?;
        let shown: Vec<String> = self.subjects.iter().map(Subject::to_string).collect();
        let fetches = if self.num_failed == 1 { "1 fetch".to_owned() } else { format!("{} fetches", self.num_failed) };
        let content = format!("{fetches} failed ({}), last error: {error}", word.as_str());
        Some(Notification {
            kind: "data_collection_alert",
            level,
            title: "数据源采集失败".to_owned(),
            content,
            fields: vec![
                ("alert_type", "source_error".to_owned()),
                ("task_type", self.command.to_owned()),
                ("state", word.as_str().to_owned()),
                ("source", error.source_name.to_owned()),
                ("failed", self.num_failed.to_string()),
                ("affected_codes", shown.join(", ")),
            ],
            data: json!({
                "alert_type": "source_error",
                "task_type": self.command,
                "state": word.as_str(),
                "resolved": false,
                "expected": self.num_failed + self.num_done,
                "actual": self.num_done,
                "threshold": limits.source_error_percent,
                "affected_codes": shown,
                "affected_codes_total": self.num_failed,
                "reason": error.to_string(),
            }),
        })
    }

    /// Ends the interval. The alert is resolved if tasks succeeded and none failed. Without any task, only the delayed
    /// end of a flapping alert is reported.
    pub fn end_interval(&mut self, limits: &AlertSettings, now: Instant) -> Option<Notification> {
        let messages = match (self.num_failed, self.num_done) {
            (0, 0) => self.state.settle(now, ms(limits.cool_down_ms)).map(|_| self.recovery()),
            (0, _) => self.state.judge(None, now, ms(limits.cool_down_ms)).map(|_| self.recovery()),
            _ => self.judge(limits, now),
        };
        (self.num_failed, self.num_done, self.last) = (0, 0, None);
        self.subjects.clear();
        self.refusals.clear();
        messages
    }

    fn recovery(&self) -> Notification {
        let state = AlertTransition::Resolved.as_str();
        Notification {
            kind: "data_collection_alert",
            level: Level::Info,
            title: "数据源已恢复".to_owned(),
            content: format!("all fetches of {} in the last interval succeeded", self.command),
            fields: vec![
                ("alert_type", "source_error".to_owned()),
                ("task_type", self.command.to_owned()),
                ("state", state.to_owned()),
            ],
            data: json!({
                "alert_type": "source_error",
                "task_type": self.command,
                "state": state,
                "resolved": true,
                "affected_codes": [],
            }),
        }
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

/// Alerts on stores that reject writes, by the kind of data they store.
#[derive(Debug, Default)]
pub struct StoreAlerts {
    states: BTreeMap<&'static str, AlertState>,
    /// The end of the last outage of each.
    ended: BTreeMap<&'static str, StoreRecovered>,
}

impl StoreAlerts {
    /// Records a further failed attempt.
    pub fn failing(&mut self, outage: &StoreFailing, limits: &AlertSettings, now: Instant) -> Option<Notification> {
        let StoreFailing { data_name, error, lasting, is_awaited } = outage;
        let (data_name, lasting) = (*data_name, *lasting);
        let is_error = !error.class.is_transient() || lasting >= ms(limits.write_error_ms);
        let level = if is_error { Level::Error } else { Level::Warning };
        let state = self.states.entry(data_name).or_default();
        let word = state.judge(Some(level), now, ms(limits.cool_down_ms))?;
        let seconds = format!("{:.1}", lasting.as_secs_f64());
        let consequence = match is_awaited {
            true if data_name == "lists" => "its command waits; all other commands go on".to_owned(),
            true => format!("all new commands wait until the store of {data_name} works again; no data is lost"),
            false => "its command is a dead letter; all other data is written".to_owned(),
        };
        let content = format!("{error}; for {seconds} s ({}); {consequence}", word.as_str());
        Some(Notification {
            kind: "data_collection_alert",
            level,
            title: "数据写入失败".to_owned(),
            content,
            fields: vec![
                ("alert_type", "write_error".to_owned()),
                ("data", data_name.to_owned()),
                ("state", word.as_str().to_owned()),
                ("class", error.class.to_string()),
                ("outage_seconds", seconds),
            ],
            data: json!({
                "alert_type": "write_error",
                "data": data_name,
                "state": word.as_str(),
                "resolved": false,
                "class": error.class.as_str(),
                "outage_seconds": lasting.as_secs_f64(),
                "reason": error.to_string(),
                "affected_codes": [],
            }),
        })
    }

    /// Records the end of an outage.
    pub fn recovered(
        &mut self,
        recovered: StoreRecovered,
        limits: &AlertSettings,
        now: Instant,
    ) -> Option<Notification> {
        self.ended.insert(recovered.data_name, recovered);
        self.states.get_mut(recovered.data_name)?.judge(None, now, ms(limits.cool_down_ms))?;
        Some(Self::recovery(recovered))
    }

    /// The delayed ends of flapping alerts that are due now.
    pub fn settle(&mut self, limits: &AlertSettings, now: Instant) -> Vec<Notification> {
        let (cool_down, ended) = (ms(limits.cool_down_ms), &self.ended);
        let settle = |(data_name, state): (&&'static str, &mut AlertState)| {
            state.settle(now, cool_down)?;
            ended.get(data_name).copied().map(Self::recovery)
        };
        self.states.iter_mut().filter_map(settle).collect()
    }

    fn recovery(StoreRecovered { data_name, is_write, lasted }: StoreRecovered) -> Notification {
        let works = if is_write { "written" } else { "read" };
        let seconds = format!("{:.1}", lasted.as_secs_f64());
        Notification {
            kind: "data_collection_alert",
            level: Level::Info,
            title: "数据写入已恢复".to_owned(),
            content: format!("{data_name} can be {works} again after {seconds} s"),
            fields: vec![
                ("alert_type", "write_error".to_owned()),
                ("data", data_name.to_owned()),
                ("state", AlertTransition::Resolved.as_str().to_owned()),
                ("outage_seconds", seconds),
            ],
            data: json!({
                "alert_type": "write_error",
                "data": data_name,
                "works": works,
                "state": AlertTransition::Resolved.as_str(),
                "resolved": true,
                "outage_seconds": lasted.as_secs_f64(),
            }),
        }
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
    use std::time::Duration;

    use super::*;
    use crate::ports::{StoreError, StoreErrorClass};

    fn error(kind: SourceErrorKind) -> SourceError {
        SourceError { source_name: "tushare", request: "r".to_owned(), kind }
    }

    fn server() -> SourceError {
        error(SourceErrorKind::Server("500".to_owned()))
    }

    fn brief(messages: Option<Notification>) -> String {
        messages
            .map(|messages| format!("{:?} {}", messages.level, messages.data["state"]).replace('"', ""))
            .unwrap_or_default()
    }

    #[test]
    fn source_alert_is_raised_escalated_and_resolved_once() {
        let (mut trouble, limits, now) = (SourceAlert::default(), AlertSettings::default(), Instant::now());
        (0..50).for_each(|_| trouble.succeeded("bar_snapshot"));
        trouble.failed("bar_snapshot", Subject::Calendar, server(), 20);
        assert_eq!(brief(trouble.judge(&limits, now)), "Warning raised");
        trouble.failed("bar_snapshot", Subject::StockList, server(), 20);
        assert_eq!(brief(trouble.judge(&limits, now)), "", "already reported");
        (0..20).for_each(|_| trouble.failed("bar_snapshot", Subject::Calendar, server(), 20));
        assert_eq!(brief(trouble.judge(&limits, now)), "Error escalated");
        assert_eq!(brief(trouble.end_interval(&limits, now)), "");
        assert_eq!(brief(trouble.end_interval(&limits, now)), "", "an interval without tasks changes nothing");
        trouble.succeeded("bar_snapshot");
        assert_eq!(brief(trouble.end_interval(&limits, now)), "Info resolved");
        trouble.succeeded("bar_snapshot");
        assert_eq!(brief(trouble.end_interval(&limits, now)), "");
    }

    #[test]
    fn fetched_factors_resolve_no_alert_on_bars() {
        let (mut alerts, limits, now) = (SourceAlerts::default(), AlertSettings::default(), Instant::now());
        let mut interval = |failed: &[&'static str], done: &[&'static str]| {
            failed.iter().for_each(|command| alerts.failed(command, Subject::Calendar, server(), 20));
            done.iter().for_each(|command| alerts.succeeded(command));
            let ended = alerts.end_interval(&limits, now);
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
        let (mut trouble, limits, now) = (SourceAlert::default(), AlertSettings::default(), Instant::now());
        let mut messages = Vec::new();
        for minute in 0..4 {
            let at = now + Duration::from_secs(60 * minute);
            trouble.failed("bar_snapshot", Subject::Calendar, server(), 20);
            messages.push(brief(trouble.end_interval(&limits, at)));
            trouble.succeeded("bar_snapshot");
            messages.push(brief(trouble.end_interval(&limits, at)));
        }
        let often =
            ["Warning raised", "Info resolved", "Warning raised", "Info resolved", "Warning raised", "", "", ""];
        assert_eq!(messages, often);
        assert_eq!(brief(trouble.end_interval(&limits, now + Duration::from_secs(600))), "", "within the cool-down");
        let later = now + ms(limits.cool_down_ms) + Duration::from_secs(300);
        assert_eq!(brief(trouble.end_interval(&limits, later)), "Info resolved");
        assert_eq!(brief(trouble.end_interval(&limits, later)), "");
    }

    #[test]
    fn a_refused_token_is_an_error_at_once() {
        let (mut trouble, limits) = (SourceAlert::default(), AlertSettings::default());
        (0..50).for_each(|_| trouble.succeeded("bar_snapshot"));
        trouble.failed("bar_snapshot", Subject::Calendar, error(SourceErrorKind::Unauthorized("no".to_owned())), 20);
        assert_eq!(brief(trouble.judge(&limits, Instant::now())), "Error raised");
    }

    #[test]
    fn refusals_with_their_own_alert_raise_no_second_one() {
        let (mut trouble, limits, now) = (SourceAlert::default(), AlertSettings::default(), Instant::now());
        let refused = || error(SourceErrorKind::Unauthorized("no".to_owned()));
        (0..3).for_each(|_| trouble.failed("bar_snapshot", Subject::Calendar, refused(), 20));
        trouble.forget_refusals("tushare");
        assert_eq!(brief(trouble.judge(&limits, now)), "");
        trouble.failed("bar_snapshot", Subject::Calendar, refused(), 20);
        trouble.failed("bar_snapshot", Subject::Calendar, server(), 20);
        trouble.forget_refusals("tushare");
        let alert = trouble.judge(&limits, now).unwrap();
        assert!(alert.content.starts_with("1 fetch failed"), "{}", alert.content);
    }

    #[test]
    fn store_outage_escalates_and_resolves() {
        let (mut issues, limits, now) = (StoreAlerts::default(), AlertSettings::default(), Instant::now());
        let error = |class| StoreError { store: "s".into(), operation: "o".into(), class, reason: "r".into() };
        let outage = |data_name, error, seconds| StoreFailing {
            data_name,
            error,
            lasting: Duration::from_secs(seconds),
            is_awaited: true,
        };
        let mut failing = |class, seconds| brief(issues.failing(&outage("rows", error(class), seconds), &limits, now));
        assert_eq!(failing(StoreErrorClass::Transient, 2), "Warning raised");
        assert_eq!(failing(StoreErrorClass::Transient, 20), "");
        assert_eq!(failing(StoreErrorClass::Transient, 61), "Error escalated");
        assert_eq!(failing(StoreErrorClass::Transient, 90), "");
        let ended = |data_name| StoreRecovered { data_name, is_write: true, lasted: Duration::from_secs(95) };
        assert_eq!(brief(issues.recovered(ended("rows"), &limits, now)), "Info resolved");
        assert_eq!(brief(issues.recovered(ended("rows"), &limits, now)), "");
        assert_eq!(brief(issues.recovered(ended("lists"), &limits, now)), "");
        let access = error(StoreErrorClass::Access);
        assert_eq!(brief(issues.failing(&outage("lists", access, 0), &limits, now)), "Error raised");
    }
}
