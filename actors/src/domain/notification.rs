// Upstream: domain, notifications, quality_monitor, quality_report
// Downstream: none
// Role: A notification to people, in one JSON form for both the spec's reader and Ginkgo's NotificationWorker.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

/// The severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Informational.
    Info,
    /// Needs attention during the day.
    Warning,
    /// Needs attention now.
    Error,
}

impl Level {
    /// The level name that Ginkgo's NotificationWorker knows. It would show `WARNING` in the colour of INFO.
    fn ginkgo_word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARN",
            Self::Error => "ERROR",
        }
    }

    /// The severity name in the spec's messages.
    fn spec_word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// A message to the topic `ginkgo.notifications`.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// The spec's message type, such as `data_worker_event`, `data_quality_report` or `data_collection_alert`.
    pub kind: &'static str,
    /// The severity.
    pub level: Level,
    /// One line; in Chinese like Ginkgo's own titles.
    pub title: String,
    /// The message text. It must not be empty: the NotificationWorker rejects an empty one.
    pub content: String,
    /// Name and value pairs, shown side by side. The list must not be empty, for the same reason.
    pub fields: Vec<(&'static str, String)>,
    /// The message body that the spec defines.
    pub data: Value,
}

impl Notification {
    /// The message as JSON. It contains the spec's fields `type`, `timestamp`, `source`, `severity` and `data`, and the
    /// fields that Ginkgo's NotificationWorker needs to deliver a `custom_fields` message to the group System.
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
    fn message_fits_spec_and_notification_worker() {
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
