// Upstream: none
// Downstream: actor, messages
// Role: The ConfigActor: holds the active configuration and applies a new one.

//! The ConfigActor: holds the active configuration and applies a new one.

/// The actor.
mod actor;
/// Messages to the ConfigActor.
mod messages;

pub use actor::ConfigActor;
pub use messages::{ActiveSettings, CurrentSettings, Reload};
