// Upstream: batch_writer::ticks, data_worker, ports, simulation, store_set, tests::it
// Downstream: batch, domain, store_error
// Role: The port to stored ticks: one table per security, created with its first tick.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use crate::domain::{Code, DateRange, PriceFormat, Tick};
use crate::ports::{Batch, StoreError};

/// A store of ticks. A security without a table has no ticks.
#[async_trait]
pub trait TickStore: Send + Sync {
    /// The newest day with a tick.
    async fn newest_day(&self, code: Code) -> Result<Option<NaiveDate>, StoreError>;

    /// The days of a range that have ticks.
    async fn stored_days(&self, code: Code, range: DateRange) -> Result<BTreeSet<NaiveDate>, StoreError>;

    /// The timestamps and UUIDs of all ticks in a range of days, including every copy of a duplicate tick.
    async fn stored(&self, code: Code, range: DateRange) -> Result<Vec<StoredTick>, StoreError>;

    /// Whether the store accepts an identical batch with the same token only once.
    async fn deduplicates_retries(&self, code: Code) -> Result<bool, StoreError>;

    /// What the price column of a security holds; Ginkgo's own one where there is no table yet.
    async fn price_format(&self, code: Code) -> Result<PriceFormat, StoreError> {
        let _unused = code;
        Ok(PriceFormat::GINKGO)
    }

    /// Writes all ticks of one security, in their order, or fails. Creates the table if it is missing.
    async fn insert(&self, code: Code, batch: &TickBatch) -> Result<(), StoreError>;

    /// Deletes exactly these rows.
    async fn remove(&self, code: Code, rows: &[StoredTick]) -> Result<(), StoreError>;
}

/// The timestamp and UUID of a stored tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTick {
    /// The tick's timestamp, Shanghai wall clock.
    pub timestamp: NaiveDateTime,
    /// The UUID.
    pub uuid: String,
}

/// Ticks that are written by one INSERT, in their order.
pub type TickBatch = Batch<Tick>;
