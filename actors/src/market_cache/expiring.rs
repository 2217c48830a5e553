// Upstream: facts, last_closes
// Downstream: none
// Role: A cached value with an expiry time; callers share one read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A cached value with an expiry time.
pub struct Expiring<T> {
    cached: Mutex<Option<Cached<T>>>,
    /// Held during a read.
    read_lock: tokio::sync::Mutex<()>,
}

struct Cached<T> {
    value: Arc<T>,
    /// The generation of the store that was read. Values of other generations are discarded.
    generation: u64,
    expires_at: Instant,
}

impl<T> Default for Expiring<T> {
    fn default() -> Self {
        Self { cached: Mutex::new(None), read_lock: tokio::sync::Mutex::new(()) }
    }
}

impl<T> Expiring<T> {
    /// The value. If it is expired, the first caller reads it again; other callers get the expired value meanwhile.
    /// They wait only if there is no value yet. `read` receives the previous value and returns the new one with its
    /// lifetime.
    pub async fn current(&self, generation: u64, read: impl AsyncFnOnce(Option<Arc<T>>) -> (T, Duration)) -> Arc<T> {
        let (before, is_fresh) = self.cached(generation);
        let _read_lock = match (before, self.read_lock.try_lock()) {
            (Some(before), _) if is_fresh => return before,
            (_, Ok(read_lock)) => read_lock,
            (Some(before), Err(_)) => return before,
            (None, Err(_)) => self.read_lock.lock().await,
        };
        let before = match self.cached(generation) {
            (Some(before), true) => return before,
            (before, _) => before,
        };
        self.read_and_keep(generation, before, read).await
    }

    /// Reads the value again, even if it has not expired.
    pub async fn refresh(&self, generation: u64, read: impl AsyncFnOnce(Option<Arc<T>>) -> (T, Duration)) -> Arc<T> {
        let _read_lock = self.read_lock.lock().await;
        self.read_and_keep(generation, self.cached(generation).0, read).await
    }

    async fn read_and_keep(
        &self,
        generation: u64,
        before: Option<Arc<T>>,
        read: impl AsyncFnOnce(Option<Arc<T>>) -> (T, Duration),
    ) -> Arc<T> {
        let (value, lifetime) = read(before).await;
        let value = Arc::new(value);
        let cached = Cached { value: value.clone(), generation, expires_at: Instant::now() + lifetime };
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some(cached);
        value
    }

    /// The cached value of this generation, and whether it is fresh (not expired).
    fn cached(&self, generation: u64) -> (Option<Arc<T>>, bool) {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        match cached.as_ref().filter(|cached| cached.generation == generation) {
            Some(cached) => (Some(cached.value.clone()), Instant::now() < cached.expires_at),
            None => (None, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const LIFETIME: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn shares_one_read_and_serves_stale_value_meanwhile() {
        let (value, reads) = (Expiring::default(), AtomicU32::new(0));
        let read = async |before: Option<Arc<u32>>| {
            reads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            (before.map_or(1, |before| *before + 1), LIFETIME)
        };
        let (first, second) = tokio::join!(value.current(1, read), value.current(1, read));
        assert_eq!((*first, *second, reads.load(Ordering::SeqCst)), (1, 1, 1));
        tokio::time::advance(LIFETIME).await;
        let (reader, other) = tokio::join!(value.current(1, read), value.current(1, read));
        assert_eq!((*reader, *other), (2, 1), "the other caller does not wait");
        assert_eq!(*value.current(1, read).await, 2);
        assert_eq!(*value.refresh(1, read).await, 3, "although it has not expired");
        assert_eq!(*value.current(1, read).await, 3);
        assert_eq!(*value.current(2, read).await, 1, "values of another generation are discarded");
    }
}
