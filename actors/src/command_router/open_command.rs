// Upstream: actor, queue
// Downstream: domain, ports, quality_monitor, work
// Role: Open commands and their tasks: progress, results and failures.

use std::sync::Arc;

use tokio::time::Instant;

use chrono::{DateTime, Utc};
use tracing::Span;

use crate::command_router::work::Work;
use crate::domain::tick_backfill::BackfillDays;
use crate::domain::{ControlCommand, OpenRange, RawCommand, Subject, TaskCounts, TraceIds, counted_len};
use crate::ports::Delivery;
use crate::quality_monitor::{CommandEnded, JobPart};

/// Maximum number of failures listed in a dead letter. The total is always included.
const MAX_NAMED_FAILURES: usize = 20;

impl ControlCommand {
    /// The span of all log messages about the command, with its ids.
    pub fn span(&self, place: &RawCommand) -> Span {
        command_span(place, self.correlation_id.as_deref(), &self.trace_ids(place))
    }
}

/// The span of all log messages about a command that was not read as a command.
pub fn unread_span(place: &RawCommand) -> Span {
    command_span(place, None, &TraceIds::of_payload(&place.payload).or(&place.trace))
}

/// Without an id from the sender, the Kafka position of the record is the id. The span has the level ERROR, so no level
/// filter removes the ids.
fn command_span(place: &RawCommand, id: Option<&str>, TraceIds { trace, span }: &TraceIds) -> Span {
    let (trace_id, span_id) = (trace.as_deref(), span.as_deref());
    let replay_of = place.replay.as_ref().map(|mark| mark.letter.as_str());
    let span = tracing::error_span!(
        "command",
        command = %place,
        command_id = tracing::field::Empty,
        trace_id,
        span_id,
        replay_of
    );
    match id {
        Some(id) => span.record("command_id", id),
        None => span.record("command_id", tracing::field::display(place)),
    };
    span
}

/// A command with unfinished tasks.
pub struct OpenCommand {
    /// The delivery, resolved when the last task ends.
    pub delivery: Delivery,
    /// The span of the command's log messages.
    pub span: Span,
    /// Membership in a job; its drop reports the end of the command.
    pub part: JobPart,
    /// The sender's timestamp of the command.
    pub issued_at: Option<DateTime<Utc>>,
    /// Number of unfinished tasks.
    pub num_open: usize,
    /// Row counts of its ended tasks.
    pub counts: TaskCounts,
    /// The first failures, with their reasons.
    pub failures: Vec<(Subject, String)>,
    /// Number of all failures.
    pub num_failures: usize,
    /// The class of the last failure.
    pub failure_class: &'static str,
    /// The highest number of attempts of a task.
    pub attempts: u32,
    /// Its trace ids.
    pub ids: TraceIds,
    /// The name of its record.
    pub record: Option<Arc<str>>,
    /// Time at which this worker received it.
    pub received_at: Instant,
    /// The correlation id under which the sender waits for the row counts, if it does.
    awaited_as: Option<String>,
}

impl OpenCommand {
    /// A command whose tasks begin.
    pub fn new(delivery: Delivery, command: &ControlCommand, span: Span, part: JobPart, num_tasks: usize) -> Self {
        let ids = command.trace_ids(delivery.command());
        let record = delivery.command().record_name().map(Into::into);
        Self {
            delivery,
            ids,
            record,
            span,
            part,
            issued_at: command.issued_at,
            num_open: num_tasks,
            counts: TaskCounts::default(),
            failures: Vec::new(),
            num_failures: 0,
            failure_class: "source_error",
            attempts: 0,
            received_at: Instant::now(),
            awaited_as: command.correlation_id.clone().filter(|_| command.reports_outcome),
        }
    }

    /// The outcome for a sender that waits for it.
    pub fn outcome(&self) -> Option<CommandEnded> {
        let correlation_id = self.awaited_as.clone()?;
        let (command, counts) = (self.delivery.command().to_string(), self.counts.clone());
        Some(CommandEnded { correlation_id, command, counts, num_failed: self.num_failures })
    }

    /// Records a permanently failed task.
    pub fn fail(&mut self, subject: Subject, class: &'static str, reason: String) {
        self.num_failures += 1;
        self.failure_class = class;
        if self.failures.len() < MAX_NAMED_FAILURES {
            self.failures.push((subject, reason));
        }
    }

    /// The text of the failures for the dead letter.
    pub fn failure_text(&self) -> String {
        let named: Vec<String> = self.failures.iter().map(|(subject, reason)| format!("{subject}: {reason}")).collect();
        let unnamed = self.num_failures - self.failures.len();
        let more = if unnamed > 0 { format!("; and {unnamed} more") } else { String::new() };
        format!("{} failed: {}{more}", counted_len(self.num_failures, "task"), named.join("; "))
    }
}

/// The id of an open command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandId(pub u64);

/// A task that waits for a fetch slot.
#[derive(Debug, Clone, Copy)]
pub struct QueuedTask {
    /// The command of the task.
    pub command: CommandId,
    /// The kind of work.
    pub work: Work,
    /// The subject of the task.
    pub subject: Subject,
    /// The days of the task.
    pub range: OpenRange,
    /// The progress of the backfill before this task, if it belongs to one.
    pub backfill: BackfillDays,
    /// Number of runs that a panic ended.
    pub num_crashes: u32,
}

impl QueuedTask {
    /// Creates a task that has not run yet.
    pub fn new(command: CommandId, work: Work, subject: Subject, range: OpenRange) -> Self {
        Self { command, work, subject, range, backfill: BackfillDays::default(), num_crashes: 0 }
    }

    /// The follow-up task for another range.
    pub fn next(self, range: OpenRange, backfill: BackfillDays) -> Self {
        Self { range, backfill, num_crashes: 0, ..self }
    }
}

/// A running task.
pub struct OpenTask {
    /// The task, which is queued again if this run is interrupted.
    pub task: QueuedTask,
    /// Whether it occupies a fetch slot.
    pub holds_slot: bool,
    /// Start of this run.
    pub begun_at: Instant,
}
