// Upstream: actor, message_kinds_tests
// Downstream: alert_draft, alert_state, domain, health_alert, settings, supervision
// Role: The alert on sources that refuse the account: raised once for each, resolved when it accepts the account.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::domain::{Level, Notification};
use crate::quality_monitor::alert_draft::AlertDraft;
use crate::quality_monitor::alert_state::AlertTransition;
use crate::quality_monitor::health_alert::LOOK_INTERVAL;
use crate::settings::{AlertSettings, ms};
use crate::supervision::RefusedSource;

/// The sources that refuse the account of this worker: the begin of the refusals, and the last look at the state of the
/// alert.
#[derive(Debug, Default)]
pub struct RefusedSourceAlerts(BTreeMap<&'static str, Refused>);

#[derive(Debug)]
struct Refused {
    since: Instant,
    looked_at: Instant,
}

impl RefusedSourceAlerts {
    /// The alerts on sources that refuse the account now, or have ended to. Nothing while nothing is new.
    pub fn judge(&mut self, refused: &[RefusedSource], limits: &AlertSettings, now: Instant) -> Vec<AlertDraft> {
        let cool_down = Some(ms(limits.cool_down_ms));
        let mut drafts = Vec::new();
        for source in refused {
            let is_known = self.0.get(source.name).is_some_and(|known| {
                known.since == source.since && now.saturating_duration_since(known.looked_at) < LOOK_INTERVAL
            });
            if !is_known {
                self.0.insert(source.name, Refused { since: source.since, looked_at: now });
                let about = source.clone();
                let words = move |transition| alert(&about, transition);
                drafts.push(AlertDraft::new(name_of(source.name), Some(Level::Error), cool_down, words));
            }
        }
        self.0.retain(|name, known| {
            let is_refused = refused.iter().any(|source| source.name == *name);
            if !is_refused {
                let (name, lasted) = (*name, now.saturating_duration_since(known.since).as_secs_f64());
                let words = move |_| recovery(name, Some(lasted));
                drafts.push(AlertDraft::new(name_of(name), None, cool_down, words));
            }
            is_refused
        });
        drafts
    }

    /// The alerts on sources that have answered in an interval: the refusals of another worker, or from before a restart,
    /// are over.
    pub fn answered(&self, names: impl Iterator<Item = &'static str>, limits: &AlertSettings) -> Vec<AlertDraft> {
        let cool_down = Some(ms(limits.cool_down_ms));
        let accepting = names.filter(|name| !self.0.contains_key(name));
        accepting.map(|name| AlertDraft::new(name_of(name), None, cool_down, move |_| recovery(name, None))).collect()
    }
}

fn name_of(source: &str) -> String {
    format!("source_refused:{source}")
}

fn alert(source: &RefusedSource, transition: AlertTransition) -> Notification {
    let RefusedSource { name, reason, .. } = source;
    let content = format!(
        "{reason} ({}). Only an occasional probe is sent. Another source of the same data is asked instead; where there is \
         none, fetches wait and no command is lost. Correct the login of sources.{name} and reload; the worker goes on by \
         itself",
        transition.as_str()
    );
    message(Level::Error, "数据源拒绝登录", content, name, transition, json!({ "reason": reason }))
}

/// The end of refusals, of which only the worker that had them knows the duration.
fn recovery(name: &str, lasted: Option<f64>) -> Notification {
    let after = lasted.map(|lasted| format!(", after {lasted:.1} s")).unwrap_or_default();
    let content = format!("source {name} accepts the account again, or is not configured any more{after}");
    let data = lasted.map_or(json!({}), |lasted| json!({ "outage_seconds": lasted }));
    message(Level::Info, "数据源已接受登录", content, name, AlertTransition::Resolved, data)
}

fn message(
    level: Level,
    title: &str,
    content: String,
    name: &str,
    transition: AlertTransition,
    mut data: Value,
) -> Notification {
    let state = transition.as_str();
    let common = json!({
        "alert_type": "source_refused",
        "source": name,
        "state": state,
        "resolved": transition == AlertTransition::Resolved,
        "affected_codes": [],
    });
    if let (Value::Object(data), Value::Object(common)) = (&mut data, common) {
        data.extend(common);
    }
    Notification {
        kind: "data_collection_alert",
        level,
        title: title.to_owned(),
        content,
        fields: vec![
            ("alert_type", "source_refused".to_owned()),
            ("source", name.to_owned()),
            ("state", state.to_owned()),
        ],
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality_monitor::alert_draft::LoneAlerts;
    use std::time::Duration;

    #[test]
    fn is_raised_once_for_each_source_and_resolved() {
        let (mut sources, limits, begin) = (RefusedSourceAlerts::default(), AlertSettings::default(), Instant::now());
        let mut alerts = LoneAlerts::default();
        let refused = |name| RefusedSource { name, reason: "login refused: 40101".to_owned(), since: begin };
        let brief = |sent: Notification| format!("{:?} {} {}", sent.level, sent.data["source"], sent.data["state"]);
        let mut at = |second, refused: &[RefusedSource]| -> Vec<String> {
            let drafts = sources.judge(refused, &limits, begin + Duration::from_secs(second));
            alerts.tell(drafts, second).into_iter().map(|sent| brief(sent).replace('"', "")).collect()
        };
        assert!(at(0, &[]).is_empty());
        assert_eq!(at(1, &[refused("tushare")]), ["Error tushare raised"]);
        assert!(at(2, &[refused("tushare")]).is_empty());
        assert_eq!(at(3, &[refused("baostock"), refused("tushare")]), ["Error baostock raised"]);
        assert_eq!(at(4, &[refused("baostock")]), ["Info tushare resolved"]);
        assert_eq!(at(5, &[]), ["Info baostock resolved"]);
        assert!(at(6, &[]).is_empty());
    }

    #[test]
    fn an_answer_ends_refusals_from_before_a_restart() {
        let (limits, now, mut alerts) = (AlertSettings::default(), Instant::now(), LoneAlerts::default());
        let refused = RefusedSource { name: "tushare", reason: "r".to_owned(), since: now };
        let mut before = RefusedSourceAlerts::default();
        assert_eq!(alerts.tell(before.judge(&[refused], &limits, now), 0).len(), 1);
        assert_eq!(before.answered(["tushare"].into_iter(), &limits).len(), 0, "an answer from before");
        let after = RefusedSourceAlerts::default();
        let ended = alerts.tell(after.answered(["tushare", "tdx"].into_iter(), &limits), 1);
        assert_eq!(ended.iter().map(|ended| ended.data["source"].as_str().unwrap()).collect::<Vec<_>>(), ["tushare"]);
    }
}
