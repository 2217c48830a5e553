// Upstream: cross_section, suspensions
// Downstream: ports
// Role: Caches whole-day answers of sources; tasks that need the same day share one call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::NaiveDate;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::ports::SourceError;

/// Maximum age of a cached answer. The commands of an evening arrive within seconds, and a vendor adds data to the
/// newest day for hours after the close.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// Maximum age of an answer that a task uses although few tasks wait: it is one of the last of an evening's. A command
/// that comes alone later gets an answer of its own.
const JUST_NOW: Duration = Duration::from_secs(10);

/// Maximum number of days in a range that are requested as whole days: two weeks of trading and a holiday between them.
/// Longer gaps are rare and requested code by code. The limit also bounds the memory: a day of the whole market takes
/// about 1 MB.
pub const MAX_DAYS: usize = 12;

/// Maximum number of cached days.
const MAX_CACHED: usize = 2 * MAX_DAYS;

/// Cached answers by source and day.
pub struct SharedDays<T> {
    days: Mutex<HashMap<(&'static str, NaiveDate), Entry<T>>>,
}

struct Entry<T> {
    begun_at: Instant,
    answer: Arc<OnceCell<T>>,
}

impl<T> Default for SharedDays<T> {
    fn default() -> Self {
        Self { days: Mutex::default() }
    }
}

impl<T: Clone> SharedDays<T> {
    /// The answer of a source about a day. Concurrent callers for the same day wait for one call; if it fails, the next
    /// caller tries.
    pub async fn answer(
        &self,
        source: &'static str,
        day: NaiveDate,
        ask: impl AsyncFnOnce() -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        self.entry(source, day).get_or_try_init(|| ask()).await.cloned()
    }

    /// Whether all of these days were asked for just now, and there is one.
    pub fn has_all(&self, source: &'static str, wanted: &[NaiveDate]) -> bool {
        let days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there =
            |day: &NaiveDate| days.get(&(source, *day)).is_some_and(|entry| entry.begun_at.elapsed() < JUST_NOW);
        !wanted.is_empty() && wanted.iter().all(is_there)
    }

    fn entry(&self, source: &'static str, day: NaiveDate) -> Arc<OnceCell<T>> {
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        days.retain(|_, entry| now.duration_since(entry.begun_at) < MAX_AGE);
        if days.len() >= MAX_CACHED
            && let Some(oldest) = days.iter().min_by_key(|(_, entry)| entry.begun_at).map(|(key, _)| *key)
        {
            days.remove(&oldest);
        }
        let new = || Entry { begun_at: now, answer: Arc::default() };
        days.entry((source, day)).or_insert_with(new).answer.clone()
    }
}
