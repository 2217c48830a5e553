// Upstream: many
// Downstream: none
// Role: The port to the heartbeat store.

use std::time::Duration;

use async_trait::async_trait;

/// A store of heartbeats.
#[async_trait]
pub trait HeartbeatStore: Send + Sync {
    /// Sets this worker's heartbeat. It expires after `ttl` unless it is set again. Returns the heartbeat that another
    /// process has written since this worker's last one, if there is one: its node id is the same.
    async fn beat(&self, value: &str, ttl: Duration) -> Result<Option<String>, HeartbeatError>;

    /// Removes this worker's heartbeat; that of another process stays.
    async fn remove(&self) -> Result<(), HeartbeatError>;

    /// Claims a piece of work for this worker: of all workers with this store, only the first gets `true`, until `ttl`
    /// has passed.
    async fn claim(&self, work: &str, ttl: Duration) -> Result<bool, HeartbeatError>;
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
