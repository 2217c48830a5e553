// Upstream: many
// Downstream: domain, ports
// Role: What happens in the worker that is worth counting, and the port through which whoever counts hears of it.

use std::fmt::Debug;
use std::time::Duration;

use crate::domain::TaskCounts;
use crate::ports::{SourceError, StoreError};

/// Something that happened. Each is said once, where it happens, to the [`crate::supervision::StatusBoard`], which counts what
/// the actors and the heartbeat need and passes it on to its [`Observer`].
#[derive(Debug)]
pub enum MetricEvent<'a> {
    /// A command was resolved.
    CommandEnded(CommandOutcome),
    /// A run of a task ended.
    TaskEnded {
        /// How.
        outcome: TaskEnd<'a>,
        /// From the task's start until now.
        duration: Duration,
    },
    /// A source answered, or did not.
    FetchEnded {
        /// Its name.
        source: &'static str,
        /// The error, if it was one.
        error: Option<&'a SourceError>,
        /// How long it took.
        duration: Duration,
    },
    /// A fetch failed and is tried again after a wait.
    FetchRetried {
        /// Why.
        error: &'a SourceError,
        /// The wait.
        wait: Duration,
    },
    /// A batch was sent to the store.
    InsertEnded {
        /// Its rows.
        rows: usize,
        /// The error, if it was one.
        error: Option<&'a StoreError>,
        /// How long it took.
        duration: Duration,
    },
    /// A statement of the store failed and is tried again.
    StoreRetried(&'a StoreError),
    /// A heartbeat was sent.
    HeartbeatSent {
        /// Whether the heartbeat store has it.
        arrived: bool,
    },
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandOutcome {
    /// All its tasks are done.
    Done,
    /// Another component or another consumer acts on it.
    PassedOver,
    /// It was published anew in parts.
    Split,
    /// It is recorded in the dead-letter topic, for a reason of this class.
    DeadLetter(&'static str),
}

/// How a task's run ended.
#[derive(Debug, Clone, Copy)]
pub enum TaskEnd<'a> {
    /// Its rows are in the store, or there was nothing to store.
    Done {
        /// Its rows by what became of them.
        counts: &'a TaskCounts,
        /// From the command's own timestamp until now.
        delay: Option<Duration>,
    },
    /// The source did not give them.
    Failed,
    /// It was cut off, and runs again.
    Lost,
}

/// Hears of everything. Called on the actors' threads, so it must not block.
pub trait Observer: Debug + Send + Sync {
    /// Something happened.
    fn observe(&self, observation: &MetricEvent<'_>);
}

/// Nobody counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn observe(&self, _observation: &MetricEvent<'_>) {}
}
