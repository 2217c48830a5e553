// Upstream: actor, command_router, job_part, quality_monitor, store_retry, supervisor
// Downstream: domain, ports
// Role: Messages to the QualityMonitor.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::domain::{JobKey, SourceStats, Subject, TaskReport};
use crate::ports::{SourceError, StoreError};

/// A task ended well.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TaskFinished {
    /// What the task was about.
    pub subject: Subject,
    /// The job it belongs to.
    pub job: Arc<JobKey>,
    /// What it brought.
    pub report: TaskReport,
    /// How late its rows are readable, if it is known.
    pub delay: Option<Duration>,
    /// Who was asked.
    pub sources: SourceStats,
}

/// A task failed for good.
#[derive(Message)]
#[rtype(result = "()")]
pub struct TaskFailed {
    /// What the task was about.
    pub subject: Subject,
    /// The job it belongs to.
    pub job: Arc<JobKey>,
    /// Why.
    pub error: SourceError,
    /// Who was asked.
    pub sources: SourceStats,
}

/// A command could not be carried out.
#[derive(Message)]
#[rtype(result = "()")]
pub struct CommandRefused {
    /// Why.
    pub reason: String,
}

/// A store does not take what it keeps; sent with each failed try once an outage is one.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StoreFailing {
    /// What it keeps.
    pub keeps: &'static str,
    /// The last error.
    pub error: StoreError,
    /// Since the first failure.
    pub lasting: Duration,
}

/// The store takes it again.
#[derive(Message)]
#[rtype(result = "()")]
pub struct StoreRecovered {
    /// What it keeps.
    pub keeps: &'static str,
    /// How long it did not.
    pub lasted: Duration,
}

/// The worker drains: send what is not sent yet. The answer comes when it is out, or given up.
#[derive(Message)]
#[rtype(result = "()")]
pub struct SendWhatIsLeft;

/// A command of a job begins.
#[derive(Message)]
#[rtype(result = "()")]
pub struct JobCommandBegun(pub Arc<JobKey>);

/// A command of a job is over, or given back.
#[derive(Message)]
#[rtype(result = "()")]
pub struct JobCommandEnded(pub Arc<JobKey>);
