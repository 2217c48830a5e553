// Upstream: dlq
// Downstream: many
// Role: Implements `data-worker dlq list`.

use std::ops::ControlFlow;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;

use super::config_file::ConfigFile;
use super::filter::LetterFilter;
use super::view::{LetterView, one_line};
use crate::adapters::kafka::admin_client::AdminClient;
use crate::adapters::kafka::dead_letters::log::{DeadLetterError, DeadLetterLog, LetterState};
use crate::cli::fold::print_folded;
use crate::cli::print;
use crate::config::KafkaSection;

/// Options of `data-worker dlq list`.
#[derive(Debug, Args)]
pub struct ListOptions {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    #[command(flatten)]
    filter: LetterFilter,
    /// Also lists letters whose commands were sent again.
    #[arg(long)]
    all: bool,
    /// Prints one JSON object per letter and line.
    #[arg(long)]
    json: bool,
}

impl ListOptions {
    /// Prints the letters one by one. Exit code 1 if they cannot be read.
    pub(super) fn run(&self, admin: &AdminClient, kafka: &KafkaSection) -> Result<ExitCode, DeadLetterError> {
        let log = DeadLetterLog::read(admin, &kafka.dead_letter_topic)?;
        let (now, mut num_shown, mut num_hidden, mut printed) = (Utc::now(), 0_u64, 0_u64, ExitCode::SUCCESS);
        log.letters(|letter| {
            let state = log.state(&letter);
            let view = LetterView::new(letter, state);
            if !self.filter.selects(&view) {
                return ControlFlow::Continue(());
            }
            if matches!(state, LetterState::Replayed(_)) && !self.all {
                num_hidden += 1;
                return ControlFlow::Continue(());
            }
            let head = if num_shown == 0 && !self.json { head() } else { String::new() };
            num_shown += 1;
            let line = if self.json { format!("{}\n", view.json(now)) } else { row(&view, now) };
            printed = if self.json { print(&line) } else { print_folded(&(head + &line)) };
            if printed == ExitCode::SUCCESS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        if !self.json && printed == ExitCode::SUCCESS {
            return Ok(print(&summary(num_shown, num_hidden)));
        }
        Ok(printed)
    }
}

fn head() -> String {
    line(["LETTER", "AGE", "CLASS", "STATE", "COMMAND", "SENDER", "REASON"].map(str::to_owned))
}

fn row(view: &LetterView, now: DateTime<Utc>) -> String {
    let LetterView { letter, command, .. } = view;
    line([
        letter.name.to_string(),
        view.age(now),
        one_line(&letter.class),
        view.state_text(),
        command.to_string(),
        one_line(&command.sender),
        one_line(&letter.reason),
    ])
}

/// Columns of fixed width: the letters are not all known when the first is printed.
fn line([name, age, class, state, command, sender, reason]: [String; 7]) -> String {
    let text = format!("{name:<8}  {age:<8}  {class:<12}  {state:<16}  {command:<24}  {sender:<14}  {reason}");
    text.trim_end().to_owned() + "\n"
}

fn summary(num_shown: u64, num_hidden: u64) -> String {
    let letters = if num_shown == 1 { "dead letter" } else { "dead letters" };
    match num_hidden {
        0 => format!("{num_shown} {letters}\n"),
        _ => format!("{num_shown} {letters}; {num_hidden} that were replayed are not shown, see --all\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::view;
    use super::*;

    #[test]
    fn a_letter_is_one_line() {
        let mut view = view(r#"{"command":"tick","params":{"code":"000001.SZ"},"source":"timer"}"#);
        view.state = LetterState::FailedAgain(2);
        let row = row(&view, Utc::now());
        assert_eq!(row.lines().count(), 1);
        for cell in ["0:17 ", " source_error ", " failed again (2) ", " tick 000001.SZ ", " timer ", " no answer\n"] {
            assert!(row.contains(cell), "{row}");
        }
        let json = view.json(Utc::now());
        assert_eq!((&json["state"], &json["replays"]), (&"failed_again".into(), &0.into()));
        assert_eq!(summary(1, 2), "1 dead letter; 2 that were replayed are not shown, see --all\n");
    }
}
