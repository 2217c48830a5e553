// Upstream: actor, message_kinds_tests
// Downstream: alert_state, domain, settings
// Role: The alert on a worker that fails its health check: without its share of the partitions, stalled or silent.

use std::time::Duration;
use tokio::time::Instant;

use serde_json::json;

use crate::domain::{Level, Notification};
use crate::quality_monitor::alert_state::{AlertState, AlertTransition};
use crate::settings::{AlertSettings, ms};

/// The state of the alert.
#[derive(Debug, Default)]
pub struct HealthAlert {
    state: AlertState,
    since: Option<Instant>,
}

impl HealthAlert {
    /// The alert to send, given the reason why the worker is unhealthy, if it is.
    pub fn judge(&mut self, reason: Option<&str>, limits: &AlertSettings, now: Instant) -> Option<Notification> {
        let level = reason.map(|_| Level::Error);
        if level.is_some() {
            self.since.get_or_insert(now);
        }
        let transition = self.state.judge(level, now, ms(limits.cool_down_ms))?;
        let lasted = self.since.map(|since| now.saturating_duration_since(since)).unwrap_or_default();
        match reason {
            Some(reason) => Some(alert(reason, transition)),
            None => {
                self.since = None;
                Some(recovery(lasted))
            }
        }
    }
}

fn alert(reason: &str, transition: AlertTransition) -> Notification {
    Notification {
        kind: "data_collection_alert",
        level: Level::Error,
        title: "数据采集 Worker 异常".to_owned(),
        content: format!("the worker does not work as it should ({}): {reason}", transition.as_str()),
        fields: vec![("alert_type", "worker_error".to_owned()), ("state", transition.as_str().to_owned())],
        data: json!({
            "alert_type": "worker_error",
            "state": transition.as_str(),
            "resolved": false,
            "reason": reason,
            "affected_codes": [],
        }),
    }
}

fn recovery(lasted: Duration) -> Notification {
    let state = AlertTransition::Resolved.as_str();
    Notification {
        kind: "data_collection_alert",
        level: Level::Info,
        title: "数据采集 Worker 已恢复正常".to_owned(),
        content: format!("the worker works again after {} s", lasted.as_secs()),
        fields: vec![("alert_type", "worker_error".to_owned()), ("state", state.to_owned())],
        data: json!({
            "alert_type": "worker_error",
            "state": state,
            "resolved": true,
            "outage_seconds": lasted.as_secs_f64(),
            "affected_codes": [],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_raised_once_and_resolved_with_its_duration() {
        let (mut health, limits, begin) = (HealthAlert::default(), AlertSettings::default(), Instant::now());
        let mut at = |seconds, reason| {
            let sent = health.judge(reason, &limits, begin + Duration::from_secs(seconds));
            sent.map(|sent: Notification| sent.data["state"].as_str().unwrap().to_owned() + " " + &sent.content)
        };
        assert_eq!(at(0, None), None);
        let raised = at(1, Some("not a member")).unwrap();
        assert!(raised.starts_with("raised ") && raised.ends_with(": not a member"), "{raised}");
        assert_eq!(at(2, Some("not a member")), None);
        assert_eq!(at(8, None).unwrap(), "resolved the worker works again after 7 s");
        assert_eq!(at(9, None), None);
    }
}
