// Upstream: replay
// Downstream: adapters::kafka, adapters::kafka::dead_letters, cli, filter, view
// Role: One run of `data-worker dlq replay`: decides about each letter, sends in batches and reports what was sent.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::process::ExitCode;

use uuid::Uuid;

use super::filter::LetterFilter;
use super::view::{CommandView, LetterView, one_line, shanghai};
use crate::adapters::kafka::admin_client::AdminClient;
use crate::adapters::kafka::dead_letters::letter::{Letter, LetterName};
use crate::adapters::kafka::dead_letters::log::{DeadLetterError, DeadLetterLog, LetterState, whole_payload};
use crate::adapters::kafka::dead_letters::replayer::{Replay, ReplayError, Replayer};
use crate::cli::print;

/// The most payload bytes of a batch. A longer command is a batch of its own.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// A run, with the letters that wait to be sent.
pub struct ReplayRun<'a> {
    admin: &'a AdminClient,
    log: &'a DeadLetterLog<'a>,
    command_topics: &'a [String],
    /// `None`: nothing is sent.
    replayer: Option<Replayer>,
    batch: Vec<Replay>,
    /// The commands of this run: a worker that was killed may have recorded two letters of one.
    taken: HashSet<Uuid>,
    num_replayed: u64,
    num_passed: u64,
    num_refused: u64,
    error: Option<DeadLetterError>,
    /// Whether letters that are still to come were given up.
    is_stopped: bool,
    is_closed: bool,
}

impl<'a> ReplayRun<'a> {
    /// A run that sends to these topics only. Without a replayer it sends nothing.
    pub fn new(
        admin: &'a AdminClient,
        log: &'a DeadLetterLog<'a>,
        command_topics: &'a [String],
        replayer: Option<Replayer>,
    ) -> Self {
        Self {
            admin,
            log,
            command_topics,
            replayer,
            batch: Vec::new(),
            taken: HashSet::new(),
            num_replayed: 0,
            num_passed: 0,
            num_refused: 0,
            error: None,
            is_stopped: false,
            is_closed: false,
        }
    }

    /// Takes a letter that the filter selects. Letters that were replayed are passed over.
    pub fn take_if(&mut self, letter: Letter, filter: &LetterFilter) -> ControlFlow<()> {
        let state = self.log.state(&letter);
        let view = LetterView::new(letter, state);
        if !filter.selects(&view) {
            return ControlFlow::Continue(());
        }
        match state {
            LetterState::Replayed(_) => {
                self.num_passed += 1;
                ControlFlow::Continue(())
            }
            LetterState::Unsure(_) => self.refuse(view.letter.name, &reason_of(state).unwrap_or_default()),
            LetterState::Open | LetterState::FailedAgain(_) => self.take(view),
        }
    }

    /// Takes a letter that the user has named. One that was replayed is refused, unless it is wanted `again`.
    pub fn take_named(&mut self, letter: Letter, again: bool) -> ControlFlow<()> {
        let state = self.log.state(&letter);
        match reason_of(state).filter(|_| !again) {
            Some(reason) => self.refuse(letter.name, &reason),
            None => self.take(LetterView::new(letter, state)),
        }
    }

    /// Reports a letter that is not replayed.
    pub fn refuse(&mut self, name: LetterName, reason: &str) -> ControlFlow<()> {
        self.num_refused += 1;
        eprintln!("{name}: {reason}");
        ControlFlow::Continue(())
    }

    fn take(&mut self, view: LetterView) -> ControlFlow<()> {
        let (number, command_id) = (view.num_replays() + 1, view.letter.command_id());
        let name = view.letter.name;
        if !self.command_topics.contains(&view.letter.origin.topic) {
            let topic = &view.letter.origin.topic;
            return self.refuse(name, &format!("no worker reads its topic {topic}, see kafka.command_topics"));
        }
        if !self.taken.insert(command_id) {
            self.num_passed += 1;
            return ControlFlow::Continue(());
        }
        let payload = match whole_payload(self.admin, &view.letter) {
            Ok(payload) => payload,
            Err(error @ DeadLetterError::Gone { .. }) => return self.refuse(name, &error.to_string()),
            Err(error) => {
                self.error = Some(error);
                return ControlFlow::Break(());
            }
        };
        let Letter { origin, key, trace, .. } = view.letter;
        let replay = Replay { letter: name, command_id, number, trace, topic: origin.topic, key, payload };
        let num_bytes: usize = self.batch.iter().map(|waiting| waiting.payload.len()).sum();
        if num_bytes + replay.payload.len() > MAX_BATCH_BYTES {
            self.flush()?;
        }
        self.batch.push(replay);
        let max_letters = self.replayer.as_ref().map_or(1, Replayer::max_batch);
        if self.batch.len() >= max_letters { self.flush() } else { ControlFlow::Continue(()) }
    }

