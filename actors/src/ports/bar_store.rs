// Upstream: many
// Downstream: batch, domain, store_error
// Role: The port to stored bars.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use crate::domain::{Bar, Code, DateRange, DayTotal, Frequency, Price, PriceFormat};
use crate::ports::{Batch, StoreError};

/// A store of bars.
#[async_trait]
pub trait BarStore: Send + Sync {
    /// Creates the table if it is missing; otherwise checks the existing one.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Asks one light question: whether the table can be read. It does not wait for a running batch.
    async fn ping(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Whether the store accepts an identical batch with the same token only once, however often it is sent.
    fn deduplicates_retries(&self) -> bool;

    /// What the price columns hold; Ginkgo's own ones before the first check.
    fn price_format(&self) -> PriceFormat {
        PriceFormat::GINKGO
    }

    /// The newest stored timestamp of every code, in one query.
    async fn latest(&self, frequency: Frequency) -> Result<HashMap<Code, NaiveDateTime>, StoreError>;

    /// The newest stored daily close with its day, for every code that has one on or after `since`, in one query.
    async fn last_closes(&self, since: NaiveDate) -> Result<HashMap<Code, (NaiveDate, Price)>, StoreError>;

    /// The stored daily bars of one code in a range of days, oldest first, without duplicates.
    async fn day_totals(&self, code: Code, range: DateRange) -> Result<Vec<DayTotal>, StoreError>;

    /// The keys and UUIDs of the stored bars in all `spans`, in one query (or as few as the maximum query length
    /// allows). Returns every copy of a duplicate bar. More than `max_rows` rows are an error of class
    /// [`TooManyRows`](crate::ports::StoreErrorClass::TooManyRows), found before all are in memory.
    async fn stored(
        &self,
        frequency: Frequency,
        spans: &[KeySpan],
        max_rows: usize,
    ) -> Result<Vec<StoredBar>, StoreError>;

    /// The number of keys in `spans`, and the rows of those that have several.
    async fn keys(&self, frequency: Frequency, spans: &[KeySpan]) -> Result<StoredKeys, StoreError> {
        let mut copies = self.stored(frequency, spans, usize::MAX).await?;
        let mut num_rows: HashMap<(Code, NaiveDateTime), usize> = HashMap::new();
        for row in &copies {
            *num_rows.entry((row.code, row.timestamp)).or_default() += 1;
        }
        copies.retain(|row| num_rows.get(&(row.code, row.timestamp)).is_some_and(|number| *number > 1));
        Ok(StoredKeys { num_keys: num_rows.len() as u64, copies })
    }

    /// Writes all rows or fails; see [`StoreError::outcome_is_known`].
    async fn insert(&self, batch: &BarBatch) -> Result<(), StoreError>;

    /// Deletes exactly these rows.
    async fn remove(&self, frequency: Frequency, rows: &[StoredBar]) -> Result<(), StoreError>;
}

/// A part of the key space: one code and a range of timestamps, both ends included. `None` leaves an end open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpan {
    /// The security.
    pub code: Code,
    /// First timestamp.
    pub from: Option<NaiveDateTime>,
    /// Last timestamp.
    pub to: Option<NaiveDateTime>,
}

/// The key and UUID of a stored bar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredBar {
    /// The security.
    pub code: Code,
    /// The bar's timestamp, Shanghai wall clock.
    pub timestamp: NaiveDateTime,
    /// The stored UUID; rows of the Python worker have random ones.
    pub uuid: String,
}

/// The keys of stored bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKeys {
    /// Number of different keys.
    pub num_keys: u64,
    /// The rows of all keys that have several rows.
    pub copies: Vec<StoredBar>,
}

/// A bar with its UUID, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedBar {
    /// The bar.
    pub bar: Bar,
    /// The UUID; see [`crate::domain::bar_identity`].
    pub uuid: String,
}

/// Bars that are written by one INSERT.
pub type BarBatch = Batch<IdentifiedBar>;
