// Upstream: facts, last_closes
// Downstream: none
// Role: A value that is read now and then, by one for all, and believed for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A value with its expiry.
pub struct Expiring<T> {
    known: Mutex<Option<Known<T>>>,
    /// Held by the one who reads.
    reading: tokio::sync::Mutex<()>,
}

struct Known<T> {
    value: Arc<T>,
    /// Of the store that said it: what another one said counts for nothing.
    generation: u64,
    believed_until: Instant,
}

impl<T> Default for Expiring<T> {
    fn default() -> Self {
        Self { known: Mutex::new(None), reading: tokio::sync::Mutex::new(()) }
    }
}

impl<T> Expiring<T> {
    /// The value. Who finds it expired reads it anew, knowing what it was; others take what is there meanwhile, and only wait
    /// where nothing is known yet. `read` also says for how long its value is to be believed.
    pub async fn current(&self, generation: u64, read: impl AsyncFnOnce(Option<Arc<T>>) -> (T, Duration)) -> Arc<T> {
        let (before, is_fresh) = self.known(generation);
        let _reading = match (before, self.reading.try_lock()) {
            (Some(before), _) if is_fresh => return before,
            (_, Ok(reading)) => reading,
            (Some(before), Err(_)) => return before,
            (None, Err(_)) => self.reading.lock().await,
        };
        let before = match self.known(generation) {
            (Some(before), true) => return before,
            (before, _) => before,
        };
        self.read_and_keep(generation, before, read).await
    }

    /// The value read anew, however fresh what is known may be.
    pub async fn refresh(&self, generation: u64, read: impl AsyncFnOnce(Option<Arc<T>>) -> (T, Duration)) -> Arc<T> {
        let _reading = self.reading.lock().await;
        self.read_and_keep(generation, self.known(generation).0, read).await
    }

    async fn read_and_keep(
        &self,
        generation: u64,
        before: Option<Arc<T>>,
        read: impl AsyncFnOnce(Option<Arc<T>>) -> (T, Duration),
    ) -> Arc<T> {
        let (value, belief) = read(before).await;
        let value = Arc::new(value);
        let known = Known { value: value.clone(), generation, believed_until: Instant::now() + belief };
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
        value
    }

    /// What is known, and whether it is still believed.
    fn known(&self, generation: u64) -> (Option<Arc<T>>, bool) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref().filter(|known| known.generation == generation) {
            Some(known) => (Some(known.value.clone()), Instant::now() < known.believed_until),
            None => (None, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const MAX_FACT_AGE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn shares_one_read_and_serves_stale_value_meanwhile() {
        let (value, reads) = (Expiring::default(), AtomicU32::new(0));
        let read = async |before: Option<Arc<u32>>| {
            reads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            (before.map_or(1, |before| *before + 1), MAX_FACT_AGE)
        };
        let (first, second) = tokio::join!(value.current(1, read), value.current(1, read));
        assert_eq!((*first, *second, reads.load(Ordering::SeqCst)), (1, 1, 1));
        tokio::time::advance(MAX_FACT_AGE).await;
        let (reader, other) = tokio::join!(value.current(1, read), value.current(1, read));
        assert_eq!((*reader, *other), (2, 1), "the other does not wait");
        assert_eq!(*value.current(1, read).await, 2);
        assert_eq!(*value.refresh(1, read).await, 3, "although it is believed");
        assert_eq!(*value.current(1, read).await, 3);
        assert_eq!(*value.current(2, read).await, 1, "what another store said is not even known");
    }
}
