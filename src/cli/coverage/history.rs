// Upstream: coverage, page, page_data
// Downstream: many
// Role: Reads what the page shows besides the heat map: quality reports by day, and open dead letters.

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::process::ExitCode;

use actors::domain::DateRange;

use crate::adapters::clickhouse::report_days::ReportDay;
use crate::adapters::kafka::admin_client::AdminClient;
use crate::adapters::kafka::dead_letters::log::{DeadLetterError, DeadLetterLog, LetterState};
use crate::app::service_hub::ServiceHub;
use crate::cli::block_on;
use crate::cli::dlq::view::{LetterView, one_line, shanghai};
use crate::config::{KafkaSection, Settings};

/// The most dead letters that the page lists, the newest ones. All are counted.
const MAX_LETTERS: usize = 200;

/// The most classes that are counted each. The worker writes about ten, others may write any.
const MAX_CLASSES: usize = 30;

/// A dead letter as a row of text: name, time, class, command, sender, reason.
pub type LetterRow = [String; 6];

/// The open dead letters.
#[derive(Debug, Default)]
pub struct OpenLetters {
    /// The number of letters.
    pub number: u64,
    /// The number by class.
    pub by_class: BTreeMap<String, u64>,
    /// The newest letters.
    pub newest: VecDeque<LetterRow>,
}

/// What is known; the error as text where something cannot be read.
#[derive(Debug)]
pub struct History {
    /// Figures of the quality reports by day, oldest first.
    pub days: Result<Vec<ReportDay>, String>,
    /// The open dead letters.
    pub letters: Result<OpenLetters, String>,
}

/// Reads both. What cannot be read is printed, and the page says so; the heat map does not depend on it.
pub fn read(settings: &Settings, range: DateRange) -> Result<History, ExitCode> {
    let days = block_on(ServiceHub::report_days(settings).of(range))?.map_err(|error| error.to_string());
    let letters = letters(&settings.kafka).map_err(|error| error.to_string());
    for error in [days.as_ref().err(), letters.as_ref().err()].into_iter().flatten() {
        eprintln!("{error}");
    }
    Ok(History { days, letters })
}

fn letters(kafka: &KafkaSection) -> Result<OpenLetters, DeadLetterError> {
    let admin = AdminClient::new(kafka)?;
    let log = DeadLetterLog::read(&admin, &kafka.dead_letter_topic)?;
    let mut open = OpenLetters::default();
    log.letters(|letter| {
        let state = log.state(&letter);
        if !matches!(state, LetterState::Replayed(_)) {
            open.add(&LetterView::new(letter, state));
        }
        ControlFlow::Continue(())
    })?;
    Ok(open)
}

impl OpenLetters {
    fn add(&mut self, view: &LetterView) {
        let LetterView { letter, command, .. } = view;
        self.number += 1;
        let class = one_line(&letter.class);
        let is_known = self.by_class.len() < MAX_CLASSES || self.by_class.contains_key(&class);
        *self.by_class.entry(if is_known { class.clone() } else { "(others)".to_owned() }).or_default() += 1;
        if self.newest.len() == MAX_LETTERS {
            self.newest.pop_front();
        }
        self.newest.push_back([
            letter.name.to_string(),
            letter.time.map(shanghai).unwrap_or_default(),
            class,
            command.to_string(),
            one_line(&command.sender),
            one_line(&letter.reason),
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dlq::view::tests::view;

    #[test]
    fn letters_are_bounded_and_all_counted() {
        let mut open = OpenLetters::default();
        for n in 0..MAX_LETTERS + 5 {
            let mut view = view(r#"{"command":"tick"}"#);
            view.letter.class = format!("class{n}");
            open.add(&view);
        }
        assert_eq!((open.number, open.newest.len(), open.by_class.len()), (205, MAX_LETTERS, MAX_CLASSES + 1));
        assert_eq!(open.by_class.values().sum::<u64>(), 205);
        assert_eq!(open.newest[0][2], "class5", "the newest are kept");
        assert_eq!(open.newest[0][5], "no answer", "one line");
    }
}
