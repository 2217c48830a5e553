// Upstream: many
// Downstream: domain, store_error
// Role: The port to stored bars.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use crate::domain::{Bar, Code, DateRange, DayTotal, Frequency, Hundredths};
use crate::ports::StoreError;

/// Where bars are kept.
#[async_trait]
pub trait BarStore: Send + Sync {
    /// Creates the table where it is missing, or checks the one that is there.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Whether an identical batch with the same token is taken once only, however often it is sent.
    fn deduplicates_retries(&self) -> bool;

    /// The newest stored timestamp of every code, in one query.
    async fn latest(&self, frequency: Frequency) -> Result<HashMap<Code, NaiveDateTime>, StoreError>;

    /// The newest stored daily close of every code that has one since a day, and its day, in one query.
    async fn last_closes(&self, since: NaiveDate) -> Result<HashMap<Code, (NaiveDate, Hundredths)>, StoreError>;

    /// The stored daily bars of one code in a range of days, oldest first, each once.
    async fn day_totals(&self, code: Code, range: DateRange) -> Result<Vec<DayTotal>, StoreError>;

    /// The keys and identities of the stored bars in all of `spans`, in one query (or as few as its length allows).
    /// May return bars outside the spans; every copy of a doubled bar is returned.
    async fn stored(&self, frequency: Frequency, spans: &[KeySpan]) -> Result<Vec<StoredBar>, StoreError>;

    /// Writes all rows or fails; see [`StoreError::outcome_is_known`].
    async fn insert(&self, batch: &BarBatch) -> Result<(), StoreError>;

    /// Removes exactly these rows.
    async fn remove(&self, frequency: Frequency, rows: &[StoredBar]) -> Result<(), StoreError>;
}

/// A part of the key space: one code, from and to a timestamp, both included. `None` leaves the end open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpan {
    /// The security.
    pub code: Code,
    /// From.
    pub from: Option<NaiveDateTime>,
    /// To.
    pub to: Option<NaiveDateTime>,
}

/// A stored bar's key and identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredBar {
    /// The security.
    pub code: Code,
    /// Shanghai wall clock.
    pub timestamp: NaiveDateTime,
    /// Its identity as stored; the Python worker's rows have random ones.
    pub uuid: String,
}

/// A bar with its identity, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedBar {
    /// The bar.
    pub bar: Bar,
    /// Its identity; see [`crate::domain::bar_identity`].
    pub uuid: String,
}

/// Rows that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarBatch {
    /// The same for every retry of this batch, and for no other one.
    pub token: String,
    /// The rows.
    pub rows: Arc<Vec<IdentifiedBar>>,
}
