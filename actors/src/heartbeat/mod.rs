// Upstream: none
// Downstream: actor, messages
// Role: The Heartbeat actor: writes the worker's status to the heartbeat store.

//! The Heartbeat actor: writes the worker's status to the heartbeat store.

/// The actor.
mod actor;
/// Messages to the Heartbeat.
mod messages;
/// Builds the status.
mod status;

pub use actor::Heartbeat;
pub use messages::{RemoveHeartbeat, SendHeartbeatNow};
