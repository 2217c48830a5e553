// Upstream: many
// Downstream: domain, pipeline, ports
// Role: Messages to the QualityMonitor.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::domain::{JobKey, SourceStats, Subject, TaskReport};
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
pub struct JobCommandBegun(pub Arc<JobKey>);

/// A command of a job ended or was returned to the feed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct JobCommandEnded(pub Arc<JobKey>);
