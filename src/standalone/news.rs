// Upstream: demonstration, outcome, standalone
// Downstream: adapters::kafka, adapters::kafka::dead_letters, config, error, sample
// Role: Reads the worker's notifications and dead letters from the broker.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;

use crate::adapters::kafka::client_config::client_config;
use crate::adapters::kafka::dead_letters::headers;
use crate::config::KafkaSection;
use crate::standalone::error::StandaloneError;
use crate::standalone::sample::SENDER;

/// A message that the worker published.
#[derive(Debug, Clone, PartialEq)]
pub enum PublishedMessage {
    /// A notification.
    Notice(Notice),
    /// A command that could not be executed.
    DeadLetter(DeadLetterRecord),
}

/// The fields of a notification that are used here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Notice {
    /// The type of the notification.
    #[serde(rename = "type")]
    pub kind: String,
    /// `INFO`, `WARNING` or `ERROR`.
    pub level: String,
    /// The text.
    pub content: String,
    /// The counts of a quality report.
    #[serde(default)]
    pub data: Counts,
}

/// The job that a quality report is about.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Job {
    /// The sender of its commands.
    pub sender: String,
}

/// The counts of a quality report; all are zero in other notifications.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// The kind of an alert; empty in other notifications.
    pub alert_type: String,
    /// The job of a report on one.
    pub job: Option<Job>,
    /// Tasks that succeeded.
    pub tasks_done: u64,
    /// Tasks that failed permanently.
    pub tasks_failed: u64,
    /// Commands that could not be parsed.
    pub commands_refused: u64,
    /// Number of invalid rows by violated rule.
    pub skipped_by_rule: BTreeMap<String, u64>,
}

/// A dead letter: the reason from its headers, and the command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DeadLetterRecord {
    /// The class of the reason.
    pub class: String,
    /// The number of attempts.
    pub attempts: String,
    /// The reason as text.
    pub reason: String,
    /// The payload of the command, as text.
    pub payload: String,
}

/// Reads the two topics from the first offset.
pub struct MessageReader {
    consumer: StreamConsumer,
    dead_letter_topic: String,
}

impl MessageReader {
    /// Creates the consumer, which connects in the background.
    pub fn open(kafka: &KafkaSection) -> Result<Self, StandaloneError> {
        let open = || -> Result<StreamConsumer, KafkaError> {
            let own = [
                // librdkafka requires a group id; the reader does not join the group and commits nothing.
                ("group.id", "standalone_news"),
                ("enable.auto.commit", "false"),
                ("fetch.wait.max.ms", "100"),
            ];
            let consumer: StreamConsumer = client_config(kafka, "data-worker.news", &own).create()?;
            let mut topics = TopicPartitionList::new();
            for topic in [&kafka.dead_letter_topic, &kafka.notification_topic] {
                topics.add_partition_offset(topic, 0, Offset::Beginning)?;
            }
            consumer.assign(&topics)?;
            Ok(consumer)
        };
        let consumer = open().map_err(StandaloneError::broker("read notifications and dead letters"))?;
        Ok(Self { consumer, dead_letter_topic: kafka.dead_letter_topic.clone() })
    }

    /// Waits for the next message. Cancel-safe: a dropped future loses no message.
    pub async fn next(&self) -> Result<PublishedMessage, StandaloneError> {
        loop {
            let message = self.consumer.recv().await.map_err(StandaloneError::broker("read news"))?;
            if message.topic() == self.dead_letter_topic {
                // The topic also holds records of replays.
                if headers::text(&message, headers::TOPIC).is_none() {
                    continue;
                }
                return Ok(PublishedMessage::DeadLetter(DeadLetterRecord::of(&message)));
            }
            match serde_json::from_slice(message.payload().unwrap_or_default()) {
                Ok(notice) => return Ok(PublishedMessage::Notice(notice)),
                Err(error) => tracing::warn!(%error, topic = message.topic(), "message is not a notification, skipped"),
            }
        }
    }
}

impl DeadLetterRecord {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let mut record = Self { payload: text(message.payload()), ..Self::default() };
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            match header.key {
                headers::CLASS => record.class = text(header.value),
                headers::ATTEMPTS => record.attempts = text(header.value),
                headers::REASON => record.reason = text(header.value),
                _ => {}
            }
        }
        record
    }
}

