// Upstream: log, replayer
// Downstream: headers, letter
// Role: The record in the dead-letter topic that the command of a dead letter was sent again.

use chrono::{DateTime, SecondsFormat, Utc};
use rdkafka::message::{Message, OwnedHeaders};
use uuid::Uuid;

use crate::adapters::kafka::dead_letters::headers::{parsed, text, with};

/// The name of the dead letter. Only replay records have this header.
const LETTER: &str = "replayed.letter";
/// The identity of the command, see `Letter::command_id`.
const COMMAND: &str = "replayed.command";
/// How often the command was replayed, this time included.
const NUMBER: &str = "replayed.number";
/// When it was replayed.
const TIME: &str = "replayed.time";
/// Where the replayed command is; missing where it is not known yet.
const TO: &str = "replayed.to";

/// The record that a dead letter was replayed. Its payload is empty: a worker skips it if the whole topic is copied to
/// a command topic.
///
/// It is written in the same transaction as the command. Without transactions one without [`Self::to`] is written
/// before the command, and a second one afterwards. So where the program ends in between, it is known that the command
/// may have been sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRecord {
    /// The name of the dead letter.
    pub letter: String,
    /// The identity of the command.
    pub command_id: Uuid,
    /// How often the command was replayed, this time included.
    pub number: u32,
    /// When it was replayed.
    pub time: DateTime<Utc>,
    /// The place of the replayed command, `topic[partition]@offset`; `None` if it is not known whether it was sent.
    pub to: Option<String>,
}

impl ReplayRecord {
    /// Reads a record of the dead-letter topic; `None` if it is no replay record.
    pub fn of(message: &impl Message) -> Option<Self> {
        Some(Self {
            letter: text(message, LETTER)?,
            command_id: parsed(message, COMMAND)?,
            number: parsed(message, NUMBER)?,
            time: parsed(message, TIME)?,
            to: text(message, TO),
        })
    }

    /// The headers of the record.
    pub fn headers(&self) -> OwnedHeaders {
        let time = self.time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let texts = [
            (LETTER, self.letter.clone()),
            (COMMAND, self.command_id.to_string()),
            (NUMBER, self.number.to_string()),
            (TIME, time),
        ];
        let headers = OwnedHeaders::new_with_capacity(texts.len() + 1);
        let headers = texts.iter().fold(headers, |headers, (key, value)| with(headers, key, value));
        self.to.iter().fold(headers, |headers, to| with(headers, TO, to))
    }
}

#[cfg(test)]
mod tests {
    use chrono::SubsecRound;
    use rdkafka::message::OwnedMessage;
    use rdkafka::{Timestamp, message::Headers};

    use super::*;
    use crate::adapters::kafka::dead_letters::letter::Letter;

    #[test]
    fn a_replay_record_is_read_as_written_and_no_letter() {
        for to in [None, Some("t[0]@3".to_owned())] {
            let written = ReplayRecord {
                letter: "0:17".to_owned(),
                command_id: Uuid::nil(),
                number: 2,
                time: Utc::now().trunc_subsecs(3),
                to,
            };
            let headers = written.headers();
            assert_eq!(headers.count(), 4 + usize::from(written.to.is_some()));
            let message =
                OwnedMessage::new(None, None, "dlq".to_owned(), Timestamp::NotAvailable, 0, 18, Some(headers));
            assert_eq!(ReplayRecord::of(&message), Some(written));
            assert!(Letter::of(&message).is_none());
        }
    }
}
