// Upstream: many
// Downstream: domain, store_error
// Role: The port to the stored stock list and trading calendar.

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::domain::departures::Departures;
use crate::domain::reference_list::StockList;
use crate::domain::{Code, Listing, Stock, SyncRecord, TradeDay};
use crate::ports::StoreError;

/// A store of the stock list and the trading calendar.
#[async_trait]
pub trait ReferenceStore: Send + Sync {
    /// Every code that was listed after `since`, sorted. An empty list is a valid answer, not an error.
    async fn listed_codes(&self, since: NaiveDate) -> Result<Vec<Code>, StoreError>;

    /// The listing of each security, also of delisted ones. If a code has several rows, the oldest one counts, as in
    /// the merge.
    async fn listings(&self) -> Result<Vec<Listing>, StoreError>;

    /// Days of the stored calendar and whether shares are traded on them. If a day has several rows, the oldest one is
    /// first. Empty if the table does not exist.
    async fn trade_days(&self) -> Result<Vec<(NaiveDate, bool)>, StoreError>;

    /// Merges `stocks` into the stored list in one transaction: inserts new rows and updates changed ones. Other rows
    /// and columns stay unchanged.
    async fn merge_stocks(&self, stocks: &[Stock]) -> Result<MergeCounts, StoreError>;

    /// Compares a merged list with the stored one, and stores which securities it no longer names: see
    /// [`departures`](crate::domain::departures::departures). No row is removed.
    async fn retire_stocks(&self, list: &StockList) -> Result<Departures, StoreError>;

    /// Merges `days` into the stored calendar in the same way.
    async fn merge_trade_days(&self, days: &[TradeDay]) -> Result<MergeCounts, StoreError>;

    /// Whether the lists can be read; cheap.
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Why a list could not be written the last time; `None` if it could.
    fn write_fault(&self) -> Option<String> {
        None
    }

    /// Stores the records of ended tasks.
    async fn record_syncs(&self, records: &[SyncRecord]) -> Result<(), StoreError>;
}

/// The result of a merge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeCounts {
    /// Inserted rows.
    pub added: u64,
    /// Updated rows.
    pub updated: u64,
    /// Rows that were already up to date.
    pub unchanged: u64,
}
