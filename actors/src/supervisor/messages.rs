// Upstream: actor, data_worker, lifecycle, simulation, supervisor
// Downstream: none
// Role: Messages to the Supervisor, and how the worker ended.

use actix::prelude::*;

/// Stop in order: take no new commands, finish what is begun, commit, say goodbye.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// Why, for the log.
    pub reason: String,
}

/// Read the configuration anew.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct ReloadWanted {
    /// What asks for it, for the log.
    pub cause: &'static str,
}

/// How the worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReport {
    /// All that was begun is written and committed.
    Drained,
    /// The deadline came first; which part was late. What was not finished is handed out again at the next start.
    DrainedTooLate(String),
    /// It could not start, or an actor kept failing.
    Failed(String),
}
