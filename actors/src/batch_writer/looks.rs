// Upstream: batch_writer::bars, batch_writer::factors, batch_writer::lists, batch_writer::ticks, write_path
// Downstream: ports
// Role: The looks of a flush at what several workers wrote at the same moment: their number, interval and takeover.

use std::time::Duration;

use crate::ports::{StoreError, StoreErrorClass};

/// What to do after a look at the store.
#[derive(Debug, PartialEq)]
pub enum Verdict<P> {
    /// One row of each is left.
    Settled,
    /// The rows that stay are those of other workers, which will remove the rest.
    Theirs,
    /// Execute this plan, then look again.
    Ours(P),
    /// The server confirmed the INSERT, and holds fewer rows.
    Missing(StoreError),
}

impl<P> Verdict<P> {
    /// A server confirmed an INSERT into `store` and holds `missing` rows fewer. Which ones is unknown, so the outcome
    /// is, too.
    pub fn missing(store: String, missing: u64) -> Self {
        Self::Missing(StoreError {
            store,
            operation: "insert rows".to_owned(),
            class: StoreErrorClass::OutcomeUnknown,
            reason: format!(
                "the server confirmed the INSERT, and {missing} of its rows are not stored; check the engine, the sorting \
                 key and the TTL of the table"
            ),
        })
    }
}

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

    /// Takes back a look that the store did not answer.
    pub fn repeat(&mut self) {
        self.0 = self.0.saturating_sub(1);
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