    /// Sends what waits. If the broker refuses a record of a batch, each command is sent alone.
    fn flush(&mut self) -> ControlFlow<()> {
        let batch = std::mem::take(&mut self.batch);
        match self.send(&batch) {
            Err(ReplayError::Refused(_)) if batch.len() > 1 => batch.chunks(1).try_for_each(|one| {
                let sent = self.send(one);
                self.settle(one, sent)
            }),
            sent => self.settle(&batch, sent),
        }
    }

    /// Sends commands and returns for each what happened.
    fn send(&self, batch: &[Replay]) -> Result<Vec<String>, ReplayError> {
        match &self.replayer {
            None => Ok(batch.iter().map(|replay| format!("would be sent to {}", replay.topic)).collect()),
            Some(_) if batch.is_empty() => Ok(Vec::new()),
            Some(replayer) => Ok(replayer.send(batch)?.iter().map(|place| format!("sent to {place}")).collect()),
        }
    }

    fn settle(&mut self, batch: &[Replay], sent: Result<Vec<String>, ReplayError>) -> ControlFlow<()> {
        let outcomes = match sent {
            Ok(outcomes) => outcomes,
            Err(error) => {
                self.is_stopped |= !matches!(error, ReplayError::Refused(_));
                let refused = batch.iter().try_for_each(|replay| self.refuse(replay.letter, &error.to_string()));
                return if self.is_stopped { ControlFlow::Break(()) } else { refused };
            }
        };
        self.num_replayed += batch.len() as u64;
        let lines: String = batch.iter().zip(&outcomes).map(|(replay, outcome)| line(replay, outcome)).collect();
        self.is_closed |= print(&lines) != ExitCode::SUCCESS;
        if self.is_closed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Sends the rest and prints the sum. Exit code 1 if a letter was not replayed.
    pub fn finish(mut self) -> Result<ExitCode, DeadLetterError> {
        // What waits was selected before the error.
        let _ended = self.flush();
        if !self.is_closed {
            print(&self.sum());
        }
        match self.error {
            Some(error) => Err(error),
            None if self.num_refused > 0 || self.is_closed => Ok(ExitCode::FAILURE),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    fn sum(&self) -> String {
        let done = if self.replayer.is_some() { "replayed" } else { "would be replayed" };
        let mut text = format!("{} {done}", self.num_replayed);
        if self.num_passed > 0 {
            text.push_str(&format!(", {} passed over: their commands were replayed before", self.num_passed));
        }
        if self.num_refused > 0 {
            text.push_str(&format!(", {} not replayed", self.num_refused));
        }
        if self.is_stopped {
            text.push_str("; stopped, further letters were not tried");
        }
        text + "\n"
    }
}

fn line(replay: &Replay, outcome: &str) -> String {
    let command = CommandView::of(&replay.payload);
    let job = command.job.as_ref().map(|job| format!(", job {}", one_line(job))).unwrap_or_default();
    let number = if replay.number > 1 { format!(", replay {}", replay.number) } else { String::new() };
    format!("{}: {outcome}: {command}{job}{number}\n", replay.letter)
}

/// Why a letter in this state is not replayed unless it is asked for by name.
fn reason_of(state: LetterState) -> Option<String> {
    match state {
        LetterState::Open | LetterState::FailedAgain(_) => None,
        LetterState::Replayed(replayed) => Some(format!(
            "its command was replayed at {} (Shanghai); --again sends it once more",
            shanghai(replayed.time)
        )),
        LetterState::Unsure(replayed) => Some(format!(
            "a replay at {} (Shanghai) was interrupted, and its command may have been sent; --again sends it",
            shanghai(replayed.time)
        )),
    }
}
