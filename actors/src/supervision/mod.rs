// Upstream: none
// Downstream: actors::supervision::board, actors::supervision::restart_policy, actors::supervision::supervised, actors::supervision::vitals
// Role: Runs actors so that a panic restarts them, and knows whether they live and whether work moves.

//! actix's own Supervisor does not restart an actor that panics. This one does: see [`supervised`].

/// What is known of the running worker.
pub mod board;
/// How often and how fast a failed actor is restarted.
pub mod restart_policy;
/// The supervising future.
pub mod supervised;
#[cfg(test)]
mod supervised_tests;
/// What an actor carries of its supervision.
pub mod vitals;

pub use board::{ActorLook, Board, Counter, Health, Late};
pub use restart_policy::RestartPolicy;
pub use supervised::{ActorGaveUp, supervise};
pub use vitals::Vitals;
