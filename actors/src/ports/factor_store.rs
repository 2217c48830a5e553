// Upstream: batch_writer::factors, data_worker, ports, simulation, store_set, tests::it
// Downstream: domain, store_error
// Role: The port to stored adjustment factors.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use chrono::NaiveDateTime;

use crate::domain::{AdjustFactor, Code, FactorChanges, Millionths, RawFactor};
use crate::ports::StoreError;

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

    /// The complete stored series of these codes, including every copy of a duplicate row.
    async fn series(&self, codes: &[Code]) -> Result<Vec<StoredFactor>, StoreError>;

    /// The codes that have several rows of one day. Days before `since` do not count.
    async fn repeated(&self, codes: &[Code], since: Option<NaiveDateTime>) -> Result<Vec<Code>, StoreError> {
        let mut days = HashSet::new();
        let mut repeated = self.series(codes).await?;
        repeated.retain(|row| since.is_none_or(|since| row.raw.timestamp >= since));
        repeated.retain(|row| !days.insert((row.code, row.raw.timestamp)));
        Ok(repeated.into_iter().map(|row| row.code).collect())
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorBatch {
    /// The deduplication token: the same for every retry of this batch, different for every other batch.
    pub token: String,
    /// The rows.
    pub rows: Vec<AdjustFactor>,
}
