// Upstream: config_actor, data_worker, ports, supervisor
// Downstream: settings
// Role: The port to the configuration.

use std::time::Duration;

use async_trait::async_trait;

use crate::settings::ActorSettings;

/// Where the configuration comes from.
#[async_trait]
pub trait ConfigSource: Send + Sync {
    /// Reads the configuration anew, checks it, and builds what its changes need; nothing takes effect yet.
    async fn prepare(&self) -> Result<PreparedConfig, ConfigRefused>;

    /// How long a stop may take, as the configuration in force says.
    fn drain_deadline(&self) -> Duration;
}

/// A configuration that can be put in force.
pub struct PreparedConfig {
    /// The actors' part.
    pub settings: ActorSettings,
    /// The paths of the settings that differ from those in force; none: there is nothing to do.
    pub changed: Vec<String>,
    /// Puts the rest in force, at once and without failing.
    pub install: Box<dyn FnOnce() + Send>,
}

/// A configuration that cannot be put in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct ConfigRefused {
    /// Everything that is wrong: place, setting, reason; no secrets.
    pub problems: Vec<String>,
}
