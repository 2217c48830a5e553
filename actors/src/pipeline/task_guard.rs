// Upstream: many
// Downstream: domain, ports, supervision
// Role: A task's pass through the pipeline: it is settled once, and never vanishes silently.

use std::sync::Arc;

use actix::prelude::*;
use chrono::NaiveDateTime;
use tracing::Span;

use crate::domain::{OpenRange, SourceStats, Stage, Subject, TaskReport};
use crate::ports::{Assignment, SourceError};
use crate::supervision::StatusBoard;
/// One run of a task. A task that is run again gets a new id, so that a late word of the old run changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub u64);

/// How a task's run ended.
#[derive(Debug)]
pub enum TaskOutcome {
    /// Its rows are in the store, or there was nothing to store.
    Done(TaskReport),
    /// The source did not give them, after the attempts that make sense.
    Failed {
        /// The last attempt's error.
        error: SourceError,
        /// Attempts made.
        attempts: u32,
    },
    /// The run was cut off: an actor crashed, or its state was reset.
    Lost {
        /// Whether a panic was under way while it was in hand: then the task itself may be the cause.
        suspect: bool,
    },
}

/// What is noted of a task on its way.
#[derive(Debug, Default)]
pub struct TaskTrace {
    /// Who was asked for it.
    pub sources: SourceStats,
    /// The generation of the stores whose rows decided what to fetch.
    pub store_generation: u64,
    /// Days that it left to a further task.
    pub rest: Option<OpenRange>,
    /// The newest time of the rows that it newly stored, Shanghai wall clock.
    pub newest_stored: Option<NaiveDateTime>,
}

/// A task's run ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TaskSettled {
    /// Which run.
    pub task: TaskId,
    /// How.
    pub outcome: TaskOutcome,
    /// What was noted of it.
    pub trace: TaskTrace,
}

/// A task's rows reached the BatchWriter's buffer: its fetch slot is free.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct TaskBuffered(pub TaskId);

/// Who hears of tasks.
#[derive(Clone)]
pub struct TaskListener {
    /// Of their ends.
    pub settled: Recipient<TaskSettled>,
    /// Of free slots.
    pub buffered: Recipient<TaskBuffered>,
}

/// Travels with a task from actor to actor. Dropping it unsettled reports the run as lost, so that no crash can make a
/// task disappear: the CommandRouter starts it again.
pub struct TaskGuard {
    task: TaskId,
    subject: Subject,
    assignment: Assignment,
    listener: TaskListener,
    board: Arc<StatusBoard>,
    span: Span,
    stage: Stage,
    /// What is noted of the task.
    pub trace: TaskTrace,
    /// What was found out on the way, beside the rows' own checks.
    noted: TaskReport,
    settled: bool,
}

impl TaskGuard {
    /// A ticket for one run of a task, which is about to be fetched; `span` is its command's.
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

    /// What the task is about.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// The command's span: what is logged for the task is logged in it.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// Whether the command's partition went to another worker: then nothing of this task may be written any more.
    pub fn is_lost(&self) -> bool {
        self.assignment.is_lost()
    }

    /// The task's rows are buffered; its fetch slot is free.
    pub fn buffered(&mut self) {
        if self.is_upstream() {
            self.enter(Stage::Buffered);
            self.board.progress.progressed();
            self.listener.buffered.do_send(TaskBuffered(self.task));
        }
    }

    /// Something to be reported with the task when it is done.
    pub fn note(&mut self, report: TaskReport) {
        self.noted.counts.add(&report.counts);
        self.noted.anomalies.extend(report.anomalies);
    }

    /// The task is done.
    pub fn done(mut self, mut report: TaskReport) {
        let noted = std::mem::take(&mut self.noted);
        report.counts.add(&noted.counts);
        report.anomalies.extend(noted.anomalies);
        self.settle(TaskOutcome::Done(report));
    }

    /// The task failed for good.
    pub fn failed(self, error: SourceError, attempts: u32) {
        self.settle(TaskOutcome::Failed { error, attempts });
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

    /// The task goes on to another stage.
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
