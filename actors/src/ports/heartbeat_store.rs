// Upstream: many
// Downstream: none
// Role: The port to the heartbeat store.

use std::sync::Arc;
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

    /// Notes, until `ttl` has passed, that the bar store has acknowledged this number of rows for each of these tasks.
    /// A store that only one process uses notes nothing: its tasks are known to that process alone.
    async fn note_stored(&self, _tasks: &[(Arc<str>, u64)], _ttl: Duration) -> Result<(), HeartbeatError> {
        Ok(())
    }

    /// The number of rows noted for a task; `None` if there is no note.
    async fn noted_rows(&self, _task: &str) -> Result<Option<u64>, HeartbeatError> {
        Ok(None)
    }
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
