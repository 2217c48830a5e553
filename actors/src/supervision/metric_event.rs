// Upstream: many
// Downstream: domain, ports
// Role: Events for metrics, and the port through which an observer receives them.

use std::fmt::Debug;
use std::time::Duration;

use crate::domain::TaskCounts;
use crate::ports::{SourceError, StoreError};

/// An event for metrics. Each event is reported once to the [`crate::supervision::StatusBoard`]. The board counts what
/// the actors and the heartbeat need and forwards the event to its [`Observer`].
#[derive(Debug)]
pub enum MetricEvent<'a> {
    /// A command was resolved.
    CommandEnded(CommandOutcome),
    /// A task run ended.
    TaskEnded {
        /// The outcome.
        outcome: TaskEnd<'a>,
        /// Time since the start of the run.
        duration: Duration,
    },
    /// A request to a source ended.
    FetchEnded {
        /// The name of the source.
        source: &'static str,
        /// The error; `None` on success.
        error: Option<&'a SourceError>,
        /// Duration of the request.
        duration: Duration,
    },
    /// A fetch failed and will be retried after a wait.
    FetchRetried {
        /// The error.
        error: &'a SourceError,
        /// The wait.
        wait: Duration,
    },
    /// An INSERT of a batch ended.
    InsertEnded {
        /// Number of rows in the batch.
        rows: usize,
        /// The error; `None` on success.
        error: Option<&'a StoreError>,
        /// Duration of the request.
        duration: Duration,
    },
    /// A statement failed in the store and will be retried.
    StoreRetried(&'a StoreError),
    /// A heartbeat was sent.
    HeartbeatSent {
        /// Whether the heartbeat store accepted it.
        arrived: bool,
    },
}

/// The outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// All its tasks are done.
    Done,
    /// Ignored: the command is for another component or another consumer.
    PassedOver,
    /// It was split and published in parts.
    Split,
    /// It is recorded in the dead-letter topic with this reason class.
    DeadLetter(&'static str),
}

/// The outcome of a task run.
#[derive(Debug, Clone, Copy)]
pub enum TaskEnd<'a> {
    /// The rows are stored, or there was nothing to store.
    Done {
        /// Row counts by outcome.
        counts: &'a TaskCounts,
        /// Time from the command's timestamp or from the market close until now, as set by `quality.delay_basis`;
        /// `None` if undefined.
        delay: Option<Duration>,
    },
    /// No configured source has this kind of security.
    NotOffered,
    /// The fetch failed.
    Failed,
    /// The run was interrupted. The task runs again.
    Lost,
}

/// Receives all events. It is called on the actors' threads, so it must not block.
pub trait Observer: Debug + Send + Sync {
    /// Handles one event.
    fn observe(&self, observation: &MetricEvent<'_>);
}

/// An observer that ignores all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&self, _observation: &MetricEvent<'_>) {}
}
