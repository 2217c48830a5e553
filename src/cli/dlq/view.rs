// Upstream: cli::coverage, filter, list, run, show, stats
// Downstream: actors, adapters::kafka, adapters::kafka::dead_letters
// Role: What the subcommands show of a dead letter: its command, sender, job, age and state.

use actors::domain::shanghai_clock::wall_clock;
use actors::domain::{Code, ControlCommand, Instruction, JobKey};
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::adapters::kafka::dead_letters::letter::Letter;
use crate::adapters::kafka::dead_letters::log::LetterState;

/// The most codes of a command that a line shows.
const MAX_CODES_SHOWN: usize = 1;

/// The longest text of a cell, in characters.
const MAX_CELL: usize = 160;

/// A dead letter with its command and its state.
pub struct LetterView {
    /// The letter.
    pub letter: Letter,
    /// What is known of its command.
    pub command: CommandView,
    /// Whether it was replayed.
    pub state: LetterState,
}

/// What is known of the command of a dead letter. The command of a letter that was cut or is unreadable has no parts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandView {
    /// Its name.
    pub name: String,
    /// The codes that it names, as written.
    pub codes: Vec<String>,
    /// Its sender.
    pub sender: String,
    /// The job in reports that it belongs to.
    pub job: Option<String>,
}

impl CommandView {
    /// Reads a payload: an object, or an object encoded once more as a JSON string.
    pub fn of(payload: &[u8]) -> Self {
        let message = match serde_json::from_slice(payload) {
            Ok(Value::String(inner)) => serde_json::from_str(&inner).unwrap_or_default(),
            other => other.unwrap_or_default(),
        };
        let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        let listed = message.pointer("/params/codes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let codes = message.pointer("/params/code").into_iter().chain(listed);
        Self {
            name: text("/command"),
            codes: codes.filter_map(Value::as_str).map(str::to_owned).collect(),
            sender: Some(text("/source")).filter(|source| !source.is_empty()).unwrap_or_else(|| text("/service")),
            job: job(payload),
        }
    }

    /// Whether the command names this security.
    pub fn names(&self, code: Code) -> bool {
        self.codes.iter().any(|written| written.parse() == Ok(code))
    }
}

impl std::fmt::Display for CommandView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.codes.get(..MAX_CODES_SHOWN).unwrap_or(&self.codes);
        let words: Vec<&str> = std::iter::once(&self.name).chain(shown).map(String::as_str).collect();
        let more = self.codes.len() - shown.len();
        let name = if self.name.is_empty() { "(unreadable)".to_owned() } else { one_line(&words.join(" ")) };
        if more > 0 { write!(f, "{name} and {more} more") } else { f.write_str(&name) }
    }
}

impl LetterView {
    /// A view of a letter.
    pub fn new(letter: Letter, state: LetterState) -> Self {
        let command = CommandView::of(&letter.payload);
        Self { letter, command, state }
    }

    /// The state with the number of replays.
    pub fn state_text(&self) -> String {
        let word = self.state.word();
        match self.state {
            LetterState::Open => word.to_owned(),
            LetterState::FailedAgain(number) => format!("{word} ({number})"),
            LetterState::Replayed(replayed) | LetterState::Unsure(replayed) => format!("{word} ({})", replayed.number),
        }
    }

    /// How often its command was replayed.
    pub fn num_replays(&self) -> u32 {
        match self.state {
            LetterState::Replayed(replayed) | LetterState::Unsure(replayed) => replayed.number,
            LetterState::Open | LetterState::FailedAgain(_) => self.letter.num_replays(),
        }
    }

    /// The age of the letter.
    pub fn age(&self, now: DateTime<Utc>) -> String {
        let Some(time) = self.letter.time else { return "?".to_owned() };
        let minutes = (now - time).num_minutes().max(0);
        match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
            (0, 0, minutes) => format!("{minutes}m"),
            (0, hours, minutes) => format!("{hours}h {minutes}m"),
            (days, hours, _) => format!("{days}d {hours}h"),
        }
    }

    /// All that is known, without the payload.
    pub fn json(&self, now: DateTime<Utc>) -> Value {
        let Self { letter, command, .. } = self;
        json!({
            "letter": letter.name.to_string(),
            "time": letter.time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            "age_seconds": letter.time.map(|time| (now - time).num_seconds()),
            "class": letter.class,
            "reason": letter.reason,
            "attempts": letter.attempts,
            "node": letter.node,
            "state": self.state.word().replace(' ', "_"),
            "replays": self.num_replays(),
            "replay_of": letter.mark.as_ref().map(|mark| &mark.letter),
            "command": command.name,
            "codes": command.codes,
            "sender": command.sender,
            "job": command.job,
            "topic": letter.origin.topic,
            "partition": letter.origin.partition,
            "offset": letter.origin.offset,
            "cut_from": letter.cut_from,
        })
    }
}

