// Upstream: batch_writer::bars, batch_writer::factors, batch_writer::ticks
// Downstream: none
// Role: The looks of a flush at what several workers wrote at the same moment: their number, interval and takeover.

use std::time::Duration;

/// The interval of looks while another worker has to act.
const INTERVAL: Duration = Duration::from_millis(100);

/// Looks before a flush also replaces the rows of another worker, which then has had two seconds to do it itself.
const BEFORE_TAKEOVER: u32 = 20;

/// Counts the looks of one flush.
#[derive(Debug, Default)]
pub struct Looks(u32);

impl Looks {
    /// Maximum number of looks. Two workers settle after a few; the limit only bounds the time of a flush.
    pub const MAX: u32 = 100;

    /// Counts a look. Returns false when there were enough.
    pub fn next(&mut self) -> bool {
        self.0 += 1;
        self.0 <= Self::MAX
    }

    /// Whether the flush also acts in the place of another worker, which may be gone.
    pub fn takes_over(&self) -> bool {
        self.0.is_multiple_of(BEFORE_TAKEOVER)
    }

    /// Waits for the other worker.
    pub async fn pause(&self) {
        tokio::time::sleep(INTERVAL).await;
    }
}
