// Upstream: many
// Downstream: none
// Role: Messages to the Supervisor, and the exit report of the worker.

use actix::prelude::*;

/// Drains and stops the worker: accept no new commands, finish the work in progress, commit offsets, send the last
/// messages.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// The reason, for the log.
    pub reason: String,
}

/// Reads the configuration again.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct ReloadWanted {
    /// What requested the reload, for the log.
    pub cause: &'static str,
}

/// The result of a worker's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReport {
    /// All work in progress was written and committed.
    Drained,
    /// The drain deadline passed first. Contains a description of the unfinished work. Unresolved commands are
    /// delivered again after the next start.
    DrainedTooLate(String),
    /// The start failed, or an actor failed too often. Contains the reason.
    Failed(String),
}
