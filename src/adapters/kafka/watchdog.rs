// Upstream: consumer_loop
// Downstream: none
// Role: Detects a stalled consumer: one that receives nothing although its partitions hold more records.

use std::time::Duration;

use tokio::time::Instant;

/// Detects a stalled consumer. A consumer can stall permanently although its partitions hold more records (rust-rdkafka
/// issue 638).
///
/// The check is due after a silence of `limit`. Each rebuild without a new record doubles the required silence: one
/// that does not help must not be repeated every minute.
#[derive(Debug)]
pub struct Watchdog {
    limit: Duration,
    patience: Duration,
    silent_since: Instant,
}

impl Watchdog {
    /// Maximum of the required silence, in multiples of `limit`.
    const MOST_LIMITS: u32 = 64;

    /// A watchdog whose check is due after a silence of `limit`.
    pub fn new(limit: Duration) -> Self {
        Self { limit, patience: limit, silent_since: Instant::now() }
    }

    /// Records that a record arrived.
    pub fn heard(&mut self) {
        self.silent_since = Instant::now();
        self.patience = self.limit;
    }

    /// Restarts the measurement because the silence has a reason: consumption is paused, waits for the pipeline, or has
    /// just started.
    pub fn excuse(&mut self) {
        self.silent_since = Instant::now();
    }

    /// Whether the silence is long enough for a check.
    pub fn is_due(&self) -> bool {
        self.silent_since.elapsed() > self.patience
    }

    /// Judges a silence, given whether there are records that were not received. Returns whether the consumer is
    /// stalled.
    pub fn judge(&mut self, stands_still: bool) -> bool {
        self.silent_since = Instant::now();
        self.patience = if stands_still { (self.patience * 2).min(self.limit * Self::MOST_LIMITS) } else { self.limit };
        stands_still
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_silence_with_lag_is_a_stall() {
        let mut watchdog = Watchdog::new(Duration::from_secs(60));
        assert!(!watchdog.is_due());
        watchdog.limit = Duration::ZERO;
        watchdog.heard();
        std::thread::park_timeout(Duration::from_millis(2));
        assert!(watchdog.is_due());
        watchdog.excuse();
        assert!(!watchdog.judge(false), "no records are left");
        assert!(watchdog.judge(true));
    }

    #[test]
    fn useless_rebuild_doubles_limit_and_record_resets_it() {
        let limit = Duration::from_secs(60);
        let mut watchdog = Watchdog::new(limit);
        assert!(watchdog.judge(true) && watchdog.judge(true));
        assert_eq!(watchdog.patience, limit * 4);
        for _ in 0..40 {
            watchdog.judge(true);
        }
        assert_eq!(watchdog.patience, limit * 64);
        watchdog.heard();
        assert_eq!(watchdog.patience, limit);
    }
}
