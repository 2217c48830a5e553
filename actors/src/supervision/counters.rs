// Upstream: board, pipeline, progress, refused_sources, supervision
// Downstream: domain
// Role: Counters and gauges that actors update and that heartbeats and metrics read.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::Stage;

/// A number shared by threads, used as a counter or as a gauge.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Subtracts `n`. The result is at least zero.
    pub fn subtract(&self, n: u64) {
        // The closure always returns a value, so the update cannot fail.
        let _previous = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(n)));
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The current value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters since the start of the worker, and gauges.
#[derive(Debug, Default)]
pub struct Counters {
    /// Resolved commands, with any outcome.
    pub commands_resolved: Counter,
    /// Ignored commands: they are for another component or another consumer.
    pub commands_passed_over: Counter,
    /// Commands that were split and published in parts.
    pub commands_split: Counter,
    /// Commands recorded in the dead-letter topic.
    pub commands_dead_lettered: Counter,
    /// Commands that are received and not resolved.
    pub commands_unresolved: Counter,
    tasks: [Counter; Stage::ALL.len()],
    /// Rows in the BatchWriter's buffer.
    pub rows_buffered: Counter,
    /// Fetched rows.
    pub rows_fetched: Counter,
    /// Newly stored rows.
    pub rows_written: Counter,
    /// Skipped invalid rows.
    pub rows_skipped: Counter,
    /// Records of ended tasks that could not be stored.
    pub sync_records_lost: Counter,
    /// Quality reports that could not be stored.
    pub reports_lost: Counter,
    /// Published price updates.
    pub price_updates: Counter,
    /// Price updates that could not be published.
    pub price_updates_lost: Counter,
    /// Failed fetches, failed writes and dead letters.
    pub errors: Counter,
    /// Reloads that applied a new configuration.
    pub reloads_applied: Counter,
    /// Reloads that found no change.
    pub reloads_unchanged: Counter,
    /// Rejected reloads.
    pub reloads_refused: Counter,
}

impl Counters {
    /// The gauge of tasks in a stage.
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

    /// Number of started tasks that have not reached the BatchWriter's buffer.
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
