// Upstream: domain, notifications, quality_monitor, quality_report
// Downstream: none
// Role: A notification to people, in one JSON form for both the spec's reader and Ginkgo's NotificationWorker.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Discord's documented limits of an embed, in characters, and of its fields. A message beyond one of them is refused
/// as a whole, and so is an empty text.
const MAX_TITLE: usize = 256;
const MAX_CONTENT: usize = 4_096;
const MAX_FIELDS: usize = 25;
const MAX_FIELD_NAME: usize = 256;
const MAX_FIELD_VALUE: usize = 1_024;
const MAX_TOTAL: usize = 6_000;

/// Characters of the total left for what NotificationWorker adds, such as the module and the time.
const RESERVED: usize = 200;

/// Characters of the total that the fields leave to the content.
const MIN_CONTENT: usize = 1_000;

/// Shown in place of an empty text.
const NOTHING: &str = "-";

/// The severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Informational.
    Info,
    /// Needs attention during the day.
    Warning,
    /// Needs attention now.
    Error,
}

impl Level {
    /// The name in messages, as `severity` of the spec and as `level` of Ginkgo. Ginkgo's API shows the levels `info`,
    /// `success`, `warning` and `error` in its web page, and its NotificationWorker delivers any level; it has a colour
    /// of its own for `WARN`, which the web page does not know.
    fn word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }

    /// The sign before the title, as in Ginkgo's own titles: it shows the level where the colour does not.
    fn sign(self) -> &'static str {
        match self {
            Self::Info => "",
            Self::Warning => "⚠️ ",
            Self::Error => "❌ ",
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
        let Shown { title, content, fields } = self.shown();
        let fields: Vec<Value> = fields
            .into_iter()
            .map(|(name, value)| json!({"name": name, "value": value, "inline": value.chars().count() <= 40}))
            .collect();
        json!({
            "type": self.kind,
            "timestamp": now.to_rfc3339_opts(SecondsFormat::Micros, true),
            "source": node_id,
            "severity": self.level.word(),
            "data": self.data,
            "message_type": "custom_fields",
            "group_name": "System",
            "module": "DataWorker",
            "level": self.level.word(),
            "title": title,
            "content": content,
            "fields": fields,
        })
        .to_string()
    }

    /// What people see of the message: no text is empty, and all of them keep Discord's limits. Where something has to
    /// go, it is the end of long texts; `data` has everything.
    fn shown(&self) -> Shown {
        let title = fit(&format!("{}{}", self.level.sign(), self.title), MAX_TITLE);
        let (mut left, own) = (MAX_TOTAL - RESERVED - length(&title), length(&self.content).min(MAX_CONTENT));
        let reserved = own.min(MIN_CONTENT);
        let mut fields = Vec::new();
        for (name, value) in self.fields.iter().take(MAX_FIELDS) {
            let (name, value) = (fit(name, MAX_FIELD_NAME), fit(value, MAX_FIELD_VALUE));
            let needed = length(&name) + length(&value);
            if needed + reserved <= left {
                left -= needed;
                fields.push((name, value));
            }
        }
        Shown { title, content: fit(&self.content, left.min(MAX_CONTENT)), fields }
    }
}

/// The texts of a message after their limits.
struct Shown {
    title: String,
    content: String,
    fields: Vec<(String, String)>,
}

/// The length of a text as Discord's clients count it, in UTF-16 units: never less than in characters.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The text without blanks around it, cut to a length; [`NOTHING`] if it is empty.
fn fit(text: &str, max: usize) -> String {
    let text = text.trim();
    if text.is_empty() {
        return NOTHING.to_owned();
    }
    if length(text) <= max {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut room = max.saturating_sub(1);
    for character in text.chars() {
        let Some(rest) = room.checked_sub(character.len_utf16()) else { break };
        room = rest;
        cut.push(character);
    }
    format!("{}…", cut.trim_end())
}

/// Asserts Discord's documented limits on a message.
#[cfg(test)]
pub(crate) fn assert_fits_discord(message: &str) {
    let message: Value = serde_json::from_str(message).unwrap();
    let mut total = 0;
    let mut check = |text: &Value, max: usize| {
        let text = text.as_str().unwrap();
        assert!(!text.trim().is_empty(), "an empty text in {message}");
        assert!(text.encode_utf16().count() <= max, "a text is too long in {message}");
        total += text.encode_utf16().count();
    };
    check(&message["title"], 256);
    check(&message["content"], 4_096);
    let fields = message["fields"].as_array().unwrap();
    for field in fields {
        check(&field["name"], 256);
        check(&field["value"], 1_024);
    }
    assert!(fields.len() <= 25 && total <= 6_000, "{} fields, {total} characters in {message}", fields.len());
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
        // Ginkgo's web page shows the level in lower case, and knows `warning` alone.
        assert_eq!((&value["level"], &value["severity"]), (&json!("WARNING"), &json!("WARNING")));
        assert_eq!(value["title"], "⚠️ 数据采集 Worker 已停止");
        assert_eq!(value["group_name"], "System");
        assert_eq!(value["fields"][0], json!({"name": "node_id", "value": "h1", "inline": true}));
        assert_eq!(value["data"]["event"], "STOPPED");
    }

    #[test]
    fn texts_are_cut_to_the_limits_and_never_empty() {
        for (number, text) in [(0, ""), (1, " \n"), (30, "数😀"), (25, "x")] {
            for repeat in [0, 1, 255, 1_025, 4_097, 20_000] {
                let text = text.repeat(repeat);
                let notification = Notification {
                    kind: "data_worker_event",
                    level: Level::Info,
                    title: text.clone(),
                    content: text.clone(),
                    fields: vec![("name", text); number],
                    data: json!({}),
                };
                assert_fits_discord(&notification.to_json("n1", Utc::now()));
            }
        }
        let long = Notification {
            kind: "data_worker_event",
            level: Level::Info,
            title: "t".to_owned(),
            content: "c".repeat(5_000),
            fields: vec![("first", "1".to_owned()), ("second", "v".repeat(2_000)), ("third", "3".to_owned())],
            data: json!({}),
        };
        let message: Value = serde_json::from_str(&long.to_json("n1", Utc::now())).unwrap();
        assert_eq!(message["fields"].as_array().unwrap().len(), 3);
        assert!(message["content"].as_str().unwrap().len() > 4_000, "no more is cut than needed");
    }
}
