// Upstream: batch_writer::factors, data_worker, ports, simulation, store_set, tests::it
// Downstream: batch, domain, store_error
// Role: The port to stored adjustment factors.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use chrono::NaiveDateTime;

use crate::domain::{AdjustFactor, Code, FactorChanges, Millionths, RawFactor};
use crate::ports::{Batch, StoreError};

/// A store of adjustment factors.
#[async_trait]
pub trait FactorStore: Send + Sync {
    /// Creates the table if it is missing; otherwise checks the existing one.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Whether the store accepts an identical batch with the same token only once, however often it is sent.
    fn deduplicates_retries(&self) -> bool;

    /// The newest stored timestamp of every code, in one query.
    async fn latest(&self) -> Result<HashMap<Code, NaiveDateTime>, StoreError>;

    /// The ends of the stored series of these codes; a code without rows has no entry.
    async fn ends(&self, codes: &[Code]) -> Result<HashMap<Code, SeriesEnds>, StoreError>;

    /// The complete stored series of these codes, including every copy of a duplicate row. More than `max_rows` rows
    /// are an error of class [`TooManyRows`](crate::ports::StoreErrorClass::TooManyRows), found before all are in
    /// memory.
    async fn series(&self, codes: &[Code], max_rows: usize) -> Result<Vec<StoredFactor>, StoreError>;

    /// The number of days and rows of these codes, from `since` on; a code without rows has no entry.
    async fn sizes(
        &self,
        codes: &[Code],
        since: Option<NaiveDateTime>,
    ) -> Result<HashMap<Code, SeriesSize>, StoreError> {
        let mut days = HashSet::new();
        let mut sizes: HashMap<Code, SeriesSize> = HashMap::new();
        for row in self.series(codes, usize::MAX).await? {
            if since.is_none_or(|since| row.raw.timestamp >= since) {
                let size = sizes.entry(row.code).or_default();
                size.num_rows += 1;
                size.num_days += u64::from(days.insert((row.code, row.raw.timestamp)));
            }
        }
        Ok(sizes)
    }

    /// The changes of the stored series of a code; `None` if nothing is stored.
    async fn changes(&self, code: Code) -> Result<Option<FactorChanges>, StoreError>;

    /// Writes all rows or fails.
    async fn insert(&self, batch: &FactorBatch) -> Result<(), StoreError>;

    /// Deletes exactly these rows.
    async fn remove(&self, rows: &[StoredFactor]) -> Result<(), StoreError>;
}

/// The ends of a stored series of factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesEnds {
    /// The oldest raw factor.
    pub first: Millionths,
    /// The newest raw factor.
    pub last: Millionths,
    /// The timestamp of the newest raw factor.
    pub last_at: NaiveDateTime,
}

/// The size of a stored series of factors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeriesSize {
    /// Number of different days.
    pub num_days: u64,
    /// Number of rows. It is higher where a day has several.
    pub num_rows: u64,
}

/// The key, raw value and UUID of a stored factor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFactor {
    /// The security.
    pub code: Code,
    /// The raw factor.
    pub raw: RawFactor,
    /// The stored UUID; rows of the Python worker have random ones.
    pub uuid: String,
}

/// Factors that are written by one INSERT.
pub type FactorBatch = Batch<AdjustFactor>;
