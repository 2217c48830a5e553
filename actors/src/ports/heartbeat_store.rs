// Upstream: data_worker, heartbeat, ports, supervisor
// Downstream: none
// Role: The port to heartbeats.

use std::time::Duration;

use async_trait::async_trait;

/// Where heartbeats go.
#[async_trait]
pub trait HeartbeatStore: Send + Sync {
    /// Sets this worker's heartbeat, to vanish after `ttl` unless it is set again.
    async fn beat(&self, value: &str, ttl: Duration) -> Result<(), HeartbeatError>;

    /// Removes it.
    async fn remove(&self) -> Result<(), HeartbeatError>;
}

/// A heartbeat that could not be set.
#[derive(Debug, Clone, thiserror::Error)]
#[error("heartbeat store {store}: {reason}")]
pub struct HeartbeatError {
    /// Address and key; no credentials.
    pub store: String,
    /// Why.
    pub reason: String,
}
