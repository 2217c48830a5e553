// Upstream: app
// Downstream: actors
// Role: One worker's heartbeat in memory, in place of Redis, for the standalone worker.

//! Heartbeats without a server.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actors::ports::{HeartbeatError, HeartbeatStore};
use async_trait::async_trait;

/// One heartbeat, which vanishes like a key in Redis unless it is set again.
#[derive(Debug, Default)]
pub struct MemoryHeartbeats {
    last: Mutex<Option<Beat>>,
}

#[derive(Debug)]
struct Beat {
    value: String,
    vanishes_at: Instant,
}

impl MemoryHeartbeats {
    /// The heartbeat as a reader finds it now.
    pub fn current(&self) -> Option<String> {
        let last = self.lock();
        last.as_ref().filter(|beat| Instant::now() < beat.vanishes_at).map(|beat| beat.value.clone())
    }

    /// A panic while the lock was held leaves a whole beat behind.
    fn lock(&self) -> MutexGuard<'_, Option<Beat>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HeartbeatStore for MemoryHeartbeats {
    async fn beat(&self, value: &str, ttl: Duration) -> Result<(), HeartbeatError> {
        *self.lock() = Some(Beat { value: value.to_owned(), vanishes_at: Instant::now() + ttl });
        Ok(())
    }

    async fn remove(&self) -> Result<(), HeartbeatError> {
        *self.lock() = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_heartbeat_is_there_until_it_is_removed_or_its_time_is_over() {
        let heartbeats = MemoryHeartbeats::default();
        assert_eq!(heartbeats.current(), None);
        heartbeats.beat("first", Duration::from_secs(60)).await.unwrap();
        heartbeats.beat("second", Duration::from_secs(60)).await.unwrap();
        assert_eq!(heartbeats.current().as_deref(), Some("second"));
        heartbeats.remove().await.unwrap();
        assert_eq!(heartbeats.current(), None);
        heartbeats.beat("third", Duration::ZERO).await.unwrap();
        assert_eq!(heartbeats.current(), None, "it was not set again in time");
    }
}
