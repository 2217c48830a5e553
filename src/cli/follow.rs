// Upstream: gaps, send
// Downstream: adapters::kafka, adapters::kafka::dead_letters, config
// Role: Follows sent commands, and the parts of split ones, to their ends: progress, row counts, failures, exit code.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::adapters::kafka::admin_client::{AdminClient, AdminClientError, Mark, Position, Record};
use crate::adapters::kafka::dead_letters::headers;
use crate::adapters::kafka::parts_publisher;
use crate::config::KafkaSection;

/// Poll interval for an outcome.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Exit code for no outcome within the timeout.
pub(super) const EXIT_NO_OUTCOME: u8 = 2;

/// Maximum wait for a topic that a worker creates.
const TOPIC_WAIT: Duration = Duration::from_secs(30);

/// Maximum wait for the row counts of a command after its end. A worker that stopped at that moment does not send them.
const COUNTS_WAIT: Duration = Duration::from_secs(10);

/// Minimum time between two lines of progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);

/// Classes of dead letters of commands that never began, for which there are no row counts.
const NEVER_BEGUN: [&str; 3] = ["bad_command", "no_codes", "crashed"];

/// Row counts of ended commands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Counts {
    records_fetched: u64,
    records_written: u64,
    records_unchanged: u64,
    records_skipped: u64,
    tasks_not_offered: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.records_fetched += other.records_fetched;
        self.records_written += other.records_written;
        self.records_unchanged += other.records_unchanged;
        self.records_skipped += other.records_skipped;
        self.tasks_not_offered += other.tasks_not_offered;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records_fetched, records_written, records_unchanged, records_skipped, tasks_not_offered } = self;
        write!(
            f,
            "{records_fetched} fetched, {records_written} written, {records_unchanged} unchanged, {records_skipped} skipped"
        )?;
        match tasks_not_offered {
            0 => Ok(()),
            number => write!(f, ", {number} not offered by any configured source"),
        }
    }
}

/// The message with which a worker reports the row counts of commands.
#[derive(Deserialize)]
struct OutcomesMessage {
    data: OutcomesData,
}

#[derive(Deserialize)]
struct OutcomesData {
    correlation_id: String,
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    command: String,
    #[serde(flatten)]
    counts: Counts,
}

/// A command or a part of one.
#[derive(Debug)]
struct Tracked {
    name: String,
    position: Position,
    /// The index of the sent command that it is, or is a part of.
    sent: usize,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Open,
    /// Replaced by its parts.
    Split,
    /// Resolved at this time; its row counts are still to come.
    Ended {
        at: Instant,
        failed: bool,
    },
    Done,
    Failed,
}

impl State {
    fn is_final(&self) -> bool {
        matches!(self, Self::Done | Self::Failed)
    }
}

/// What the topics have said since the commands were sent.
#[derive(Default)]
struct Heard {
    /// Reason and class of dead letters, by the position of the command.
    letters: BTreeMap<String, (String, String)>,
    /// The parts, by the position of the command.
    parts: BTreeMap<String, Vec<Record>>,
    counts: BTreeMap<String, Counts>,
}

/// Follows the commands that are sent after [`Follower::begin`].
pub(super) struct Follower<'a> {
    admin: &'a AdminClient,
    correlation_id: String,
    dead_letters: Mark,
    parts: Mark,
    notifications: Mark,
    heard: Heard,
    tracked: Vec<Tracked>,
}

impl<'a> Follower<'a> {
    /// Notes the ends of the topics in which outcomes will be.
    pub(super) fn begin(
        admin: &'a AdminClient,
        kafka: &KafkaSection,
        correlation_id: &str,
    ) -> Result<Self, AdminClientError> {
        Ok(Self {
            admin,
            correlation_id: correlation_id.to_owned(),
            dead_letters: mark_of_own(admin, &kafka.dead_letter_topic)?,
            parts: admin.mark(kafka.topic_of_parts())?,
            notifications: mark_of_own(admin, &kafka.notification_topic)?,
            heard: Heard::default(),
            tracked: Vec::new(),
        })
    }

