// Upstream: actor, config_actor, supervisor
// Downstream: settings
// Role: Messages to the ConfigActor.

use std::sync::Arc;

use actix::prelude::*;

use crate::settings::ActorSettings;

/// Read the configuration anew and put it in force, as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Reload {
    /// What asked for it, for the log: an order, a signal, a change of the file.
    pub cause: &'static str,
    /// The id of the order, repeated in the answer.
    pub correlation_id: Option<String>,
}

/// The settings in force and their generation.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "SettingsInForce")]
pub struct CurrentSettings;

/// An answer to [`CurrentSettings`].
#[derive(Debug, Clone, MessageResponse)]
pub struct SettingsInForce {
    /// 1 at the start; one more with each change.
    pub generation: u64,
    /// The settings.
    pub settings: Arc<ActorSettings>,
}
