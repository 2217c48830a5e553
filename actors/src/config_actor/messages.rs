// Upstream: actor, config_actor, supervisor
// Downstream: settings
// Role: Messages to the ConfigActor.

use std::sync::Arc;

use actix::prelude::*;

use crate::settings::ActorSettings;

/// Reloads the configuration and applies it as a whole or not at all.
#[derive(Debug, Clone, PartialEq, Eq, Message)]
#[rtype(result = "()")]
pub struct Reload {
    /// What requested the reload, for the log: an operator order, a signal or a change of the file.
    pub cause: &'static str,
    /// The correlation id of the operator order, repeated in the answer.
    pub correlation_id: Option<String>,
}

/// Requests the active settings and their generation.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "ActiveSettings")]
pub struct CurrentSettings;

/// The answer to [`CurrentSettings`].
#[derive(Debug, Clone, MessageResponse)]
pub struct ActiveSettings {
    /// 1 at the start of the worker; incremented with each applied change.
    pub generation: u64,
    /// The active settings.
    pub settings: Arc<ActorSettings>,
}
