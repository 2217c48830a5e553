// Upstream: actor
// Downstream: domain, ports, quality_monitor, work
// Role: A command under way: what its tasks have brought so far, and what failed.

use std::time::Instant;

use chrono::{DateTime, Utc};
use tracing::Span;

use crate::command_router::work::Work;
use crate::domain::tick_backfill::BackfillDays;
use crate::domain::{ControlCommand, OpenRange, RawCommand, Subject, TaskCounts};
use crate::ports::Delivery;
use crate::quality_monitor::JobPart;

/// Failed codes named in a dead letter; the total is always given.
const MAX_NAMED_FAILURES: usize = 20;

impl ControlCommand {
    /// The span that every log line about the command lies in, with its ids. Where its sender gave it no id, it is known by
    /// its place. Of the highest level, so that no filter of lines takes the ids away.
    pub fn span(&self, place: &RawCommand) -> Span {
        let trace_id = self.trace_id.as_deref();
        let span = tracing::error_span!("command", command = %place, command_id = tracing::field::Empty, trace_id);
        match &self.correlation_id {
            Some(id) => span.record("command_id", id.as_str()),
            None => span.record("command_id", tracing::field::display(place)),
        };
        span
    }
}

/// A command with tasks that are not done.
pub struct OpenCommand {
    /// Resolved with the last task.
    pub delivery: Delivery,
    /// What is logged for it is logged in this span.
    pub span: Span,
    /// Its part in its job.
    pub part: JobPart,
    /// When its sender issued it.
    pub issued_at: Option<DateTime<Utc>>,
    /// Tasks that are not done.
    pub num_open: usize,
    /// What its tasks brought.
    pub counts: TaskCounts,
    /// The first failures, in words.
    pub failures: Vec<(Subject, String)>,
    /// All failures.
    pub num_failures: usize,
    /// The most attempts that a task of it took.
    pub attempts: u32,
    /// When this worker took it.
    pub received_at: Instant,
}

impl OpenCommand {
    /// A task of it failed for good.
    pub fn fail(&mut self, subject: Subject, reason: String) {
        self.num_failures += 1;
        if self.failures.len() < MAX_NAMED_FAILURES {
            self.failures.push((subject, reason));
        }
    }

    /// Its failures for the dead letter.
    pub fn failure_text(&self) -> String {
        let named: Vec<String> = self.failures.iter().map(|(subject, reason)| format!("{subject}: {reason}")).collect();
        let unnamed = self.num_failures - self.failures.len();
        let more = if unnamed > 0 { format!("; and {unnamed} more") } else { String::new() };
        format!("{} of its tasks failed: {}{more}", self.num_failures, named.join("; "))
    }
}

/// A command under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CommandId(pub u64);

/// A task that waits for its turn.
#[derive(Debug, Clone, Copy)]
pub struct QueuedTask {
    /// Whose task it is.
    pub command: CommandId,
    /// What it does.
    pub work: Work,
    /// What it is about.
    pub subject: Subject,
    /// Its days.
    pub range: OpenRange,
    /// How the backfill went before it, if it is a part of one.
    pub backfill: BackfillDays,
    /// Runs of it that a panic ended.
    pub num_crashes: u32,
}

impl QueuedTask {
    /// A task that has not run yet.
    pub fn new(command: CommandId, work: Work, subject: Subject, range: OpenRange) -> Self {
        Self { command, work, subject, range, backfill: BackfillDays::default(), num_crashes: 0 }
    }

    /// The part of it that follows.
    pub fn next(self, range: OpenRange, backfill: BackfillDays) -> Self {
        Self { range, backfill, num_crashes: 0, ..self }
    }
}

/// A task under way.
pub struct OpenTask {
    /// What it is, to be queued again if this run is cut off.
    pub task: QueuedTask,
    /// Whether it counts as being fetched.
    pub holds_slot: bool,
    /// When this run began.
    pub begun_at: Instant,
}
