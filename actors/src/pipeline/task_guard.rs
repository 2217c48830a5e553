// Upstream: many
// Downstream: domain, ports, supervision
// Role: Follows a task run through the pipeline and reports its end exactly once, also after a crash.

use std::sync::Arc;

use actix::prelude::*;
use chrono::NaiveDateTime;
use tokio::time::Instant;
use tracing::Span;

use crate::domain::{OpenRange, SourceStats, Stage, Subject, TaskReport, TraceIds};
use crate::ports::{Assignment, SourceError, StoreError};
use crate::supervision::StatusBoard;

/// The id of one run of a task. Each run has a new id, so late messages of an earlier run are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub u64);

/// The outcome of a task run.
#[derive(Debug)]
pub enum TaskOutcome {
    /// The rows are stored, or there was nothing to store.
    Done(TaskReport),
    /// The fetch failed permanently or after all attempts, or the rows cannot be stored.
    Failed {
        /// The error of the last attempt.
        error: TaskError,
        /// Number of attempts.
        attempts: u32,
    },
    /// The run was interrupted: an actor crashed or its state was reset.
    Lost {
        /// Whether the guard was dropped during a panic. Then the task itself may be the cause.
        suspect: bool,
    },
}

/// Why a task failed permanently.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TaskError {
    /// The source did not give the rows.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The table of this subject alone cannot be used, and only an operator can mend it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl TaskError {
    /// The class of the dead letter.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Source(_) => "source_error",
            Self::Store(_) => "write_error",
        }
    }
}

/// Data that is recorded about a task run on its way through the pipeline.
#[derive(Debug, Default)]
pub struct TaskTrace {
    /// The source calls of the run.
    pub sources: SourceStats,
    /// The generation of the stores whose rows determined what to fetch.
    pub store_generation: u64,
    /// Days that a further task must fetch.
    pub rest: Option<OpenRange>,
    /// The newest timestamp of the rows that the run newly stored, Shanghai wall clock.
    pub newest_stored: Option<NaiveDateTime>,
    /// The trace ids of its command.
    pub ids: TraceIds,
    /// The name of the record of its command, if it has one.
    pub record: Option<Arc<str>>,
    /// The name under which its stored rows are noted, if they are.
    pub noted_as: Option<Arc<str>>,
}

/// A task run ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TaskSettled {
    /// The id of the run.
    pub task: TaskId,
    /// The outcome of the run.
    pub outcome: TaskOutcome,
    /// The recorded data of the run.
    pub trace: TaskTrace,
}

/// The rows of a task reached the BatchWriter's buffer, so its fetch slot is free.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct TaskBuffered(pub TaskId);

/// The recipients of task messages.
#[derive(Clone)]
pub struct TaskListener {
    /// Receives the ends of task runs.
    pub settled: Recipient<TaskSettled>,
    /// Receives freed fetch slots.
    pub buffered: Recipient<TaskBuffered>,
}

/// Travels with a task run from actor to actor. If it is dropped before the end of the run is reported, it reports the
/// run as lost. So no task disappears in a crash: the CommandRouter starts it again.
pub struct TaskGuard {
    task: TaskId,
    subject: Subject,
    assignment: Assignment,
    listener: TaskListener,
    board: Arc<StatusBoard>,
    span: Span,
    stage: Stage,
    /// The recorded data of the run.
    pub trace: TaskTrace,
    /// Counts and anomalies from outside the validation of rows, merged into the final report.
    noted: TaskReport,
    settled: bool,
}

impl TaskGuard {
    /// Creates the guard of a run that is about to be fetched. `span` is the span of its command.
    pub fn new(
        task: TaskId,
        subject: Subject,
        assignment: Assignment,
        listener: TaskListener,
        board: Arc<StatusBoard>,
        span: Span,
    ) -> Self {
        let stage = Stage::Fetching;
        board.counters.tasks_in(stage).add(1);
        let (trace, noted) = (TaskTrace::default(), TaskReport::default());
        Self { task, subject, assignment, listener, board, span, stage, trace, noted, settled: false }
    }

    /// The subject of the task.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// The span of the command. Log messages of the task belong to it.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Whether the partition of the command was assigned to another worker. Then this task must not write any more.
    pub fn is_lost(&self) -> bool {
        self.assignment.is_lost()
    }

    /// When the partition of the command was assigned to this worker.
    pub fn assigned_at(&self) -> Instant {
        self.assignment.begun()
    }

    /// Whether this worker still holds the partition of the command, and work of it may start.
    pub fn is_held(&self) -> bool {
        self.assignment.is_held()
    }

    /// Whether the rows may be written to the store of this generation: no other worker writes them now, and they were
    /// fetched for what this store lacked.
    pub fn may_write_to(&self, generation: u64) -> bool {
        !self.is_lost() && self.trace.store_generation == generation
    }

    /// Reports that the rows are buffered and the fetch slot is free.
    pub fn buffered(&mut self) {
        if self.is_upstream() {
            self.enter(Stage::Buffered);
            self.board.progress.progressed();
            self.listener.buffered.do_send(TaskBuffered(self.task));
        }
    }

    /// Frees the fetch slot of a task that waits for its source, so that others with another source go on.
    pub fn free_slot(&self) {
        self.listener.buffered.do_send(TaskBuffered(self.task));
    }

    /// Adds counts and anomalies to the final report of the task.
    pub fn note(&mut self, report: TaskReport) {
        self.noted.counts.add(&report.counts);
        self.noted.anomalies.extend(report.anomalies);
    }

    /// Reports the run as done.
    pub fn done(mut self, mut report: TaskReport) {
        let noted = std::mem::take(&mut self.noted);
        report.counts.add(&noted.counts);
        report.anomalies.extend(noted.anomalies);
        self.settle(TaskOutcome::Done(report));
    }

    /// Reports the run as permanently failed.
    pub fn failed(self, error: impl Into<TaskError>, attempts: u32) {
        self.settle(TaskOutcome::Failed { error: error.into(), attempts });
    }

    fn settle(mut self, outcome: TaskOutcome) {
        self.report(outcome);
    }

    fn report(&mut self, outcome: TaskOutcome) {
        self.settled = true;
        self.board.counters.tasks_in(self.stage).subtract(1);
        if self.is_upstream() {
            self.board.progress.progressed();
        }
        self.listener.settled.do_send(TaskSettled { task: self.task, outcome, trace: std::mem::take(&mut self.trace) });
    }

    /// Moves the task to another stage.
    pub fn enter(&mut self, stage: Stage) {
        self.board.counters.tasks_in(self.stage).subtract(1);
        self.board.counters.tasks_in(stage).add(1);
        self.stage = stage;
    }

    fn is_upstream(&self) -> bool {
        matches!(self.stage, Stage::Fetching | Stage::Checking)
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if !self.settled {
            self.report(TaskOutcome::Lost { suspect: std::thread::panicking() });
        }
    }
}
