// Upstream: actor, message_kinds_tests
// Downstream: alert_state, domain, settings, supervision
// Role: The alert on sources that refuse the account: raised once for each, resolved when it accepts the account.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::domain::{Level, Notification};
use crate::quality_monitor::alert_state::{AlertState, AlertTransition};
use crate::settings::{AlertSettings, ms};
use crate::supervision::RefusedSource;

/// The states of the alert, by source, and the begin of the last refusals.
#[derive(Debug, Default)]
pub struct RefusedSourceAlerts(BTreeMap<&'static str, (AlertState, Instant)>);

impl RefusedSourceAlerts {
    /// The alerts to send, given the sources that refuse the account now.
    pub fn judge(&mut self, refused: &[RefusedSource], limits: &AlertSettings, now: Instant) -> Vec<Notification> {
        let cool_down = ms(limits.cool_down_ms);
        let mut messages = Vec::new();
        for source in refused {
            let (state, since) = self.0.entry(source.name).or_insert_with(|| (AlertState::default(), source.since));
            *since = source.since;
            messages.extend(state.judge(Some(Level::Error), now, cool_down).map(|state| alert(source, state)));
        }
        for (name, (state, since)) in &mut self.0 {
            if refused.iter().all(|source| source.name != *name) {
                let lasted = now.saturating_duration_since(*since).as_secs_f64();
                messages.extend(state.judge(None, now, cool_down).map(|_| recovery(name, lasted)));
            }
        }
        messages
    }
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

fn recovery(name: &str, lasted: f64) -> Notification {
    let content =
        format!("source {name} accepts the account again, or is not configured any more, after {lasted:.1} s");
    let data = json!({ "outage_seconds": lasted });
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
    use std::time::Duration;

    #[test]
    fn is_raised_once_for_each_source_and_resolved() {
        let (mut alerts, limits, begin) = (RefusedSourceAlerts::default(), AlertSettings::default(), Instant::now());
        let refused = |name| RefusedSource { name, reason: "login refused: 40101".to_owned(), since: begin };
        let mut at = |seconds, refused: &[RefusedSource]| -> Vec<String> {
            let sent = alerts.judge(refused, &limits, begin + Duration::from_secs(seconds));
            let brief = |sent: Notification| format!("{:?} {} {}", sent.level, sent.data["source"], sent.data["state"]);
            sent.into_iter().map(|sent| brief(sent).replace('"', "")).collect()
        };
        assert!(at(0, &[]).is_empty());
        assert_eq!(at(1, &[refused("tushare")]), ["Error tushare raised"]);
        assert!(at(2, &[refused("tushare")]).is_empty());
        assert_eq!(at(3, &[refused("baostock"), refused("tushare")]), ["Error baostock raised"]);
        assert_eq!(at(4, &[refused("baostock")]), ["Info tushare resolved"]);
        assert_eq!(at(5, &[]), ["Info baostock resolved"]);
        assert!(at(6, &[]).is_empty());
    }
}
