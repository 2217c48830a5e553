// Upstream: actor, batch_writer::bars, batch_writer::factors
// Downstream: domain, pipeline, settings
// Role: Buffers tasks until their rows are written as one batch, and decides when the batch is due.

use std::time::Duration;
use tokio::time::Instant;

use crate::domain::Stage;
use crate::pipeline::TaskGuard;
use crate::settings::{BatchSettings, ms};

/// A task with rows.
pub trait Buffered {
    /// Number of rows of the task.
    fn num_rows(&self) -> usize;

    /// The guard of the task.
    fn guard(&mut self) -> &mut TaskGuard;
}

/// Buffered tasks in the order of their arrival.
pub struct WriteBuffer<T> {
    tasks: Vec<T>,
    num_rows: usize,
    times: Option<Times>,
    /// Whether a batch from this buffer is being written. The next batch waits for it.
    pub is_flushing: bool,
}

impl<T> Default for WriteBuffer<T> {
    fn default() -> Self {
        Self { tasks: Vec::new(), num_rows: 0, times: None, is_flushing: false }
    }
}

impl<T: Buffered> WriteBuffer<T> {
    /// Adds a task.
    pub fn push(&mut self, task: T) {
        self.num_rows += task.num_rows();
        self.tasks.push(task);
        let now = Instant::now();
        self.times.get_or_insert(Times { first: now, last: now }).last = now;
    }

    /// Number of buffered rows.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Whether to write a batch now. `more_expected`: further rows are being fetched. `at_once`: write without waiting
    /// for more rows.
    pub fn is_due(&self, settings: &BatchSettings, more_expected: bool, at_once: bool) -> bool {
        let Some(Times { first, last }) = self.times else { return false };
        let waiting = Waiting { num_rows: self.num_rows, age: first.elapsed(), idle: last.elapsed(), more_expected };
        !self.is_flushing && (at_once || is_due(settings, waiting))
    }

    /// Removes and returns the first tasks whose rows fit into `max_rows`; at least one task. Tasks are never split.
    pub fn take(&mut self, max_rows: usize) -> Vec<T> {
        let mut num_rows = 0;
        let num_tasks = self
            .tasks
            .iter()
            .take_while(|task| {
                let fits = num_rows == 0 || num_rows + task.num_rows() <= max_rows;
                num_rows += if fits { task.num_rows() } else { 0 };
                fits
            })
            .count();
        let mut batch: Vec<T> = self.tasks.drain(..num_tasks).collect();
        batch.iter_mut().for_each(|task| task.guard().enter(Stage::Writing));
        self.num_rows -= num_rows;
        // The remaining tasks form a new batch that starts now. The arrival of their last task stays the same.
        let times = self.times.take().filter(|_| !self.tasks.is_empty());
        self.times = times.map(|times| Times { first: Instant::now(), ..times });
        batch
    }
}

/// When the first and the last task of the buffer arrived.
#[derive(Clone, Copy)]
struct Times {
    first: Instant,
    last: Instant,
}

/// The state of the buffer that determines whether a batch is due.
#[derive(Clone, Copy)]
struct Waiting {
    num_rows: usize,
    /// Time since the first task arrived.
    age: Duration,
    /// Time since the last task arrived.
    idle: Duration,
    more_expected: bool,
}

/// Whether a batch is due. One of these conditions suffices:
/// - the batch is full;
/// - it has `min_rows` rows, and no more rows are expected;
/// - `flush_interval_ms` passed, and it has `min_rows` rows or no more rows are expected;
/// - no task arrived for `idle_flush_ms`, and no more rows are expected;
/// - `max_wait_ms` passed.
fn is_due(settings: &BatchSettings, waiting: Waiting) -> bool {
    let Waiting { num_rows, age, idle, more_expected } = waiting;
    let has_min_rows = num_rows >= settings.min_rows;
    num_rows >= settings.due_rows.min(settings.max_rows)
        || (has_min_rows && !more_expected)
        || (age >= ms(settings.flush_interval_ms) && (has_min_rows || !more_expected))
        || (idle >= ms(settings.idle_flush_ms) && !more_expected)
        || age >= ms(settings.max_wait_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_due_when_full_or_after_its_wait() {
        let settings = BatchSettings::default();
        let due = |num_rows, age, idle, more_expected| {
            is_due(&settings, Waiting { num_rows, age: ms(age), idle: ms(idle), more_expected })
        };
        assert!(due(10_000, 0, 0, true), "full");
        assert!(!due(9_999, 999, 249, true), "not full, and the interval has not passed");
        assert!(due(1_000, 0, 0, false), "enough rows, and no more are expected");
        assert!(!due(999, 999, 249, false), "too few rows, and the idle time has not passed");
        assert!(due(1_000, 1_000, 0, true), "enough rows after the interval");
        assert!(!due(999, 1_000, 900, true), "too few rows, and more are expected");
        assert!(due(1, 1_000, 0, false), "the interval passed, and no more rows are expected");
        assert!(due(1, 250, 250, false), "the idle time passed, and no more rows are expected");
        assert!(due(1, 5_000, 0, true), "the maximum wait passed");
    }
}
