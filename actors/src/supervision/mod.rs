// Upstream: none
// Downstream: many
// Role: Runs actors so that a panic restarts them, and knows whether they live and whether work moves.

//! actix's own Supervisor does not restart an actor that panics; [`supervise`] does.

/// What all actors know of the running worker.
mod board;
/// Numbers that actors add to.
mod counters;
/// What the worker reports to metrics.
mod metric_event;
/// Whether work moves.
mod progress;
/// How often and how fast a failed actor is restarted.
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
pub use restart_policy::RestartPolicy;
pub use supervised::{ActorGaveUp, supervise};
pub use vitals::Vitals;
