// Upstream: consumer_loop
// Downstream: none
// Role: Detects a stalled consumer: one that receives nothing although its partitions hold more records.

use std::time::Duration;

use tokio::time::Instant;

/// Detects a stalled consumer. A consumer can stall permanently although its partitions hold more records (rust-rdkafka
/// issue 638).
///
/// The check is due after a silence of `limit`. A record may arrive at the moment of the check, after a long time
/// without any, or become readable when a transaction ends. So a second check confirms the first one. Each rebuild
/// without a new record doubles the required silence: one that does not help must not be repeated every minute.
#[derive(Debug)]
pub struct Watchdog {
    limit: Duration,
    patience: Duration,
    silent_since: Instant,
    /// Whether the last check found records that were not received.
    is_suspect: bool,
}

/// Time from a check that finds records to the one that confirms it. A consumer that works receives them within
/// milliseconds; on a busy machine it may take a second.
const CONFIRMATION: Duration = Duration::from_secs(5);

impl Watchdog {
    /// Maximum of the required silence, in multiples of `limit`.
    const MOST_LIMITS: u32 = 64;

    /// A watchdog whose check is due after a silence of `limit`.
    pub fn new(limit: Duration) -> Self {
        Self { limit, patience: limit, silent_since: Instant::now(), is_suspect: false }
    }

    /// Records that a record arrived.
    pub fn heard(&mut self) {
        self.excuse();
        self.patience = self.limit;
    }

    /// Restarts the measurement because the silence has a reason: consumption is paused, waits for the pipeline, or has
    /// just started.
    pub fn excuse(&mut self) {
        self.silent_since = Instant::now();
        self.is_suspect = false;
    }

    /// Whether the silence is long enough for a check.
    pub fn is_due(&self) -> bool {
        self.silent_since.elapsed() > if self.is_suspect { CONFIRMATION } else { self.patience }
    }

    /// Judges a silence, given whether there are records that were not received. Returns whether the consumer is
    /// stalled: two checks in a row found such records.
    pub fn judge(&mut self, holds_more: bool) -> bool {
        self.silent_since = Instant::now();
        let is_stalled = holds_more && self.is_suspect;
        self.is_suspect = holds_more && !is_stalled;
        if is_stalled {
            self.patience = (self.patience * 2).min(self.limit * Self::MOST_LIMITS);
        } else if !holds_more {
            self.patience = self.limit;
        }
        is_stalled
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
        assert!(!watchdog.judge(true), "one may have arrived just now");
        assert!(!watchdog.is_due(), "it has time to be received");
        assert!(watchdog.judge(true));
    }

    #[test]
    fn a_record_that_arrives_during_a_check_is_no_stall() {
        for arrives in [Watchdog::heard, Watchdog::excuse] {
            let mut watchdog = Watchdog::new(Duration::from_secs(60));
            assert!(!watchdog.judge(true));
            arrives(&mut watchdog);
            assert!(!watchdog.judge(true), "the next silence begins anew");
        }
        let mut watchdog = Watchdog::new(Duration::from_secs(60));
        assert_eq!([true, false, true].map(|holds_more| watchdog.judge(holds_more)), [false; 3]);
    }

    #[test]
    fn useless_rebuild_doubles_limit_and_record_resets_it() {
        let limit = Duration::from_secs(60);
        let mut watchdog = Watchdog::new(limit);
        assert_eq!([true; 4].map(|holds_more| watchdog.judge(holds_more)), [false, true, false, true]);
        assert_eq!(watchdog.patience, limit * 4);
        for _ in 0..80 {
            watchdog.judge(true);
        }
        assert_eq!(watchdog.patience, limit * 64);
        watchdog.heard();
        assert_eq!(watchdog.patience, limit);
    }
}
