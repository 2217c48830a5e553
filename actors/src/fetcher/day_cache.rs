// Upstream: cross_section, suspensions
// Downstream: ports
// Role: Answers about a day as a whole, each asked for once and shared by the tasks that wait for that day.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::NaiveDate;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::ports::SourceError;

/// How long an answer is believed: an evening's commands come within seconds, and a vendor adds to the newest day for hours
/// after its close.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// Days of one range that are asked for as a whole: a longer gap is rare and asked for code by code. Also bounds the memory:
/// a day of the whole market is about 1 MB.
pub const MAX_DAYS: usize = 5;

/// Days kept at once.
const MAX_KEPT: usize = 2 * MAX_DAYS;

/// The answers of the last minute, by source and day.
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
    /// A source's answer about a day. Tasks that want a day that is being asked about wait for that one call; if it fails,
    /// the next of them tries.
    pub async fn answer(
        &self,
        source: &'static str,
        day: NaiveDate,
        ask: impl AsyncFnOnce() -> Result<T, SourceError>,
    ) -> Result<T, SourceError> {
        self.entry(source, day).get_or_try_init(|| ask()).await.cloned()
    }

    fn entry(&self, source: &'static str, day: NaiveDate) -> Arc<OnceCell<T>> {
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        days.retain(|_, entry| now.duration_since(entry.begun_at) < MAX_AGE);
        if days.len() >= MAX_KEPT
            && let Some(oldest) = days.iter().min_by_key(|(_, entry)| entry.begun_at).map(|(key, _)| *key)
        {
            days.remove(&oldest);
        }
        let new = || Entry { begun_at: now, answer: Arc::default() };
        days.entry((source, day)).or_insert_with(new).answer.clone()
    }
}
