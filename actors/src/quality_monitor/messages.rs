// Upstream: many
// Downstream: domain, pipeline, ports
// Role: Messages to the QualityMonitor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;

use crate::domain::{ControlCommand, JobKey, RawCommand, SourceStats, Subject, TaskCounts, TaskReport};
use crate::pipeline::TaskError;
use crate::ports::StoreError;

/// A task succeeded.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TaskFinished {
    /// The subject of the task.
    pub subject: Subject,
    /// The job it belongs to.
    pub job: Arc<JobKey>,
    /// Its results.
    pub report: TaskReport,
    /// The delay until its rows are readable; `None` if undefined (see `quality.delay_basis`).
    pub delay: Option<Duration>,
    /// The source calls of the task.
    pub sources: SourceStats,
}

/// A task failed permanently.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TaskFailed {
    /// The subject of the task.
    pub subject: Subject,
    /// The job it belongs to.
    pub job: Arc<JobKey>,
    /// The error.
    pub error: TaskError,
    /// The source calls of the task.
    pub sources: SourceStats,
}

/// A command was rejected.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CommandRefused {
    /// The reason.
    pub reason: String,
    /// Whether its dead letter is recorded.
    pub is_recorded: Recorded,
}

/// Whether a dead letter is recorded, shared by who records it and who reports the command.
#[derive(Debug, Clone, Default)]
pub struct Recorded(Arc<AtomicBool>);

impl Recorded {
    /// The broker has acknowledged the dead letter.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the broker has acknowledged the dead letter.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// All tasks of a command ended whose sender waits for the row counts.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CommandEnded {
    /// The correlation id of the sender's job.
    pub correlation_id: String,
    /// The position of the command: `topic[partition]@offset`.
    pub command: String,
    /// The row counts of its tasks.
    pub counts: TaskCounts,
    /// The number of its tasks that failed permanently.
    pub num_failed: usize,
}

/// A store is unavailable. Sent with each failed attempt after the outage is established.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StoreFailing {
    /// The kind of data in the store.
    pub data_name: &'static str,
    /// The last error.
    pub error: StoreError,
    /// Time since the first failure.
    pub lasting: Duration,
    /// Whether the worker waits for the end of the outage. If not, what cannot be stored is given up.
    pub is_awaited: bool,
}

/// A store is available again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct StoreRecovered {
    /// The kind of data in the store.
    pub data_name: &'static str,
    /// Whether a write succeeded. A read that succeeds proves nothing about writes.
    pub is_write: bool,
    /// Duration of the outage.
    pub lasted: Duration,
}

/// Publishes all pending reports and alerts, because the worker drains. Answered when they are published or given up.
#[derive(Message)]
#[rtype(result = "()")]
pub struct PublishPending;

/// A command of a job begins.
#[derive(Message)]
#[rtype(result = "()")]
pub struct JobCommandBegun {
    /// The job.
    pub job: Arc<JobKey>,
    /// Whether the command was sent again from a dead letter.
    pub is_replay: bool,
    /// The id of the request that it belongs to.
    pub trace_id: Option<Arc<str>>,
}

impl JobCommandBegun {
    /// The begin of this command, whose Ginkgo name is `name`.
    pub fn of(command: &ControlCommand, name: &'static str, raw: &RawCommand) -> Self {
        Self {
            job: Arc::new(JobKey::of(command, name)),
            is_replay: raw.replay.is_some(),
            trace_id: command.trace_ids(raw).trace,
        }
    }
}

/// A command of a job ended or was returned to the feed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct JobCommandEnded(pub Arc<JobKey>);
