// Upstream: none
// Downstream: actor, messages, parts
// Role: The Supervisor: starts the actors, and leads the worker from start to stop.

//! The Supervisor: starts the actors, and leads the worker from start to stop.

/// The actor.
mod actor;
/// Start and drain.
mod lifecycle;
/// Messages to the Supervisor.
mod messages;
/// The ports of a worker.
mod parts;
/// Starts the actors.
mod spawn;

pub use actor::Supervisor;
pub use messages::{ExitReport, ReloadWanted, Stop};
pub use parts::{Placement, WorkerParts};
