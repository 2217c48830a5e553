// Upstream: consumer_thread
// Downstream: none
// Role: Tells a consumer that has nothing to get from one that gets nothing although there is more.

use std::time::{Duration, Instant};

/// Consumers have been seen to stand still for ever although their partitions held more (rust-rdkafka issue 638).
///
/// A silence is judged once it has lasted `limit`. Each rebuild that brings nothing doubles the patience: a topic may end
/// with records that no consumer ever sees, such as a transaction's markers, and must not cost a rebuild a minute.
#[derive(Debug)]
pub struct Watchdog {
    limit: Duration,
    patience: Duration,
    silent_since: Instant,
}

impl Watchdog {
    /// Patience never grows beyond so many limits.
    const MOST_LIMITS: u32 = 64;

    /// A watchdog that judges silences of `limit`.
    pub fn new(limit: Duration) -> Self {
        Self { limit, patience: limit, silent_since: Instant::now() }
    }

    /// A record arrived.
    pub fn heard(&mut self) {
        self.silent_since = Instant::now();
        self.patience = self.limit;
    }

    /// The silence is as it should be: consumption is paused, or waits for the pipeline, or has just begun.
    pub fn excuse(&mut self) {
        self.silent_since = Instant::now();
    }

    /// Whether the silence has lasted long enough to be judged.
    pub fn is_due(&self) -> bool {
        self.silent_since.elapsed() > self.patience
    }

    /// Judges a silence by the records that are there and not resolved. Returns whether the consumer stands still.
    pub fn judge(&mut self, num_behind: i64) -> bool {
        self.silent_since = Instant::now();
        let stands_still = num_behind > 0;
        self.patience = if stands_still { (self.patience * 2).min(self.limit * Self::MOST_LIMITS) } else { self.limit };
        stands_still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_silence_with_records_left_is_a_standstill() {
        let mut watchdog = Watchdog::new(Duration::from_secs(60));
        assert!(!watchdog.is_due());
        watchdog.limit = Duration::ZERO;
        watchdog.heard();
        std::thread::park_timeout(Duration::from_millis(2));
        assert!(watchdog.is_due());
        watchdog.excuse();
        assert!(!watchdog.judge(0), "there is nothing to get");
        assert!(watchdog.judge(5));
    }

    #[test]
    fn a_rebuild_that_brings_nothing_doubles_the_patience_and_a_record_restores_it() {
        let limit = Duration::from_secs(60);
        let mut watchdog = Watchdog::new(limit);
        assert!(watchdog.judge(1) && watchdog.judge(1));
        assert_eq!(watchdog.patience, limit * 4);
        for _ in 0..40 {
            watchdog.judge(1);
        }
        assert_eq!(watchdog.patience, limit * 64);
        watchdog.heard();
        assert_eq!(watchdog.patience, limit);
    }
}
