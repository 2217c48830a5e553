// Upstream: many
// Downstream: domain, store_error
// Role: The port to the stored stock list and trading calendar.

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::domain::{Code, Listing, Stock, SyncRecord, TradeDay};
use crate::ports::StoreError;

/// Where the stock list and the calendar are kept.
#[async_trait]
pub trait ReferenceStore: Send + Sync {
    /// Every listed code, sorted. An empty list is an answer, not an error.
    async fn listed_codes(&self) -> Result<Vec<Code>, StoreError>;

    /// What is known of each security; of several rows for a code the oldest counts, as with the merge.
    async fn listings(&self) -> Result<Vec<Listing>, StoreError>;

    /// Days of the exchanges' calendar, the oldest row of a day first, and whether shares are traded on them. Without the
    /// table: none.
    async fn trade_days(&self) -> Result<Vec<(NaiveDate, bool)>, StoreError>;

    /// Makes the stored list say what this one says: adds what is new, changes what differs, leaves the rest and what is
    /// not named alone, all at one moment for every reader.
    async fn merge_stocks(&self, stocks: &[Stock]) -> Result<MergeCounts, StoreError>;

    /// The same for the calendar.
    async fn merge_trade_days(&self, days: &[TradeDay]) -> Result<MergeCounts, StoreError>;

    /// Keeps the records of ended tasks.
    async fn record_syncs(&self, records: &[SyncRecord]) -> Result<(), StoreError>;
}

/// What a merge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeCounts {
    /// Rows that are new.
    pub added: u64,
    /// Rows that changed.
    pub updated: u64,
    /// Rows that were as they should be.
    pub unchanged: u64,
}
