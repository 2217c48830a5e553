// Upstream: domain, notifications, quality_monitor, quality_report
// Downstream: none
// Role: A message for people, in the one JSON form that both the spec's reader and Ginkgo's NotificationWorker take.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// How serious it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the record.
    Info,
    /// Somebody should look at it during the day.
    Warning,
    /// Somebody should look at it now.
    Error,
}

impl Level {
    /// The word Ginkgo's NotificationWorker knows (`WARNING` would fall to the colour of INFO).
    fn ginkgo_word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// The word of the spec's messages.
    fn spec_word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// One message to the topic `ginkgo.notifications`.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// The spec's message type, such as `data_worker_event`, `data_quality_report` or `data_collection_alert`.
    pub kind: &'static str,
    /// How serious it is.
    pub level: Level,
    /// One line; in Chinese as Ginkgo's own.
    pub title: String,
    /// The message in words; not empty, or the NotificationWorker refuses it.
    pub content: String,
    /// Name and value pairs, shown one beside the other; not empty, for the same reason.
    pub fields: Vec<(&'static str, String)>,
    /// The spec's body.
    pub data: Value,
}

impl Notification {
    /// The message as JSON: the spec's `type`, `timestamp`, `source`, `severity`, `data`, and beside them what Ginkgo's
    /// NotificationWorker needs to deliver a `custom_fields` message to the group System.
    pub fn to_json(&self, node_id: &str, now: DateTime<Utc>) -> String {
        let fields: Vec<Value> = self
            .fields
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value, "inline": value.chars().count() <= 40}))
            .collect();
        json!({
            "type": self.kind,
            "timestamp": now.to_rfc3339_opts(SecondsFormat::Micros, true),
            "source": node_id,
            "severity": self.level.spec_word(),
            "data": self.data,
            "message_type": "custom_fields",
            "group_name": "System",
            "module": "DataWorker",
            "level": self.level.ginkgo_word(),
            "title": self.title,
            "content": self.content,
            "fields": fields,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_serves_the_spec_and_the_notification_worker() {
        let notification = Notification {
            kind: "data_worker_event",
            level: Level::Warning,
            title: "数据采集 Worker 已停止".into(),
            content: "DataWorker `h1` stopped".into(),
            fields: vec![("node_id", "h1".into())],
            data: json!({"event": "STOPPED"}),
        };
        let value: Value = serde_json::from_str(&notification.to_json("h1", Utc::now())).unwrap();
        assert_eq!(value["message_type"], "custom_fields");
        assert_eq!(value["level"], "WARN");
        assert_eq!(value["severity"], "WARNING");
        assert_eq!(value["group_name"], "System");
        assert_eq!(value["fields"][0], json!({"name": "node_id", "value": "h1", "inline": true}));
        assert_eq!(value["data"]["event"], "STOPPED");
    }
}
