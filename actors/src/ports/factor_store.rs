// Upstream: batch_writer::factors, data_worker, ports, store_set
// Downstream: domain, store_error
// Role: The port to stored adjustment factors.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::NaiveDateTime;

use crate::domain::{AdjustFactor, Code, FactorChanges, Millionths, RawFactor};
use crate::ports::StoreError;

/// Where adjustment factors are kept.
#[async_trait]
pub trait FactorStore: Send + Sync {
    /// Creates the table where it is missing, or checks the one that is there.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Whether an identical batch with the same token is taken once only, however often it is sent.
    fn deduplicates_retries(&self) -> bool;

    /// The newest stored timestamp of every code, in one query.
    async fn latest(&self) -> Result<HashMap<Code, NaiveDateTime>, StoreError>;

    /// The ends of the stored series of these codes; a code without rows has none.
    async fn ends(&self, codes: &[Code]) -> Result<HashMap<Code, SeriesEnds>, StoreError>;

    /// The whole stored series of these codes, every copy of a doubled row included.
    async fn series(&self, codes: &[Code]) -> Result<Vec<StoredFactor>, StoreError>;

    /// When the stored series of a code changed; `None` where nothing is stored.
    async fn changes(&self, code: Code) -> Result<Option<FactorChanges>, StoreError>;

    /// Writes all rows or fails.
    async fn insert(&self, batch: &FactorBatch) -> Result<(), StoreError>;

    /// Removes exactly these rows.
    async fn remove(&self, rows: &[StoredFactor]) -> Result<(), StoreError>;
}

/// The ends of a stored series of factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesEnds {
    /// The oldest raw factor.
    pub first: Millionths,
    /// The newest raw factor.
    pub last: Millionths,
    /// When the newest one is of.
    pub last_at: NaiveDateTime,
}

/// A stored factor's key, raw value and identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFactor {
    /// The security.
    pub code: Code,
    /// The raw factor.
    pub raw: RawFactor,
    /// Its identity as stored; the Python worker's rows have random ones.
    pub uuid: String,
}

/// Factors that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorBatch {
    /// The same for every retry of this batch, and for no other one.
    pub token: String,
    /// The rows.
    pub rows: Vec<AdjustFactor>,
}
