// Upstream: dlq
// Downstream: adapters::kafka, adapters::kafka::dead_letters, cli, config, config_file, view
// Role: Implements `data-worker dlq show`.

use std::fmt::Write;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::Value;

use super::config_file::ConfigFile;
use super::view::{CommandView, LetterView, one_line, shanghai};
use crate::adapters::kafka::admin_client::AdminClient;
use crate::adapters::kafka::dead_letters::letter::LetterName;
use crate::adapters::kafka::dead_letters::log::{DeadLetterError, DeadLetterLog, LetterState, whole_payload};
use crate::cli::print;
use crate::config::KafkaSection;

/// Options of `data-worker dlq show`.
#[derive(Debug, Args)]
pub struct ShowOptions {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Names of the letters as `dlq list` prints them, such as 0:17.
    #[arg(required = true)]
    names: Vec<LetterName>,
    /// Prints one JSON object per letter and line.
    #[arg(long)]
    json: bool,
}

impl ShowOptions {
    /// Prints the letters. Exit code 1 if one of them is not there.
    pub(super) fn run(&self, admin: &AdminClient, kafka: &KafkaSection) -> Result<ExitCode, DeadLetterError> {
        let log = DeadLetterLog::read(admin, &kafka.dead_letter_topic)?;
        let (now, mut code) = (Utc::now(), ExitCode::SUCCESS);
        for name in &self.names {
            let Some(letter) = log.letter(*name)? else {
                eprintln!("{name}: there is no such dead letter in {}", kafka.dead_letter_topic);
                code = ExitCode::FAILURE;
                continue;
            };
            let payload = match whole_payload(admin, &letter) {
                Err(error @ DeadLetterError::Gone { .. }) => Err(error.to_string()),
                payload => Ok(payload?),
            };
            let state = log.state(&letter);
            let mut view = LetterView::new(letter, state);
            if let Ok(payload) = &payload {
                view.command = CommandView::of(payload);
            }
            let text = if self.json { line(&view, payload, now) } else { page(&view, payload, now) };
            let printed = print(&text);
            if printed != ExitCode::SUCCESS {
                return Ok(printed);
            }
        }
        Ok(code)
    }
}

fn line(view: &LetterView, payload: Result<Vec<u8>, String>, now: DateTime<Utc>) -> String {
    let mut line = view.json(now);
    let is_whole = payload.is_ok();
    let payload = payload.unwrap_or_else(|_| view.letter.payload.clone());
    if let Some(fields) = line.as_object_mut() {
        fields.insert("payload".to_owned(), String::from_utf8_lossy(&payload).into());
        fields.insert("payload_is_whole".to_owned(), is_whole.into());
    }
    format!("{line}\n")
}

fn page(view: &LetterView, payload: Result<Vec<u8>, String>, now: DateTime<Utc>) -> String {
    let LetterView { letter, command, state } = view;
    let key = letter.key.as_ref().map_or("none".to_owned(), |key| one_line(&String::from_utf8_lossy(key)));
    let time = letter.time.map_or("unknown".to_owned(), shanghai);
    let was = match state {
        LetterState::Open => "not replayed".to_owned(),
        LetterState::FailedAgain(number) => format!("failed again after replay {number}"),
        LetterState::Replayed(replayed) => format!("replay {} at {}", replayed.number, shanghai(replayed.time)),
        LetterState::Unsure(replayed) => {
            format!(
                "replay {} at {} was interrupted: the command may have been sent",
                replayed.number,
                shanghai(replayed.time)
            )
        }
    };
    let rows = [
        ("letter", letter.name.to_string()),
        ("time", format!("{time}, {} ago", view.age(now))),
        ("command", command.to_string()),
        ("sender", one_line(&command.sender)),
        ("job", command.job.clone().unwrap_or_default()),
        ("trace", letter.trace.trace.as_deref().map(one_line).unwrap_or_default()),
        ("class", one_line(&letter.class)),
        ("reason", letter.reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()),
        ("attempts", letter.attempts.to_string()),
        ("worker", one_line(&letter.node)),
        ("place", letter.origin.to_string()),
        ("key", key),
        ("replay", was),
        ("replay of", letter.mark.as_ref().map(|mark| one_line(&mark.letter)).unwrap_or_default()),
    ];
    let mut text = String::new();
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let _never_fails = writeln!(text, "{name:<10} {value}");
    }
    let shown = payload.as_ref().map_or(letter.payload.as_slice(), Vec::as_slice);
    if let Err(reason) = &payload {
        let _never_fails = writeln!(text, "{:<10} {reason}; its first {} bytes:", "cut", shown.len());
    }
    text + "\n" + &readable(shown) + "\n\n"
}

/// A payload, indented if it is JSON. Control characters of others do not reach the terminal.
fn readable(payload: &[u8]) -> String {
    match serde_json::from_slice::<Value>(payload) {
        Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_default(),
        Err(_) => String::from_utf8_lossy(payload)
            .chars()
            .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::view;
    use super::*;

    #[test]
    fn a_page_has_no_control_characters() {
        let view = view("{\"command\":\"tick\"\u{1b}[2J");
        let text = page(&view, Err("its payload was cut".to_owned()), Utc::now());
        assert!(!text.contains('\u{1b}') && text.contains("cut        its payload was cut; its first"), "{text}");
        assert!(text.contains("place      t[2]@3") && text.contains("reason     no answer"), "{text}");
    }

    #[test]
    fn json_is_indented() {
        assert_eq!(readable(br#"{"a":1}"#), "{\n  \"a\": 1\n}");
        assert_eq!(readable(b"\xff\x00"), "\u{fffd} ");
    }
}
