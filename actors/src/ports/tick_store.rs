// Upstream: batch_writer::ticks, data_worker, ports, store_set
// Downstream: domain, store_error
// Role: The port to ticks: one table for each security, created with its first tick.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use crate::domain::{Code, DateRange, Tick};
use crate::ports::StoreError;

/// Where ticks are kept. A security without a table has no ticks.
#[async_trait]
pub trait TickStore: Send + Sync {
    /// The newest day with a tick.
    async fn newest_day(&self, code: Code) -> Result<Option<NaiveDate>, StoreError>;

    /// The days of a range with a tick.
    async fn stored_days(&self, code: Code, range: DateRange) -> Result<BTreeSet<NaiveDate>, StoreError>;

    /// Times and identities of all ticks of a range of days, every copy of a doubled one.
    async fn stored(&self, code: Code, range: DateRange) -> Result<Vec<StoredTick>, StoreError>;

    /// Whether an identical batch with the same token is taken once only.
    async fn deduplicates_retries(&self, code: Code) -> Result<bool, StoreError>;

    /// Writes all ticks of one security, in their order, or fails. Makes the table where it is missing.
    async fn insert(&self, code: Code, batch: &TickBatch) -> Result<(), StoreError>;

    /// Removes exactly these rows.
    async fn remove(&self, code: Code, rows: &[StoredTick]) -> Result<(), StoreError>;
}

/// A stored tick's time and identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTick {
    /// Shanghai wall clock.
    pub timestamp: NaiveDateTime,
    /// Its identity.
    pub uuid: String,
}

/// Ticks that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickBatch {
    /// The same for every retry of this batch, and for no other one.
    pub token: String,
    /// The ticks, in their order.
    pub rows: Vec<Tick>,
}
