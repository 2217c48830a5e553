// Upstream: batch_writer::bars, batch_writer::factors, fetcher, pipeline, supervisor
// Downstream: ports, task_guard
// Role: Notes for the whole group which tasks of a command are stored, so that a redelivery does not fetch them again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::pipeline::TaskGuard;
use crate::ports::{HeartbeatError, HeartbeatStore, Swappable};

/// How long a note is kept: longer than a group takes to deliver a command again after a kill or a restart.
const LIFETIME: Duration = Duration::from_secs(3_600);

/// How long the store of notes is not used after a failure, so that not every task waits for it.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Notes about stored tasks. They save calls and decide nothing else: without a note, or without the store of notes, a
/// task asks its source.
pub struct StoredNotes {
    store: Arc<Swappable<dyn HeartbeatStore>>,
    failed_at: Mutex<Option<Instant>>,
}

impl StoredNotes {
    /// The notes in this store.
    pub fn new(store: Arc<Swappable<dyn HeartbeatStore>>) -> Self {
        Self { store, failed_at: Mutex::default() }
    }

    /// Notes tasks that are stored, each with the number of its rows. Nobody waits for it.
    pub fn note_tasks<'a>(self: &Arc<Self>, tasks: impl Iterator<Item = (&'a TaskGuard, usize)>) {
        let noted = tasks.filter_map(|(guard, num_rows)| Some((guard.trace.noted_as.clone()?, num_rows as u64)));
        let noted: Vec<_> = noted.collect();
        if !noted.is_empty() {
            let notes = self.clone();
            actix_rt::spawn(async move { notes.note(&noted).await });
        }
    }

    /// Notes the number of stored rows of each of these tasks.
    async fn note(&self, tasks: &[(Arc<str>, u64)]) {
        if !tasks.is_empty() && self.is_usable() {
            let noted = self.store.pin().note_stored(tasks, LIFETIME).await;
            noted.unwrap_or_else(|error| self.failed(&error));
        }
    }

    /// The number of rows that an earlier run of this task stored; `None` if that is not known.
    pub async fn rows_of(&self, task: &str) -> Option<u64> {
        if !self.is_usable() {
            return None;
        }
        let noted = self.store.pin().noted_rows(task).await;
        noted.unwrap_or_else(|error| {
            self.failed(&error);
            None
        })
    }

    fn is_usable(&self) -> bool {
        let failed_at = self.failed_at.lock().unwrap_or_else(PoisonError::into_inner);
        failed_at.is_none_or(|failed_at| failed_at.elapsed() >= RETRY_AFTER)
    }

    fn failed(&self, error: &HeartbeatError) {
        tracing::debug!(%error, "stored tasks cannot be noted; a redelivered command fetches them again");
        *self.failed_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use std::collections::BTreeMap;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    #[derive(Default)]
    struct Store {
        notes: Mutex<BTreeMap<String, u64>>,
        is_away: AtomicBool,
        num_calls: AtomicU32,
    }

    impl Store {
        fn answer<T>(&self, answer: T) -> Result<T, HeartbeatError> {
            self.num_calls.fetch_add(1, Ordering::SeqCst);
            let away = HeartbeatError { store: "notes".to_owned(), reason: "away".to_owned() };
            if self.is_away.load(Ordering::SeqCst) { Err(away) } else { Ok(answer) }
        }
    }

    #[async_trait]
    impl HeartbeatStore for Store {
        async fn beat(&self, _value: &str, _ttl: Duration) -> Result<Option<String>, HeartbeatError> {
            Ok(None)
        }

        async fn remove(&self) -> Result<(), HeartbeatError> {
            Ok(())
        }

        async fn claim(&self, _work: &str, _ttl: Duration) -> Result<bool, HeartbeatError> {
            Ok(true)
        }

        async fn note_stored(&self, tasks: &[(Arc<str>, u64)], _ttl: Duration) -> Result<(), HeartbeatError> {
            self.answer(())?;
            self.notes.lock().unwrap().extend(tasks.iter().map(|(task, rows)| (task.to_string(), *rows)));
            Ok(())
        }

        async fn noted_rows(&self, task: &str) -> Result<Option<u64>, HeartbeatError> {
            self.answer(self.notes.lock().unwrap().get(task).copied())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_store_is_not_asked_by_each_task() {
        let store = Arc::new(Store::default());
        let notes = StoredNotes::new(Swappable::new(store.clone() as Arc<dyn HeartbeatStore>));
        notes.note(&[("a".into(), 3)]).await;
        assert_eq!((notes.rows_of("a").await, notes.rows_of("b").await), (Some(3), None));
        store.is_away.store(true, Ordering::SeqCst);
        let before = store.num_calls.load(Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(notes.rows_of("a").await, None);
            notes.note(&[("b".into(), 1)]).await;
        }
        assert_eq!(store.num_calls.load(Ordering::SeqCst) - before, 1);
        store.is_away.store(false, Ordering::SeqCst);
        tokio::time::advance(RETRY_AFTER).await;
        assert_eq!(notes.rows_of("a").await, Some(3));
    }
}
