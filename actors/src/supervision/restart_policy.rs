// Upstream: data_worker, supervised, supervised_tests, supervision, supervisor
// Downstream: none
// Role: How often and how fast a failed actor is restarted before the worker gives up on it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};

/// Restart intensity in the sense of Erlang/OTP, with a back-off OTP does not have.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RestartPolicy {
    /// Failures within `window` that are still answered by a restart; one more, and it is given up.
    pub max_failures: usize,
    /// The time in which failures are counted.
    pub window: Duration,
    /// Wait before the first restart; doubles with each further failure in the window, with jitter.
    pub first_delay: Duration,
    /// The longest wait.
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
    /// No failures yet.
    pub fn new(policy: RestartPolicy) -> Self {
        Self { policy, recent: VecDeque::with_capacity(policy.max_failures + 1) }
    }

    /// Records a failure at `now`. The wait until the restart, or `None` where it is time to give up.
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
    fn five_failures_in_the_window_are_restarted_ever_later_and_the_sixth_is_not() {
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
