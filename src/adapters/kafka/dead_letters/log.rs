// Upstream: cli::coverage, cli::dlq
// Downstream: adapters::kafka, letter, replay_record
// Role: Reads the dead-letter topic: which letters there are, and which of them were replayed.

use std::collections::HashMap;
use std::ops::ControlFlow;

use chrono::{DateTime, Utc};
use rdkafka::message::Message;
use uuid::Uuid;

use crate::adapters::kafka::admin_client::{AdminClient, AdminClientError, Position, Span};
use crate::adapters::kafka::dead_letters::letter::{Letter, LetterName};
use crate::adapters::kafka::dead_letters::replay_record::ReplayRecord;

/// The most replayed commands that are remembered: about 100 MB. A topic that keeps a week has as many only if two
/// commands were replayed in each second.
const MAX_REPLAYED: usize = 1_000_000;

/// What the topic says about the replays of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// The number of the last replay.
    pub number: u32,
    /// When it was.
    pub time: DateTime<Utc>,
    /// Whether the command was certainly sent.
    pub is_sent: bool,
}

/// The state of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LetterState {
    /// Its command failed for the first time.
    Open,
    /// Its command failed again after this many replays.
    FailedAgain(u32),
    /// Its command was replayed.
    Replayed(Replayed),
    /// A replay was interrupted: its command may have been sent.
    Unsure(Replayed),
}

impl LetterState {
    /// The state as a word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::FailedAgain(_) => "failed again",
            Self::Replayed(_) => "replayed",
            Self::Unsure(_) => "unsure",
        }
    }
}

/// The dead-letter topic up to a moment. It is read twice: first for the replays, of which a few bytes each are kept,
/// then letter by letter. So the memory does not depend on the number or the size of letters.
pub struct DeadLetterLog<'a> {
    admin: &'a AdminClient,
    spans: Vec<Span>,
    replayed: HashMap<Uuid, Replayed>,
}

impl<'a> DeadLetterLog<'a> {
    /// Reads what was replayed, up to the present end.
    pub fn read(admin: &'a AdminClient, topic: &str) -> Result<Self, DeadLetterError> {
        let spans = admin.spans(topic)?;
        let (mut replayed, mut is_full) = (HashMap::new(), false);
        for span in &spans {
            admin.visit(span, |message| {
                ReplayRecord::of(message).iter().for_each(|record| note(&mut replayed, record));
                is_full = replayed.len() > MAX_REPLAYED;
                if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
        }
        if is_full { Err(DeadLetterError::TooManyReplays) } else { Ok(Self { admin, spans, replayed }) }
    }

    /// The state of a letter.
    pub fn state(&self, letter: &Letter) -> LetterState {
        match (self.replayed.get(&letter.command_id()), &letter.mark) {
            (Some(replayed), _) if replayed.is_sent => LetterState::Replayed(*replayed),
            (Some(replayed), _) => LetterState::Unsure(*replayed),
            (None, Some(mark)) => LetterState::FailedAgain(mark.number),
            (None, None) => LetterState::Open,
        }
    }

    /// Visits the letters one by one: partition by partition, oldest first.
    pub fn letters(&self, mut visit: impl FnMut(Letter) -> ControlFlow<()>) -> Result<(), DeadLetterError> {
        for span in &self.spans {
            self.admin.visit(span, |message| Letter::of(message).map_or(ControlFlow::Continue(()), &mut visit))?;
        }
        Ok(())
    }

    /// The letter with this name, if it is still there.
    pub fn letter(&self, name: LetterName) -> Result<Option<Letter>, DeadLetterError> {
        let Some(span) = self.spans.iter().find(|span| span.partition == name.partition) else { return Ok(None) };
        let position = Position { topic: span.topic.clone(), partition: name.partition, offset: name.offset };
        let is_within = (span.from..span.to).contains(&name.offset);
        let message = if is_within { self.admin.record_at(&position)? } else { None };
        Ok(message.as_ref().and_then(Letter::of))
    }
}

/// The bytes of the command of a letter. A payload that was cut is read from the command's own place.
pub fn whole_payload(admin: &AdminClient, letter: &Letter) -> Result<Vec<u8>, DeadLetterError> {
    let Some(length) = letter.cut_from else { return Ok(letter.payload.clone()) };
    let gone = || DeadLetterError::Gone { origin: letter.origin.clone(), length };
    let message = match admin.record_at(&letter.origin) {
        Err(AdminClientError::NoTopic(_)) => return Err(gone()),
        message => message?.ok_or_else(gone)?,
    };
    let payload = message.payload().unwrap_or_default();
    // Another record has its place if the topic was created again.
    let is_it =
        payload.len() == length && payload.starts_with(&letter.payload) && message.key() == letter.key.as_deref();
    if is_it { Ok(payload.to_vec()) } else { Err(gone()) }
}

fn note(replayed: &mut HashMap<Uuid, Replayed>, record: &ReplayRecord) {
    let entry = Replayed { number: record.number, time: record.time, is_sent: record.to.is_some() };
    let known = replayed.entry(record.command_id).or_insert(entry);
    if record.number >= known.number {
        *known = entry;
    }
}

/// Dead letters cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// A topic cannot be read.
    #[error(transparent)]
    Topic(#[from] AdminClientError),
    /// The topic holds more replay records than are remembered.
    #[error("the dead-letter topic holds more than {MAX_REPLAYED} replays; shorten its retention")]
    TooManyReplays,
    /// The payload was cut, and the original record is gone.
    #[error("its payload was cut from {length} bytes, and the original record {origin} is no longer there")]
    Gone {
        /// The place of the command.
        origin: Position,
        /// The length of its payload.
        length: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u32, to: Option<&str>) -> ReplayRecord {
        let (letter, to) = ("0:1".to_owned(), to.map(str::to_owned));
        ReplayRecord { letter, command_id: Uuid::nil(), number, time: DateTime::UNIX_EPOCH, to }
    }

    #[test]
    fn a_replay_is_unsure_until_its_command_is_known() {
        let mut replayed = HashMap::new();
        note(&mut replayed, &record(1, None));
        assert!(!replayed[&Uuid::nil()].is_sent);
        note(&mut replayed, &record(1, Some("t[0]@1")));
        assert!(replayed[&Uuid::nil()].is_sent);
        note(&mut replayed, &record(2, None));
        note(&mut replayed, &record(1, Some("t[0]@1")));
        assert_eq!((replayed[&Uuid::nil()].number, replayed[&Uuid::nil()].is_sent), (2, false));
    }
}
