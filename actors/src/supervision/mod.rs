// Upstream: none
// Downstream: many
// Role: Restarts actors after a panic, and tracks the health of the actors and the progress of the work.

//! Supervision of actors. The Supervisor of actix does not restart an actor after a panic; [`supervise`] does.

/// The shared status of the worker.
mod board;
/// Counters and gauges.
mod counters;
/// Events for metrics.
mod metric_event;
/// Progress of the work and of the actors.
mod progress;
/// Sources that refuse the account.
mod refused_sources;
/// Limits and delays of actor restarts.
mod restart_policy;
/// The future that runs an actor.
mod supervised;
#[cfg(test)]
mod supervised_tests;
/// An actor's connection to the status board.
mod vitals;

pub use board::StatusBoard;
pub use counters::{Counter, Counters};
pub use metric_event::{CommandOutcome, MetricEvent, NoObserver, Observer, TaskEnd};
pub use progress::{ActorSnapshot, Health, Progress, Stalled};
pub use refused_sources::{RefusedSource, RefusedSources, Waiting};
pub use restart_policy::RestartPolicy;
pub use supervised::{ActorGaveUp, supervise};
pub use vitals::Vitals;
