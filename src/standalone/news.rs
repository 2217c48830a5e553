// Upstream: demonstration, outcome, standalone
// Downstream: config, error
// Role: Reads what the worker publishes, notifications and dead letters, back from the broker.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Deserialize;

use crate::config::KafkaSection;
use crate::standalone::error::StandaloneError;

/// Something the worker published.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// A message for people.
    Notice(Notice),
    /// A command that could not be carried out.
    DeadLetter(Record),
}

/// A message for people, as far as it is shown here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Notice {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `INFO`, `WARN` or `ERROR`.
    pub level: String,
    /// In words.
    pub content: String,
    /// The counts, where it is a quality report.
    #[serde(default)]
    pub data: Counts,
}

/// What a quality report counts; all of it is zero in other notices.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Tasks that ended well.
    pub tasks_done: u64,
    /// Tasks that failed for good.
    pub tasks_failed: u64,
    /// Commands that could not be read.
    pub commands_refused: u64,
    /// Invalid rows by the rule they broke.
    pub skipped_by_rule: BTreeMap<String, u64>,
}

/// A dead letter's reason, from its headers, and the command itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// The reason's class.
    pub class: String,
    /// Attempts made.
    pub attempts: String,
    /// Why, in words.
    pub reason: String,
    /// The command's bytes as text.
    pub payload: String,
}

/// Reads the two topics from their beginning.
pub struct NewsReader {
    consumer: StreamConsumer,
    dead_letter_topic: String,
}

impl NewsReader {
    /// Connects in the background.
    pub fn open(kafka: &KafkaSection) -> Result<Self, StandaloneError> {
        let open = || -> Result<StreamConsumer, KafkaError> {
            let consumer: StreamConsumer = ClientConfig::new()
                .set("bootstrap.servers", format!("{}:{}", kafka.host, kafka.port))
                // The client library wants a name, but nothing is committed under it.
                .set("group.id", "standalone_news")
                .set("enable.auto.commit", "false")
                .set("fetch.wait.max.ms", "100")
                .create()?;
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

    /// Waits for the next news. A wait that is broken off loses nothing.
    pub async fn next(&self) -> Result<News, StandaloneError> {
        loop {
            let message = self.consumer.recv().await.map_err(StandaloneError::broker("read news"))?;
            if message.topic() == self.dead_letter_topic {
                return Ok(News::DeadLetter(Record::of(&message)));
            }
            match serde_json::from_slice(message.payload().unwrap_or_default()) {
                Ok(notice) => return Ok(News::Notice(notice)),
                Err(error) => tracing::warn!(%error, topic = message.topic(), "no notification"),
            }
        }
    }
}

impl Record {
    fn of(message: &BorrowedMessage<'_>) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let mut record = Self { payload: text(message.payload()), ..Self::default() };
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            match header.key {
                "dlq.class" => record.class = text(header.value),
                "dlq.attempts" => record.attempts = text(header.value),
                "dlq.reason" => record.reason = text(header.value),
                _ => {}
            }
        }
        record
    }
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Notice(notice) => write!(f, "{} {}: {}", notice.level, notice.kind, notice.content),
            Self::DeadLetter(record) => write!(f, "DEAD LETTER {record}"),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (attempts: {}): {}", self.class, self.attempts, self.reason)
    }
}

/// Everything the worker told since its start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Tasks that ended, well or not, and commands that were refused.
    pub num_ended: u64,
    /// Invalid rows by the rule they broke.
    pub skipped: BTreeMap<String, u64>,
    /// Dead letters.
    pub records: Vec<Record>,
}

impl Tally {
    /// Adds news. Each report tells what came since the one before.
    pub fn add(&mut self, news: News) {
        match news {
            News::DeadLetter(record) => self.records.push(record),
            News::Notice(Notice { data: counts, .. }) => {
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

    fn notice(json: &str) -> News {
        News::Notice(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn reports_add_up_and_other_messages_count_nothing() {
        let mut tally = Tally::default();
        tally.add(notice(
            r#"{"type":"data_quality_report","level":"WARN","content":"c","data":{"report_id":"x","tasks_done":2,
               "tasks_failed":1,"commands_refused":1,"skipped_by_rule":{"missing_value":3}}}"#,
        ));
        tally.add(notice(
            r#"{"type":"data_quality_report","level":"INFO","content":"c","data":{"tasks_done":1,
               "skipped_by_rule":{"missing_value":1,"volume_negative":1}}}"#,
        ));
        tally.add(notice(r#"{"type":"data_worker_event","level":"INFO","content":"c","data":{"event":"STARTED"}}"#));
        let skipped = [("missing_value".to_owned(), 4), ("volume_negative".to_owned(), 1)];
        assert_eq!(tally, Tally { num_ended: 5, skipped: skipped.into(), records: vec![] });
    }
}