/// The job in reports that a command belongs to.
fn job(payload: &[u8]) -> Option<String> {
    let command = ControlCommand::parse(payload).ok()?;
    let word = match command.instruction {
        Instruction::BarSnapshot(_) => "bar_snapshot",
        Instruction::AdjustFactor(_) => "adjustfactor",
        Instruction::Tick(_) => "tick",
        Instruction::StockInfo => "stockinfo",
        Instruction::TradeDay => "trade_day",
        Instruction::NotForTheGroup(_) => return None,
    };
    Some(JobKey::of(&command, word).to_string())
}

/// A text on one line and of limited length: others wrote it.
pub fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match text.char_indices().nth(MAX_CELL) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A time in Shanghai.
pub fn shanghai(time: DateTime<Utc>) -> String {
    wall_clock(time).format("%Y-%m-%d %H:%M:%S+08:00").to_string()
}

#[cfg(test)]
pub mod tests {
    use chrono::TimeDelta;

    use actors::domain::TraceIds;

    use super::*;
    use crate::adapters::kafka::admin_client::Position;
    use crate::adapters::kafka::dead_letters::letter::LetterName;

    /// A letter with this payload.
    pub fn view(payload: &str) -> LetterView {
        let letter = Letter {
            name: LetterName { partition: 0, offset: 17 },
            origin: Position { topic: "t".to_owned(), partition: 2, offset: 3 },
            class: "source_error".to_owned(),
            reason: "no\nanswer".to_owned(),
            attempts: 3,
            node: "n1".to_owned(),
            time: None,
            cut_from: None,
            mark: None,
            trace: TraceIds::default(),
            key: None,
            payload: payload.as_bytes().to_vec(),
        };
        LetterView::new(letter, LetterState::Open)
    }

    #[test]
    fn a_command_is_read_as_far_as_possible() {
        let text = r#"{"command":"update_data","params":{"codes":["000001.SZ","sz.000002"]},"source":"timer"}"#;
        let command = CommandView::of(text.as_bytes());
        assert_eq!(command.to_string(), "update_data 000001.SZ and 1 more");
        assert!(command.names("000002.SZ".parse().unwrap()) && !command.names("000003.SZ".parse().unwrap()));
        assert_eq!((command.sender.as_str(), command.job.as_deref()), ("timer", Some("timer bar_snapshot")));
        let encoded = serde_json::to_vec(text).unwrap();
        assert_eq!(CommandView::of(&encoded), command);
        let refused = CommandView::of(br#"{"command":"make\ncoffee","correlation_id":"j"}"#);
        assert_eq!((refused.to_string().as_str(), refused.job), ("make coffee", None));
        for payload in [&b"\xff"[..], b"", b"7", b"{\"command\":", b"[]"] {
            assert_eq!(CommandView::of(payload).to_string(), "(unreadable)");
        }
        let job = CommandView::of(br#"{"command":"tick","params":{},"correlation_id":"evening"}"#).job;
        assert_eq!(job.as_deref(), Some("evening"));
    }

    #[test]
    fn age_has_two_units_at_most() {
        let (now, mut view) = (Utc::now(), view("{}"));
        assert_eq!(view.age(now), "?");
        for (minutes, text) in [(-5, "0m"), (59, "59m"), (61, "1h 1m"), (1_439, "23h 59m"), (1_500, "1d 1h")] {
            view.letter.time = Some(now - TimeDelta::minutes(minutes));
            assert_eq!(view.age(now), text);
        }
    }

    #[test]
    fn long_texts_are_shortened() {
        assert_eq!(one_line("a\nb\u{1b}c"), "a b c");
        assert_eq!(one_line(&"中".repeat(200)).chars().count(), MAX_CELL + 1);
    }
}
