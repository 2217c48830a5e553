// Upstream: cli::dlq, log, replay_record, replayer
// Downstream: actors, adapters::kafka, headers
// Role: A dead letter: a command that could not be executed, with the reason.

use std::fmt;
use std::str::FromStr;

use actors::domain::{ReplayMark, TraceIds};
use chrono::{DateTime, Utc};
use rdkafka::message::Message;
use uuid::Uuid;

use crate::adapters::kafka::admin_client::Position;
use crate::adapters::kafka::dead_letters::headers;

/// The name of a dead letter: its place in the dead-letter topic, `partition:offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterName {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl fmt::Display for LetterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.partition, self.offset)
    }
}

impl FromStr for LetterName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once(':').and_then(|(partition, offset)| {
            let name = Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? };
            (name.partition >= 0 && name.offset >= 0).then_some(name)
        });
        numbers.ok_or_else(|| format!("`{text}` is not the name of a dead letter, such as 0:17"))
    }
}

/// A dead letter.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Its place.
    pub name: LetterName,
    /// The place of the failed command.
    pub origin: Position,
    /// The class of the reason.
    pub class: String,
    /// Why the command failed.
    pub reason: String,
    /// The number of attempts.
    pub attempts: u32,
    /// The worker that gave the command up.
    pub node: String,
    /// When it did.
    pub time: Option<DateTime<Utc>>,
    /// The original length of the payload, if it was cut.
    pub cut_from: Option<usize>,
    /// The mark of the failed command, if it was a replayed one.
    pub mark: Option<ReplayMark>,
    /// The trace ids of the failed command.
    pub trace: TraceIds,
    /// The key of the command.
    pub key: Option<Vec<u8>>,
    /// The payload of the command, or its beginning.
    pub payload: Vec<u8>,
}

impl Letter {
    /// Reads a record of the dead-letter topic; `None` if it is no dead letter.
    pub fn of(message: &impl Message) -> Option<Self> {
        let text = |name| headers::text(message, name).unwrap_or_default();
        let origin = Position {
            topic: headers::text(message, headers::TOPIC)?,
            partition: headers::parsed(message, headers::PARTITION)?,
            offset: headers::parsed(message, headers::OFFSET)?,
        };
        let recorded = message.timestamp().to_millis().and_then(DateTime::from_timestamp_millis);
        Some(Self {
            name: LetterName { partition: message.partition(), offset: message.offset() },
            origin,
            class: text(headers::CLASS),
            reason: text(headers::REASON),
            attempts: headers::parsed(message, headers::ATTEMPTS).unwrap_or_default(),
            node: text(headers::NODE),
            time: headers::parsed(message, headers::TIME).or(recorded),
            cut_from: headers::parsed(message, headers::CUT_FROM),
            mark: headers::mark_of(message),
            trace: headers::trace_of(message),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().unwrap_or_default().to_vec(),
        })
    }

    /// The identity of the command: its place and content. A worker that is killed before it commits a command records
    /// a second dead letter of it, and an offset alone may belong to another log.
    pub fn command_id(&self) -> Uuid {
        let place = format!("{} ", self.origin);
        let key = self.key.as_deref().unwrap_or_default();
        Uuid::new_v5(&Uuid::NAMESPACE_OID, &[place.as_bytes(), key, b" ", &self.payload].concat())
    }

    /// How often the command had been replayed when it failed.
    pub fn num_replays(&self) -> u32 {
        self.mark.as_ref().map_or(0, |mark| mark.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_partition_and_offset() {
        assert_eq!("0:17".parse(), Ok(LetterName { partition: 0, offset: 17 }));
        for text in ["", "17", "0:", ":1", "-1:2", "1:-2", "0:1:2", "a:b", "0:99999999999999999999"] {
            assert!(text.parse::<LetterName>().is_err(), "{text}");
        }
    }
}
