// Upstream: kafka::consumer_thread, kafka::orders
// Downstream: none
// Role: Lets a repeated log line through once in a while, with the number of those kept back.

use std::time::{Duration, Instant};

/// Between two lines of one kind: an outage of hours stays readable.
const INTERVAL: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug, Default)]
pub struct LogLimit {
    last: Option<Instant>,
    num_kept_back: u64,
}

impl LogLimit {
    /// Whether a line may be written now; then with the number of lines kept back since the last.
    pub fn allow(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < INTERVAL) {
            self.num_kept_back += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.num_kept_back))
    }
}
