// Upstream: data_worker, heartbeat, ports, simulation, supervisor, tests::simulate
// Downstream: none
// Role: The port to the heartbeat store.

use std::time::Duration;

use async_trait::async_trait;

/// A store of heartbeats.
#[async_trait]
pub trait HeartbeatStore: Send + Sync {
    /// Sets this worker's heartbeat. It expires after `ttl` unless it is set again.
    async fn beat(&self, value: &str, ttl: Duration) -> Result<(), HeartbeatError>;

    /// Removes this worker's heartbeat.
    async fn remove(&self) -> Result<(), HeartbeatError>;
}

/// An error of the heartbeat store.
#[derive(Debug, Clone, thiserror::Error)]
#[error("heartbeat store {store}: {reason}")]
pub struct HeartbeatError {
    /// Address and key; contains no credentials.
    pub store: String,
    /// The reason.
    pub reason: String,
}
