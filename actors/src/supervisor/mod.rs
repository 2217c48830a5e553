// Upstream: none
// Downstream: actor, messages, parts
// Role: The Supervisor: starts the actors and controls the worker from startup to shutdown.

//! The Supervisor: starts the actors and controls the worker from startup to shutdown.

/// The actor.
mod actor;
/// Startup and shutdown.
mod lifecycle;
#[cfg(test)]
mod lifecycle_tests;
/// Messages to the Supervisor.
mod messages;
/// The ports of a worker.
mod parts;
/// Starts the actors.
mod spawn;

pub use actor::Supervisor;
pub use messages::{ExitReport, ReloadWanted, Stop};
pub use parts::{Placement, WorkerParts};
