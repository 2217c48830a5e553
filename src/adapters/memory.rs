// Upstream: app
// Downstream: actors
// Role: Keeps the heartbeat of the standalone worker in memory instead of Redis.

//! Heartbeats in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actors::ports::{HeartbeatError, HeartbeatStore};
use async_trait::async_trait;

/// One heartbeat. It expires after its time to live, like a key in Redis.
#[derive(Debug, Default)]
pub struct MemoryHeartbeats {
    last: Mutex<Option<Beat>>,
    claims: Mutex<BTreeMap<String, Instant>>,
}

#[derive(Debug)]
struct Beat {
    value: String,
    vanishes_at: Instant,
}

impl MemoryHeartbeats {
    /// The current heartbeat; `None` if there is none or if it has expired.
    pub fn current(&self) -> Option<String> {
        let last = self.lock();
        last.as_ref().filter(|beat| Instant::now() < beat.vanishes_at).map(|beat| beat.value.clone())
    }

    /// Ignores lock poisoning: each update replaces the value as a whole.
    fn lock(&self) -> MutexGuard<'_, Option<Beat>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl HeartbeatStore for MemoryHeartbeats {
    async fn beat(&self, value: &str, ttl: Duration) -> Result<Option<String>, HeartbeatError> {
        *self.lock() = Some(Beat { value: value.to_owned(), vanishes_at: Instant::now() + ttl });
        Ok(None)
    }

    async fn remove(&self) -> Result<(), HeartbeatError> {
        *self.lock() = None;
        Ok(())
    }

    async fn claim(&self, work: &str, ttl: Duration) -> Result<bool, HeartbeatError> {
        let mut claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        claims.retain(|_, ends_at| now < *ends_at);
        let is_free = !claims.contains_key(work);
        if is_free {
            claims.insert(work.to_owned(), now + ttl);
        }
        Ok(is_free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn heartbeat_lasts_until_removal_or_expiry() {
        let heartbeats = MemoryHeartbeats::default();
        assert_eq!(heartbeats.current(), None);
        heartbeats.beat("first", Duration::from_secs(60)).await.unwrap();
        heartbeats.beat("second", Duration::from_secs(60)).await.unwrap();
        assert_eq!(heartbeats.current().as_deref(), Some("second"));
        heartbeats.remove().await.unwrap();
        assert_eq!(heartbeats.current(), None);
        heartbeats.beat("third", Duration::ZERO).await.unwrap();
        assert_eq!(heartbeats.current(), None, "it has expired");
    }

    #[tokio::test]
    async fn a_claim_is_free_again_after_its_time() {
        let heartbeats = MemoryHeartbeats::default();
        let minute = Duration::from_secs(60);
        assert!(heartbeats.claim("a", minute).await.unwrap());
        assert!(!heartbeats.claim("a", minute).await.unwrap());
        assert!(heartbeats.claim("b", Duration::ZERO).await.unwrap());
        assert!(heartbeats.claim("b", minute).await.unwrap(), "the first has expired");
    }
}
