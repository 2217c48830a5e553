// Upstream: actor
// Downstream: alert_draft, alert_state, domain
// Role: The alert on a trading calendar that ends soon or has ended.

use serde_json::json;

use crate::domain::calendar::CALENDAR_NOTICE_DAYS;
use crate::domain::{Level, Notification, counted};
use crate::quality_monitor::alert_draft::AlertDraft;
use crate::quality_monitor::alert_state::AlertTransition;

/// The level at the last look at the state of the alert. The condition lasts for weeks, so it is not repeated.
#[derive(Debug, Default)]
pub struct CalendarAlert(Option<Option<Level>>);

impl CalendarAlert {
    /// The alert, given the days to the end of the calendar. `None` while nothing is new, or the calendar is not read yet.
    pub fn judge(&mut self, days_left: Option<i64>) -> Option<AlertDraft> {
        let days_left = days_left?;
        let level = level(days_left);
        if self.0.replace(level) == Some(level) {
            return None;
        }
        let words = move |transition| alert(days_left, level.unwrap_or(Level::Info), transition);
        Some(AlertDraft::new("calendar_ends", level, None, words))
    }
}

/// After the end, rows are expected on holidays, too. That is an error.
fn level(days_left: i64) -> Option<Level> {
    match days_left {
        ..0 => Some(Level::Error),
        0..=CALENDAR_NOTICE_DAYS => Some(Level::Warning),
        _ => None,
    }
}

fn alert(days_left: i64, level: Level, transition: AlertTransition) -> Notification {
    let state = transition.as_str();
    let resolved = transition == AlertTransition::Resolved;
    let days = counted(days_left.unsigned_abs(), "day");
    let content = match days_left {
        _ if resolved => format!("the trading calendar is known for the next {days}"),
        ..0 => format!(
            "the trading calendar ended {days} ago; every weekday counts as a trading day, also holidays; send `trade_day`"
        ),
        _ => format!(
            "the trading calendar ends in {days}; send `trade_day` when the exchanges have announced the next year"
        ),
    };
    Notification {
        kind: "data_collection_alert",
        level,
        title: if resolved { "交易日历已更新" } else { "交易日历即将到期" }.to_owned(),
        content: content.clone(),
        fields: vec![
            ("alert_type", "calendar_ends".to_owned()),
            ("state", state.to_owned()),
            ("days_left", days_left.to_string()),
        ],
        data: json!({
            "alert_type": "calendar_ends",
            "state": state,
            "resolved": resolved,
            "value": days_left,
            "threshold": CALENDAR_NOTICE_DAYS,
            "reason": content,
            "affected_codes": [],
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quality_monitor::alert_draft::LoneAlerts;

    #[test]
    fn is_raised_once_escalated_at_the_end_and_resolved() {
        let (mut alert, mut alerts) = (CalendarAlert::default(), LoneAlerts::default());
        let mut at = |days_left| {
            let sent = alerts.tell(alert.judge(days_left), 0).pop();
            sent.map(|sent| format!("{:?} {} {}", sent.level, sent.data["state"], sent.content).replace('"', ""))
        };
        assert_eq!(at(None), None, "not read yet");
        assert_eq!(at(Some(46)), None);
        assert!(
            at(Some(45)).unwrap().starts_with("Warning raised the trading calendar ends in 45 days; send `trade_day`")
        );
        assert_eq!((at(Some(44)), at(None), at(Some(0))), (None, None, None), "once");
        assert!(at(Some(-1)).unwrap().starts_with("Error escalated the trading calendar ended 1 day ago"));
        assert_eq!(at(Some(-2)), None);
        assert_eq!(at(Some(363)).unwrap(), "Info resolved the trading calendar is known for the next 363 days");
        assert_eq!(at(Some(362)), None);
    }
}
