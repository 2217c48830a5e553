// Upstream: board, pipeline, progress, supervision
// Downstream: domain
// Role: Numbers that actors add to and that heartbeats and metrics read.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::Stage;

/// A number that threads share; used as a counter or as a gauge.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Subtracts; a gauge that would fall below zero stays there.
    pub fn subtract(&self, n: u64) {
        // The closure always returns a value, so the update cannot fail.
        let _previous = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(n)));
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the worker has done since its start, and what it holds.
#[derive(Debug, Default)]
pub struct Counters {
    /// Commands resolved, whatever their outcome.
    pub commands_resolved: Counter,
    /// Commands for another component or another consumer.
    pub commands_passed_over: Counter,
    /// Commands published again in parts.
    pub commands_split: Counter,
    /// Commands recorded in the dead-letter topic.
    pub commands_dead_lettered: Counter,
    /// Commands taken and not resolved.
    pub commands_unresolved: Counter,
    tasks: [Counter; Stage::ALL.len()],
    /// Rows in the BatchWriter's buffer.
    pub rows_buffered: Counter,
    /// Rows fetched.
    pub rows_fetched: Counter,
    /// Rows newly stored.
    pub rows_written: Counter,
    /// Invalid rows.
    pub rows_skipped: Counter,
    /// Records of ended tasks that could not be stored.
    pub sync_records_lost: Counter,
    /// Quality reports that could not be stored.
    pub reports_lost: Counter,
    /// Price updates published.
    pub price_updates: Counter,
    /// Failed fetches, failed writes and dead letters.
    pub errors: Counter,
    /// Reloads that applied a new configuration.
    pub reloads_applied: Counter,
    /// Reloads that found no change.
    pub reloads_unchanged: Counter,
    /// Reloads that were refused.
    pub reloads_refused: Counter,
}

impl Counters {
    /// Tasks in a stage.
    pub fn tasks_in(&self, stage: Stage) -> &Counter {
        let [waiting, fetching, checking, buffered, writing] = &self.tasks;
        match stage {
            Stage::Waiting => waiting,
            Stage::Fetching => fetching,
            Stage::Checking => checking,
            Stage::Buffered => buffered,
            Stage::Writing => writing,
        }
    }

    /// Tasks between their start and the BatchWriter's buffer.
    pub fn tasks_upstream(&self) -> u64 {
        self.tasks_in(Stage::Fetching).get() + self.tasks_in(Stage::Checking).get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_does_not_fall_below_zero() {
        let gauge = Counter::default();
        gauge.add(2);
        gauge.subtract(5);
        assert_eq!(gauge.get(), 0);
    }
}
