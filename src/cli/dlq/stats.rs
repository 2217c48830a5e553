// Upstream: dlq
// Downstream: many
// Role: Implements `data-worker dlq stats`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::filter::LetterFilter;
use super::view::{LetterView, one_line, shanghai};
use crate::adapters::kafka::admin_client::AdminClient;
use crate::adapters::kafka::dead_letters::log::{DeadLetterError, DeadLetterLog};
use crate::cli::print;
use crate::config::KafkaSection;

/// The most values of one kind that are counted each: senders and command names are written by others.
const MAX_VALUES: usize = 100;

/// What further values are counted as.
const OTHERS: &str = "(others)";

/// Options of `data-worker dlq stats`.
#[derive(Debug, Args)]
pub struct StatsOptions {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    #[command(flatten)]
    filter: LetterFilter,
    /// Prints a JSON object.
    #[arg(long)]
    json: bool,
}

/// The kinds of values that are counted.
const KINDS: [&str; 4] = ["state", "class", "command", "sender"];

#[derive(Default)]
struct Stats {
    num_letters: u64,
    by: [BTreeMap<String, u64>; KINDS.len()],
    oldest: Option<DateTime<Utc>>,
    newest: Option<DateTime<Utc>>,
}

impl Stats {
    fn add(&mut self, view: &LetterView) {
        let LetterView { letter, command, state } = view;
        self.num_letters += 1;
        let values = [state.word(), letter.class.as_str(), command.name.as_str(), command.sender.as_str()];
        for (counts, value) in self.by.iter_mut().zip(values) {
            let value = if value.is_empty() { "(none)".to_owned() } else { one_line(value) };
            let is_known = counts.len() < MAX_VALUES || counts.contains_key(&value);
            *counts.entry(if is_known { value } else { OTHERS.to_owned() }).or_default() += 1;
        }
        self.oldest = self.oldest.into_iter().chain(letter.time).min();
        self.newest = self.newest.into_iter().chain(letter.time).max();
    }

    fn table(&self) -> String {
        let times = self
            .oldest
            .zip(self.newest)
            .map(|(oldest, newest)| format!(", from {} to {} (Shanghai)", shanghai(oldest), shanghai(newest)));
        let mut text = format!("{} dead letters{}\n", self.num_letters, times.unwrap_or_default());
        for (kind, counts) in KINDS.iter().zip(&self.by) {
            let mut sorted: Vec<_> = counts.iter().collect();
            sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            sorted.iter().for_each(|(value, count)| text.push_str(&format!("{kind:<8}  {value:<20}  {count:>8}\n")));
        }
        text
    }

    fn json(&self) -> Value {
        let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let by: BTreeMap<&str, _> = KINDS.into_iter().zip(&self.by).collect();
        json!({
            "letters": self.num_letters,
            "oldest": self.oldest.map(text),
            "newest": self.newest.map(text),
            "by": by,
        })
    }
}

impl StatsOptions {
    /// Prints the counts. Exit code 1 if the letters cannot be read.
    pub(super) fn run(&self, admin: &AdminClient, kafka: &KafkaSection) -> Result<ExitCode, DeadLetterError> {
        let log = DeadLetterLog::read(admin, &kafka.dead_letter_topic)?;
        let mut stats = Stats::default();
        log.letters(|letter| {
            let state = log.state(&letter);
            let view = LetterView::new(letter, state);
            if self.filter.selects(&view) {
                stats.add(&view);
            }
            ControlFlow::Continue(())
        })?;
        Ok(print(&if self.json { format!("{}\n", stats.json()) } else { stats.table() }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::view;
    use super::*;

    #[test]
    fn counts_are_bounded_and_complete() {
        let mut stats = Stats::default();
        for n in 0..MAX_VALUES + 5 {
            stats.add(&view(&format!(r#"{{"command":"tick","source":"sender{n}"}}"#)));
        }
        assert_eq!((stats.by[3].len(), stats.by[3][OTHERS]), (MAX_VALUES + 1, 5));
        let json = stats.json();
        assert_eq!((&json["letters"], &json["by"]["class"]["source_error"]), (&105.into(), &105.into()));
        let text = stats.table();
        assert!(text.starts_with("105 dead letters\nstate     open                       105\n"), "{text}");
    }
}