impl PublishedMessage {
    /// Whether the demonstration itself causes this message: its samples end in 2016, and it sends a message that is cut
    /// off, whose dead letter has this reason.
    pub fn is_intended(&self, reasons: &[String]) -> bool {
        let names_one = |text: &str| reasons.iter().any(|reason| text.contains(reason.as_str()));
        match self {
            Self::DeadLetter(record) => names_one(&record.reason),
            Self::Notice(notice) => match (notice.data.alert_type.as_str(), &notice.data.job) {
                ("command_error", _) => names_one(&notice.content),
                // The samples have no calendar that could be fetched.
                ("calendar_ends", _) => true,
                (_, Some(job)) => job.sender == SENDER,
                _ => false,
            },
        }
    }
}

impl fmt::Display for PublishedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice(notice) => write!(f, "{} {}: {}", notice.level, notice.kind, notice.content),
            Self::DeadLetter(record) => write!(f, "DEAD LETTER {record}"),
        }
    }
}

impl fmt::Display for DeadLetterRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (attempts: {}): {}", self.class, self.attempts, self.reason)
    }
}

/// The sum of all messages since the worker's start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MessageTotals {
    /// Number of finished tasks, successful or not, and of rejected commands.
    pub num_ended: u64,
    /// Number of invalid rows by violated rule.
    pub skipped: BTreeMap<String, u64>,
    /// Dead letters.
    pub records: Vec<DeadLetterRecord>,
}

impl MessageTotals {
    /// Adds a message. Each report contains the counts since the previous report.
    pub fn add(&mut self, news: PublishedMessage) {
        match news {
            PublishedMessage::DeadLetter(record) => self.records.push(record),
            PublishedMessage::Notice(Notice { data: counts, .. }) => {
                self.num_ended += counts.tasks_done + counts.tasks_failed + counts.commands_refused;
                for (rule, count) in counts.skipped_by_rule {
                    *self.skipped.entry(rule).or_default() += count;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_samples_cause_is_intended() {
        let reasons = ["EOF at column 40".to_owned()];
        let intended = |json: &str| notice(json).is_intended(&reasons);
        let alert = |kind: &str, content: &str| {
            format!(
                r#"{{"type":"data_collection_alert","level":"ERROR","content":"{content}","data":{{"alert_type":"{kind}"}}}}"#
            )
        };
        assert!(intended(&alert("command_error", "1 command rejected: EOF at column 40")));
        assert!(!intended(&alert("command_error", "1 command rejected: another")));
        assert!(intended(&alert("calendar_ends", "in 31 days")) && !intended(&alert("write_error", "disk full")));
        let report = |sender: &str| {
            format!(
                r#"{{"type":"data_quality_report","level":"WARNING","content":"c","data":{{"job":{{"sender":"{sender}"}}}}}}"#
            )
        };
        assert!(intended(&report(SENDER)) && !intended(&report("somebody")));
        let letter = |reason: &str| {
            PublishedMessage::DeadLetter(DeadLetterRecord { reason: reason.to_owned(), ..DeadLetterRecord::default() })
        };
        assert!(letter("EOF at column 40").is_intended(&reasons) && !letter("no answer").is_intended(&reasons));
    }

    fn notice(json: &str) -> PublishedMessage {
        PublishedMessage::Notice(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn reports_add_up_and_other_messages_count_nothing() {
        let mut tally = MessageTotals::default();
        tally.add(notice(
            r#"{"type":"data_quality_report","level":"WARNING","content":"c","data":{"report_id":"x","tasks_done":2,
               "tasks_failed":1,"commands_refused":1,"skipped_by_rule":{"missing_value":3}}}"#,
        ));
        tally.add(notice(
            r#"{"type":"data_quality_report","level":"INFO","content":"c","data":{"tasks_done":1,
               "skipped_by_rule":{"missing_value":1,"volume_negative":1}}}"#,
        ));
        tally.add(notice(r#"{"type":"data_worker_event","level":"INFO","content":"c","data":{"event":"STARTED"}}"#));
        let skipped = [("missing_value".to_owned(), 4), ("volume_negative".to_owned(), 1)];
        assert_eq!(tally, MessageTotals { num_ended: 5, skipped: skipped.into(), records: vec![] });
    }
}
