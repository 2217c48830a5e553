// Upstream: many
// Downstream: none
// Role: Limits and delays of actor restarts before the worker gives up.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

use backon::{BackoffBuilder, ExponentialBuilder};

/// Restart intensity as in Erlang/OTP, plus a back-off that OTP does not have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestartPolicy {
    /// Maximum number of failures within `window` that cause a restart. After one more failure the actor is given up.
    pub max_failures: usize,
    /// The time window in which failures are counted.
    pub window: Duration,
    /// Delay before the first restart. It doubles with each further failure in the window, plus jitter.
    pub first_delay: Duration,
    /// Maximum delay.
    pub max_delay: Duration,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self {
            max_failures: 5,
            window: Duration::from_secs(30),
            first_delay: Duration::from_millis(200),
            max_delay: Duration::from_secs(30),
        }
    }
}

/// The failures of one actor.
#[derive(Debug)]
pub struct FailureRecord {
    policy: RestartPolicy,
    recent: VecDeque<Instant>,
}

impl FailureRecord {
    /// Creates a record without failures.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, recent: VecDeque::with_capacity(policy.max_failures + 1) }
    }

    /// Records a failure at `now`. Returns the delay until the restart, or `None` to give up.
    pub fn record(&mut self, now: Instant) -> Option<Duration> {
        self.recent.push_back(now);
        while self.recent.front().is_some_and(|failure| now.duration_since(*failure) > self.policy.window) {
            self.recent.pop_front();
        }
        if self.recent.len() > self.policy.max_failures {
            return None;
        }
        ExponentialBuilder::default()
            .with_min_delay(self.policy.first_delay)
            .with_max_delay(self.policy.max_delay)
            .with_jitter()
            .with_max_times(self.recent.len())
            .build()
            .last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backs_off_five_restarts_then_gives_up() {
        let mut record = FailureRecord::new(RestartPolicy::default());
        let start = Instant::now();
        for n in 0..5_u32 {
            let wait = record.record(start + Duration::from_secs(n.into())).unwrap();
            let floor = Duration::from_millis(200) * 2_u32.pow(n);
            assert!(wait >= floor && wait <= floor * 2, "failure {n}: {wait:?}");
        }
        assert_eq!(record.record(start + Duration::from_secs(5)), None);
    }

    #[test]
    fn failures_outside_the_window_are_forgotten() {
        let mut record = FailureRecord::new(RestartPolicy::default());
        let start = Instant::now();
        for n in 0..20_u32 {
            let wait = record.record(start + Duration::from_secs(31) * n).unwrap();
            assert!(wait <= Duration::from_millis(400), "failure {n}: {wait:?}");
        }
    }
}
