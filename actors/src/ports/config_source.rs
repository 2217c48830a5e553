// Upstream: config_actor, data_worker, ports, simulation, supervisor
// Downstream: settings
// Role: The port to the configuration.

use std::time::Duration;

use async_trait::async_trait;

use crate::settings::ActorSettings;

/// The source of the configuration.
#[async_trait]
pub trait ConfigSource: Send + Sync {
    /// Reads and validates the configuration and builds the objects that its changes require. Nothing takes effect yet.
    async fn prepare(&self) -> Result<PreparedConfig, ConfigRefused>;

    /// The maximum duration of a shutdown, according to the active configuration.
    fn drain_deadline(&self) -> Duration;
}

/// A configuration that is ready to be applied.
pub struct PreparedConfig {
    /// The settings of the actors.
    pub settings: ActorSettings,
    /// The paths of the settings that differ from the active ones; empty if there is nothing to change.
    pub changed: Vec<String>,
    /// Applies the rest of the configuration. It takes effect immediately and cannot fail.
    pub install: Box<dyn FnOnce() + Send>,
}

/// A rejected configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct ConfigRefused {
    /// All problems, each with place, setting and reason; contains no secrets.
    pub problems: Vec<String>,
}
