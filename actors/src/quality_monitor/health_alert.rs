// Upstream: actor, message_kinds_tests, refused_source_alert
// Downstream: alert_draft, alert_state, domain, settings
// Role: The alert on a worker that fails its health check: without its share of the partitions, stalled or silent.

use std::time::Duration;
use tokio::time::Instant;

use serde_json::json;

use crate::domain::{Level, Notification};
use crate::quality_monitor::alert_draft::AlertDraft;
use crate::quality_monitor::alert_state::AlertTransition;
use crate::settings::{AlertSettings, ms};

/// Time between two looks at the state of an alert whose cause lasts.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(60);

/// What was known at the last look at the state of the alert.
#[derive(Debug, Default)]
pub struct HealthAlert {
    since: Option<Instant>,
    /// Whether the worker was unhealthy, and when.
    looked: Option<(bool, Instant)>,
}

impl HealthAlert {
    /// The alert on this worker, given the reason why it is unhealthy, if it is. `None` while nothing is new.
    pub fn judge(
        &mut self,
        node_id: &str,
        reason: Option<&str>,
        limits: &AlertSettings,
        now: Instant,
    ) -> Option<AlertDraft> {
        let is_known = self.looked.is_some_and(|(is_unhealthy, at)| {
            let is_old = is_unhealthy && now.saturating_duration_since(at) >= LOOK_INTERVAL;
            is_unhealthy == reason.is_some() && !is_old
        });
        if is_known {
            return None;
        }
        self.looked = Some((reason.is_some(), now));
        let (name, cool_down) = (format!("worker_error:{node_id}"), Some(ms(limits.cool_down_ms)));
        Some(match reason {
            Some(reason) => {
                self.since.get_or_insert(now);
                let reason = reason.to_owned();
                AlertDraft::new(name, Some(Level::Error), cool_down, move |transition| alert(&reason, transition))
            }
            None => {
                let lasted = self.since.take().map(|since| now.saturating_duration_since(since));
                AlertDraft::new(name, None, cool_down, move |_| recovery(lasted))
            }
        })
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

/// The end of the fault. Its duration is unknown if it began before a restart.
fn recovery(lasted: Option<Duration>) -> Notification {
    let state = AlertTransition::Resolved.as_str();
    let after = lasted.map(|lasted| format!(" after {} s", lasted.as_secs())).unwrap_or_default();
    let mut data = json!({
        "alert_type": "worker_error",
        "state": state,
        "resolved": true,
        "affected_codes": [],
    });
    if let (Some(lasted), Some(data)) = (lasted, data.as_object_mut()) {
        data.insert("outage_seconds".to_owned(), json!(lasted.as_secs_f64()));
    }
    Notification {
        kind: "data_collection_alert",
        level: Level::Info,
        title: "数据采集 Worker 已恢复正常".to_owned(),
        content: format!("the worker works again{after}"),
        fields: vec![("alert_type", "worker_error".to_owned()), ("state", state.to_owned())],
        data,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality_monitor::alert_draft::LoneAlerts;

    #[test]
    fn is_raised_once_and_resolved_with_its_duration() {
        let (mut health, limits, begin) = (HealthAlert::default(), AlertSettings::default(), Instant::now());
        let mut alerts = LoneAlerts::default();
        let mut at = |second, reason| -> Vec<String> {
            let draft = health.judge("n1", reason, &limits, begin + Duration::from_secs(second));
            let sent = alerts.tell(draft, second);
            sent.iter().map(|sent| sent.data["state"].as_str().unwrap().to_owned() + " " + &sent.content).collect()
        };
        let none: Vec<String> = Vec::new();
        assert_eq!(at(0, None), none);
        let raised = at(1, Some("not a member")).remove(0);
        assert!(raised.starts_with("raised ") && raised.ends_with(": not a member"), "{raised}");
        assert_eq!(at(2, Some("not a member")), none);
        assert_eq!(at(8, None), ["resolved the worker works again after 7 s"]);
        assert_eq!(at(9, None), none);
    }

    #[test]
    fn a_cause_that_lasts_is_looked_at_once_a_minute() {
        let (mut health, limits, begin) = (HealthAlert::default(), AlertSettings::default(), Instant::now());
        let mut num_drafts = |reason| {
            let drafts = (0..240)
                .filter_map(|half| health.judge("n1", reason, &limits, begin + Duration::from_millis(500 * half)));
            drafts.count()
        };
        assert_eq!((num_drafts(Some("not a member")), num_drafts(None)), (2, 1));
    }
}
