// Upstream: actor, batch_writer::bars, batch_writer::factors
// Downstream: domain, pipeline, settings
// Role: Rows of many tasks that wait to be written together, and when they are due.

use std::time::Duration;
use tokio::time::Instant;

use crate::domain::Stage;
use crate::pipeline::TaskGuard;
use crate::settings::{BatchSettings, ms};

/// A task with rows.
pub trait Buffered {
    /// How many.
    fn num_rows(&self) -> usize;

    /// Its pass.
    fn guard(&mut self) -> &mut TaskGuard;
}

/// Tasks in the order they came.
pub struct WriteBuffer<T> {
    tasks: Vec<T>,
    num_rows: usize,
    times: Option<Times>,
    /// Whether a batch of it is being written; the next one waits for it.
    pub is_flushing: bool,
}

impl<T> Default for WriteBuffer<T> {
    fn default() -> Self {
        Self { tasks: Vec::new(), num_rows: 0, times: None, is_flushing: false }
    }
}

impl<T: Buffered> WriteBuffer<T> {
    /// A task came.
    pub fn push(&mut self, task: T) {
        self.num_rows += task.num_rows();
        self.tasks.push(task);
        let now = Instant::now();
        self.times.get_or_insert(Times { first: now, last: now }).last = now;
    }

    /// Rows that wait.
    pub fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Whether a batch may and shall be written now. `more_on_the_way`: further rows are being fetched; `at_once`: nothing
    /// is waited for.
    pub fn is_due(&self, settings: &BatchSettings, more_on_the_way: bool, at_once: bool) -> bool {
        let Some(Times { first, last }) = self.times else { return false };
        let waiting = Waiting { num_rows: self.num_rows, age: first.elapsed(), idle: last.elapsed(), more_on_the_way };
        !self.is_flushing && (at_once || is_due(settings, waiting))
    }

    /// Whole tasks until `max_rows` is reached; the rest waits for the next batch.
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
        // What is left begins a batch of its own now; when its last task came has not changed.
        let times = self.times.take().filter(|_| !self.tasks.is_empty());
        self.times = times.map(|times| Times { first: Instant::now(), ..times });
        batch
    }
}

/// When the first and the last task of the buffer came.
#[derive(Clone, Copy)]
struct Times {
    first: Instant,
    last: Instant,
}

/// What waits in the buffer.
#[derive(Clone, Copy)]
struct Waiting {
    num_rows: usize,
    /// Since the first task of it came.
    age: Duration,
    /// Since the last task of it came.
    idle: Duration,
    more_on_the_way: bool,
}

/// A full batch is written at once, and one that is worth an INSERT as soon as nothing more is on its way; a waiting one
/// after the interval if either is so, and sooner if nothing has come for a while; any batch after the longest wait.
fn is_due(settings: &BatchSettings, waiting: Waiting) -> bool {
    let Waiting { num_rows, age, idle, more_on_the_way } = waiting;
    let is_worth_it = num_rows >= settings.min_rows;
    num_rows >= settings.due_rows.min(settings.max_rows)
        || (is_worth_it && !more_on_the_way)
        || (age >= ms(settings.flush_interval_ms) && (is_worth_it || !more_on_the_way))
        || (idle >= ms(settings.idle_flush_ms) && !more_on_the_way)
        || age >= ms(settings.max_wait_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_is_due_when_full_or_after_its_wait() {
        let settings = BatchSettings::default();
        let due = |num_rows, age, idle, more_on_the_way| {
            is_due(&settings, Waiting { num_rows, age: ms(age), idle: ms(idle), more_on_the_way })
        };
        assert!(due(10_000, 0, 0, true), "full");
        assert!(!due(9_999, 999, 249, true), "not full and not waited");
        assert!(due(1_000, 0, 0, false), "worth an INSERT, and nothing more is on its way");
        assert!(!due(999, 999, 249, false), "others may follow soon");
        assert!(due(1_000, 1_000, 0, true), "worth an INSERT");
        assert!(!due(999, 1_000, 900, true), "more is on its way");
        assert!(due(1, 1_000, 0, false), "nothing more is on its way");
        assert!(due(1, 250, 250, false), "nothing more is on its way and nothing has come for a while");
        assert!(due(1, 5_000, 0, true), "the longest wait is over");
    }
}