    /// Waits until each command, with all its parts, has an outcome. A command is resolved when the committed offset of
    /// the group passes it; the dead-letter topic shows whether it failed. Exit code 1 for a dead letter, 2 if there is
    /// no outcome within `timeout`.
    pub(super) fn follow(
        mut self,
        commands: Vec<(String, Position)>,
        timeout: Duration,
    ) -> Result<ExitCode, AdminClientError> {
        let track = |(sent, (name, position))| Tracked { name, position, sent, state: State::Open };
        self.tracked = commands.into_iter().enumerate().map(track).collect();
        let num_sent = self.tracked.len();
        let mut open: BTreeSet<usize> = (0..num_sent).collect();
        let (deadline, mut shown_at, mut shown) = (Instant::now() + timeout, Instant::now(), String::new());
        loop {
            self.look()?;
            open.retain(|sent| !self.print_if_over(*sent));
            if open.is_empty() {
                return Ok(self.outcome(num_sent));
            }
            if Instant::now() >= deadline {
                open.iter().for_each(|sent| println!("{}", self.unfinished(*sent, timeout)));
                return Ok(ExitCode::from(EXIT_NO_OUTCOME));
            }
            if shown_at.elapsed() >= PROGRESS_INTERVAL {
                let progress = self.progress();
                if progress != shown {
                    eprintln!("{progress}");
                    (shown_at, shown) = (Instant::now(), progress);
                }
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Looks at commits first: whatever is about a resolved command is in the topics by then, except its row counts.
    fn look(&mut self) -> Result<(), AdminClientError> {
        let is_open = |tracked: &&Tracked| tracked.state == State::Open;
        let partitions: BTreeSet<(String, i32)> =
            self.tracked.iter().filter(is_open).map(|tracked| tracked.position.of_partition()).collect();
        let committed = self.admin.committed(&partitions)?;
        let is_resolved =
            |position: &Position| committed.get(&position.of_partition()).is_some_and(|next| *next > position.offset);
        self.hear()?;
        let mut parts = Vec::new();
        for tracked in &mut self.tracked {
            let place = tracked.position.to_string();
            if tracked.state == State::Open && is_resolved(&tracked.position) {
                tracked.state = match (self.heard.letters.get(&place), self.heard.parts.remove(&place)) {
                    (Some((reason, class)), _) => {
                        println!("{}: dead letter: {reason}", tracked.name);
                        let never_begun = NEVER_BEGUN.contains(&class.as_str());
                        let ended = State::Ended { at: Instant::now(), failed: true };
                        if never_begun { State::Failed } else { ended }
                    }
                    (None, Some(records)) => {
                        println!("{}: split into {} parts", tracked.name, records.len());
                        parts.extend(records.into_iter().map(|record| part_of(tracked, record)));
                        State::Split
                    }
                    (None, None) => State::Ended { at: Instant::now(), failed: false },
                };
            }
            if let State::Ended { at, failed } = tracked.state
                && (self.heard.counts.contains_key(&place) || at.elapsed() >= COUNTS_WAIT)
            {
                tracked.state = if failed { State::Failed } else { State::Done };
            }
        }
        self.tracked.extend(parts);
        Ok(())
    }

    /// Reads what is new in the topics.
    fn hear(&mut self) -> Result<(), AdminClientError> {
        let header = |record: &Record, name: &str| record.headers.get(name).cloned().unwrap_or_default();
        for record in self.admin.all_next(&mut self.dead_letters)? {
            // The topic also holds records of replays.
            if !record.headers.contains_key(headers::TOPIC) {
                continue;
            }
            let [topic, partition, offset] =
                [headers::TOPIC, headers::PARTITION, headers::OFFSET].map(|name| header(&record, name));
            let about = format!("{topic}[{partition}]@{offset}");
            self.heard.letters.insert(about, (header(&record, headers::REASON), header(&record, headers::CLASS)));
        }
        for record in self.admin.all_next(&mut self.parts)? {
            if let Some(from) = record.headers.get(parts_publisher::FROM) {
                self.heard.parts.entry(from.clone()).or_default().push(record);
            }
        }
        for record in self.admin.all_next(&mut self.notifications)? {
            let Ok(OutcomesMessage { data }) = serde_json::from_slice(&record.payload) else { continue };
            if data.correlation_id == self.correlation_id {
                self.heard
                    .counts
                    .extend(data.outcomes.into_iter().map(|Outcome { command, counts }| (command, counts)));
            }
        }
        Ok(())
    }

    /// All commands, or the parts that replace them.
    fn all_leaves(&self) -> impl Iterator<Item = &Tracked> {
        self.tracked.iter().filter(|tracked| tracked.state != State::Split)
    }

    /// A sent command, or the parts that replace it.
    fn leaves(&self, sent: usize) -> impl Iterator<Item = &Tracked> {
        self.all_leaves().filter(move |leaf| leaf.sent == sent)
    }

    /// The sum of the row counts, and whether those of all ended commands are known.
    fn counts<'t>(&self, tracked: impl Iterator<Item = &'t Tracked>) -> (Counts, bool) {
        let (mut sum, mut is_complete) = (Counts::default(), true);
        for tracked in tracked {
            match self.heard.counts.get(&tracked.position.to_string()) {
                Some(counts) => sum.add(*counts),
                None => is_complete &= tracked.state == State::Failed,
            }
        }
        (sum, is_complete)
    }

    fn counts_text<'t>(&self, tracked: impl Iterator<Item = &'t Tracked>) -> String {
        match self.counts(tracked) {
            (counts, true) => counts.to_string(),
            (counts, false) => format!("at least {counts}; no worker has sent the other row counts"),
        }
    }

    fn print_if_over(&self, sent: usize) -> bool {
        let Some(Tracked { name, state, .. }) = self.tracked.get(sent) else { return true };
        if !self.leaves(sent).all(|leaf| leaf.state.is_final()) {
            return false;
        }
        let (num_leaves, counts) = (self.leaves(sent).count(), self.counts_text(self.leaves(sent)));
        let num_failed = self.leaves(sent).filter(|leaf| leaf.state == State::Failed).count();
        match (num_failed, *state == State::Split) {
            (0, _) => println!("{name}: done: {counts}"),
            // Its dead letter was printed when it came.
            (_, false) => {}
            (_, true) => println!("{name}: {num_failed} of {num_leaves} parts failed: {counts}"),
        }
        true
    }

    /// Prints the sum of several commands.
    fn outcome(&self, num_sent: usize) -> ExitCode {
        let failed: BTreeSet<usize> =
            self.all_leaves().filter(|leaf| leaf.state == State::Failed).map(|leaf| leaf.sent).collect();
        if num_sent > 1 {
            let counts = self.counts_text(self.all_leaves());
            match failed.len() {
                0 => println!("all {num_sent} commands done: {counts}"),
                number => println!("{number} of {num_sent} commands failed: {counts}"),
            }
        }
        if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn progress(&self) -> String {
        let ended = self.all_leaves().filter(|leaf| leaf.state != State::Open);
        let num_leaves = self.all_leaves().count();
        let has_parts = self.tracked.iter().any(|tracked| tracked.state == State::Split);
        let what = if has_parts { "parts" } else { "commands" };
        let (counts, _) = self.counts(self.all_leaves());
        format!("{} of {num_leaves} {what} done, {counts}", ended.count())
    }

    fn unfinished(&self, sent: usize, timeout: Duration) -> String {
        let (num_leaves, name) = (self.leaves(sent).count(), self.tracked.get(sent).map_or("", |sent| &sent.name));
        let num_ended = self.leaves(sent).filter(|leaf| leaf.state != State::Open).count();
        let seconds = timeout.as_secs();
        match num_leaves {
            1 => format!("{name}: no outcome within {seconds} s; the command remains in the topic"),
            _ => format!(
                "{name}: no outcome within {seconds} s: {num_ended} of {num_leaves} parts are done, the others remain in \
                 the topic"
            ),
        }
    }
}

/// The end of a topic of the worker's own. A worker that starts for the first time creates it within some seconds.
fn mark_of_own(admin: &AdminClient, topic: &str) -> Result<Mark, AdminClientError> {
    let (deadline, mut is_waiting) = (Instant::now() + TOPIC_WAIT, false);
    loop {
        match admin.mark(topic) {
            Err(AdminClientError::NoTopic(reason)) if Instant::now() < deadline => {
                if !is_waiting {
                    eprintln!("{reason}; waiting for a worker to create it, at most {} s", TOPIC_WAIT.as_secs());
                    is_waiting = true;
                }
            }
            // A topic that was just created has no leader for a moment.
            Err(AdminClientError::Kafka(_)) if is_waiting && Instant::now() < deadline => {}
            marked => return marked,
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

fn part_of(whole: &Tracked, record: Record) -> Tracked {
    let message: serde_json::Value = serde_json::from_slice(&record.payload).unwrap_or_default();
    let codes = message.pointer("/params/codes").and_then(serde_json::Value::as_array).map_or(&[][..], Vec::as_slice);
    let first = codes.first().and_then(serde_json::Value::as_str).unwrap_or("?");
    let name = match codes.len() {
        0 | 1 => format!("{} {first}", whole.name),
        number => format!("{} {first} and {} more", whole.name, number - 1),
    };
    Tracked { name, position: record.position, sent: whole.sent, state: State::Open }
}
