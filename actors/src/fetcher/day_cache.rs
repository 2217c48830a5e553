// Upstream: cross_section, request_plan, suspensions
// Downstream: domain, ports
// Role: Caches whole-day answers of sources; tasks that need the same days share one call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::NaiveDate;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::domain::expected_rows::last_closed_day;
use crate::domain::{DateRange, shanghai_clock};
use crate::ports::SourceError;

/// Maximum age of an answer about the newest day: a vendor adds data to it for hours after the close.
pub const MAX_AGE: Duration = Duration::from_secs(60);

/// Maximum age of an answer about earlier days only. Several days may take a vendor's whole window of a minute, and the
/// first of them must still be there when the last one is.
pub const MAX_AGE_OF_EARLIER_DAYS: Duration = Duration::from_secs(600);

/// Maximum age of an answer that a task uses although few tasks wait: it is one of the last of an evening's. A command
/// that comes alone later gets an answer of its own.
const JUST_NOW: Duration = Duration::from_secs(10);

/// Maximum number of trading days in a range that is requested as whole days. It bounds the memory: a day of the whole
/// market takes about 1 MB.
pub const MAX_DAYS: usize = 20;

/// Maximum number of cached answers about rows: the days of one range, and the first ones of the next.
const MAX_CACHED: usize = MAX_DAYS + 4;

/// Cached answers by source and days.
pub struct SharedDays<T> {
    max_cached: usize,
    days: Mutex<HashMap<(&'static str, DateRange), Shared<T>>>,
}

/// An answer and the time at which it arrived.
type Dated<T> = (T, Instant);

/// An answer that tasks share. It remains valid for those that hold it, also where the cache drops it.
pub type Shared<T> = Arc<OnceCell<Dated<T>>>;

impl<T> Default for SharedDays<T> {
    fn default() -> Self {
        Self::with_capacity(MAX_CACHED)
    }
}

/// Waits for an answer. Concurrent callers wait for one call; if it fails, the next caller tries.
pub async fn answer_of<T: Clone>(
    shared: &Shared<T>,
    ask: impl AsyncFnOnce() -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    let dated = shared.get_or_try_init(async || Ok((ask().await?, Instant::now()))).await?;
    Ok(dated.0.clone())
}

impl<T> SharedDays<T> {
    /// Caches at most so many answers.
    pub fn with_capacity(max_cached: usize) -> Self {
        Self { max_cached, days: Mutex::default() }
    }
}

impl<T: Clone> SharedDays<T> {
    /// The answers of a source about each of these days, whether they are there or not.
    pub fn of_days(&self, source: &'static str, days: &[NaiveDate]) -> Vec<(NaiveDate, Shared<T>)> {
        days.iter().map(|day| (*day, self.of_range(source, DateRange { start: *day, end: *day }))).collect()
    }

    /// The answer of a source about a range of days, whether it is there or not.
    pub fn of_range(&self, source: &'static str, range: DateRange) -> Shared<T> {
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = last_closed_day(shanghai_clock::now());
        days.retain(|(_, range), shared| age(shared).is_none_or(|age| age < max_age(*range, newest)));
        // Without an answer, an entry counts as new.
        if days.len() >= self.max_cached
            && !days.contains_key(&(source, range))
            && let Some(oldest) = days.iter().max_by_key(|(_, shared)| age(shared)).map(|(key, _)| *key)
        {
            days.remove(&oldest);
        }
        days.entry((source, range)).or_default().clone()
    }

    /// Whether all of these days were answered just now, and there is one.
    pub fn has_all(&self, source: &'static str, wanted: &[NaiveDate]) -> bool {
        let days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = |day: &NaiveDate| {
            let shared = days.get(&(source, DateRange { start: *day, end: *day }));
            shared.and_then(age).is_some_and(|age| age < JUST_NOW)
        };
        !wanted.is_empty() && wanted.iter().all(is_there)
    }
}

fn max_age(range: DateRange, newest: NaiveDate) -> Duration {
    if range.end >= newest { MAX_AGE } else { MAX_AGE_OF_EARLIER_DAYS }
}

/// The age of an answer; `None` if there is none yet.
fn age<T>(shared: &Shared<T>) -> Option<Duration> {
    shared.get().map(|(_, answered_at)| answered_at.elapsed())
}
