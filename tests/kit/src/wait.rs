// Upstream: many
// Downstream: none
// Role: Polls a condition until a deadline; tests use no other kind of wait.

use std::time::{Duration, Instant};

/// The polling interval.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Polls `condition` until it returns `Some`. After `deadline` the test fails with `what`, which names the event.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < end, "timeout after {deadline:?} waiting for: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Polls `condition` until it is true. After `deadline` the test fails.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}

/// Polls `count` until it is above `target`. The test fails when the count has not grown for `patience`, so a slow
/// machine is no failure and work that stands still is.
pub fn wait_for_growth(what: &str, target: u64, patience: Duration, mut count: impl FnMut() -> u64) {
    let mut reached = 0;
    while reached <= target {
        let counted = wait_for(&format!("{what}: more than {reached}"), patience, || {
            let counted = count();
            (counted > reached).then_some(counted)
        });
        reached = counted;
    }
}
