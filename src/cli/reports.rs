// Upstream: cli::dlq, main, quality
// Downstream: adapters::kafka, cli, config, days, fold
// Role: Implements `data-worker reports`, which prints quality reports and alerts from the notification topic.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, FixedOffset, NaiveTime, TimeDelta, Utc};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::Value;

use super::days::day;
use super::fold::print_folded;
use crate::adapters::kafka::admin_client::{AdminClient, AdminClientError, Record};
use crate::config::KafkaSection;

/// Poll interval for further messages.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Offset of Shanghai time, which the exchanges and Ginkgo use: UTC+8, without daylight saving time.
const SHANGHAI_SECONDS: i32 = 8 * 3_600;

/// Severity of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Severity {
    /// For information.
    Info,
    /// An operator should look at it within the day.
    Warning,
    /// An operator should look at it now.
    Error,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
        }
    }
}

/// Options of `data-worker reports`.
#[derive(Debug, Args)]
pub struct ReportsOptions {
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Prints new messages until Ctrl-C.
    #[arg(long)]
    follow: bool,
    /// Only messages since `30m`, `12h` or `7d` before now, or since a calendar day in Shanghai such as 2024-01-31.
    #[arg(long, value_parser = since)]
    since: Option<DateTime<Utc>>,
    /// Minimum severity of the messages.
    #[arg(long, value_enum, default_value = "info")]
    severity: Severity,
    /// Only reports of this job, as `send` and `dlq replay` name it.
    #[arg(long)]
    job: Option<String>,
    /// Prints the original JSON messages, one per line.
    #[arg(long)]
    json: bool,
}

/// The fields of a message that are shown.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    timestamp: DateTime<Utc>,
    source: String,
    severity: Severity,
    content: String,
    #[serde(default)]
    data: Value,
}

impl Message {
    fn is_of_job(&self, id: &str) -> bool {
        self.data.pointer("/job/id").and_then(Value::as_str) == Some(id)
    }
}

/// Parses a time: a span before now, or a calendar day in Shanghai.
pub(super) fn since(text: &str) -> Result<DateTime<Utc>, String> {
    let wrong = || format!("`{text}` is not a valid time; use a form such as 30m, 12h, 7d or 2024-01-31");
    if let Ok(day) = day(text) {
        let midnight = day.and_time(NaiveTime::MIN) - TimeDelta::seconds(SHANGHAI_SECONDS.into());
        return Ok(midnight.and_utc());
    }
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: i64 = number.parse().ok().filter(|number| *number >= 0).ok_or_else(wrong)?;
    let span = match unit {
        "m" => TimeDelta::try_minutes(number),
        "h" => TimeDelta::try_hours(number),
        "d" => TimeDelta::try_days(number),
        _ => None,
    };
    span.and_then(|span| Utc::now().checked_sub_signed(span)).ok_or_else(wrong)
}

impl ReportsOptions {
    /// Prints the messages, oldest first. Exit code 1 if the topic cannot be read.
    pub fn run(self) -> ExitCode {
        let loaded = match super::load(self.config.as_deref()) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        self.show(&loaded.settings.kafka).unwrap_or_else(|error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        })
    }

    fn show(&self, kafka: &KafkaSection) -> Result<ExitCode, AdminClientError> {
        let admin = AdminClient::new(kafka)?;
        let mut mark = admin.oldest(&kafka.notification_topic)?;
        loop {
            let records = admin.next(&mut mark)?;
            let text = self.text(&records);
            let reported = if self.json { super::print(&text) } else { print_folded(&text) };
            if reported != ExitCode::SUCCESS || (records.is_empty() && !self.follow) {
                return Ok(reported);
            }
            if records.is_empty() {
                std::thread::sleep(POLL_INTERVAL);
            }
        }
    }

    /// Formats the selected reports and alerts, oldest first. Skips all other messages of the topic.
    fn text(&self, records: &[Record]) -> String {
        let read = |record: &Record| {
            let message: Message = serde_json::from_slice(&record.payload).ok()?;
            let is_wanted = matches!(message.kind.as_str(), "data_quality_report" | "data_collection_alert")
                && message.severity >= self.severity
                && self.since.is_none_or(|since| message.timestamp >= since)
                && self.job.as_ref().is_none_or(|job| message.is_of_job(job));
            let line =
                if self.json { String::from_utf8_lossy(&record.payload).into_owned() } else { message.to_string() };
            is_wanted.then_some((message.timestamp, line))
        };
        let mut lines: Vec<(DateTime<Utc>, String)> = records.iter().filter_map(read).collect();
        lines.sort();
        lines.into_iter().map(|(_, line)| line + "\n").collect()
    }
}

impl std::fmt::Display for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = FixedOffset::east_opt(SHANGHAI_SECONDS).map_or_else(
            || self.timestamp.naive_utc(),
            |shanghai| self.timestamp.with_timezone(&shanghai).naive_local(),
        );
        let kind = if self.kind == "data_quality_report" { "report" } else { "alert" };
        let (time, word) = (time.format("%Y-%m-%d %H:%M:%S+08:00"), self.severity.word());
        // One line per message: the content may contain control characters.
        let content: String = self.content.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        write!(f, "{time}  {word:<7}  {kind:<6}  {:<20}  {content}", self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::kafka::admin_client::Position;

    #[test]
    fn a_time_is_a_span_or_a_day_in_shanghai() {
        assert_eq!(since("2024-01-31").unwrap().to_rfc3339(), "2024-01-30T16:00:00+00:00");
        assert_eq!(since("20240131"), since("2024-01-31"));
        let hours = (Utc::now() - since("12h").unwrap()).num_minutes();
        assert!((719..=721).contains(&hours), "{hours}");
        for text in ["", "h", "12", "-3d", "9999999999999999d", "soon", "中"] {
            assert!(since(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_shown_oldest_first() {
        let position = || Position { topic: "t".to_owned(), partition: 0, offset: 0 };
        let record = |kind: &str, second: u32, severity: &str| {
            Record {
            position: position(),
            headers: Default::default(),
            payload: format!(
                r#"{{"type":"{kind}","timestamp":"2024-01-31T12:00:{second:02}Z","source":"n1","severity":"{severity}","content":"c\n{second}","data":{{"job":{{"id":"{second}"}}}}}}"#
            )
            .into_bytes(),
        }
        };
        let records = [
            record("data_quality_report", 9, "INFO"),
            record("data_collection_alert", 3, "WARNING"),
            record("data_worker_event", 4, "ERROR"),
            Record { position: position(), headers: Default::default(), payload: b"no JSON".to_vec() },
            record("data_collection_alert", 1, "ERROR"),
        ];
        let options =
            |severity| ReportsOptions { config: None, follow: false, since: None, severity, job: None, json: false };
        let text = options(Severity::Warning).text(&records);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].starts_with("2024-01-31 20:00:01+08:00  ERROR    alert   n1") && lines[0].ends_with("c 1"),
            "{text}"
        );
        assert!(lines[1].contains("20:00:03+08:00  WARNING"), "{text}");
        assert_eq!(options(Severity::Info).text(&records).lines().count(), 3);
        let of_job = |id: &str| ReportsOptions { job: Some(id.to_owned()), ..options(Severity::Info) }.text(&records);
        assert_eq!((of_job("3").lines().count(), of_job("4").as_str()), (1, ""));
    }
}
