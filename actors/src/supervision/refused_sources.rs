// Upstream: board, quality_monitor, supervision
// Downstream: counters
// Role: The sources that refuse the account, and the number of tasks that wait for them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::supervision::counters::Counter;

/// A source that refuses every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSource {
    /// The source's name.
    pub name: &'static str,
    /// The last refusal, with the vendor's text.
    pub reason: String,
    /// The time of the first refusal that counts.
    pub since: Instant,
}

/// The sources that refuse every request.
#[derive(Debug, Default)]
pub struct RefusedSources {
    sources: Mutex<BTreeMap<&'static str, RefusedSource>>,
    waiting: Counter,
}

/// A task that waits for a source. It is counted until this is dropped.
#[derive(Debug)]
pub struct Waiting<'a>(&'a Counter);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.subtract(1);
    }
}

impl RefusedSources {
    /// Records that a source refuses every request. The time of the begin stays.
    pub fn add(&self, name: &'static str, reason: String) {
        let mut sources = self.lock();
        let since = sources.get(name).map_or_else(Instant::now, |known| known.since);
        sources.insert(name, RefusedSource { name, reason, since });
    }

    /// Records that a source answers again, or is not configured any more.
    pub fn remove(&self, name: &str) {
        self.lock().remove(name);
    }

    /// All of them, by name.
    pub fn list(&self) -> Vec<RefusedSource> {
        self.lock().values().cloned().collect()
    }

    /// Whether this source refuses every request.
    pub fn has(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// Counts a task that waits for one of them.
    pub fn begin_wait(&self) -> Waiting<'_> {
        self.waiting.add(1);
        Waiting(&self.waiting)
    }

    /// Number of tasks that wait for one of them.
    pub fn num_waiting(&self) -> u64 {
        self.waiting.get()
    }

    /// Why tasks wait, if some do, as a text for operators.
    pub fn reason_to_wait(&self) -> Option<String> {
        let reason = self.lock().values().next()?.reason.clone();
        let number = self.num_waiting();
        let fetches = if number == 1 { "1 fetch waits".to_owned() } else { format!("{number} fetches wait") };
        (number > 0).then(|| format!("{fetches}, because the source refuses all requests: {reason}"))
    }

    /// Locks the sources. A poisoned lock is used as is, because its plain values are still valid after a panic.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, RefusedSource>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
