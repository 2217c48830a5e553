// Upstream: services
// Downstream: actors
// Role: Ports whose adapter can be exchanged while the actors use them; what is sent ends on the old one.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actors::domain::{
    Code, DateRange, DayTotal, FactorChanges, Frequency, Hundredths, Listing, Stock, SyncRecord, TradeDay,
};
use actors::ports::{
    BarBatch, BarStore, CodeHistory, DataKind, FactorBatch, FactorStore, HeartbeatError, HeartbeatStore, KeySpan,
    MarketSource, MarketSources, MergeCounts, ReferenceStore, ReportBatch, ReportStore, SeriesEnds, StoreError,
    StoredBar, StoredFactor, StoredTick, TickBatch, TickStore,
};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

/// A port with the adapter that is in force behind it.
pub struct Switch<T: ?Sized> {
    /// The adapter in force, and how many were before it.
    adapter: RwLock<(Arc<T>, u64)>,
}

impl<T: ?Sized> Switch<T> {
    /// A port with its first adapter.
    pub fn new(adapter: Arc<T>) -> Arc<Self> {
        Arc::new(Self { adapter: RwLock::new((adapter, 0)) })
    }

    /// The adapter in force.
    pub fn current(&self) -> Arc<T> {
        self.adapter.read().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn num_before(&self) -> u64 {
        self.adapter.read().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Puts another adapter in force for every call from now on, and gives back the one before.
    pub fn exchange(&self, adapter: Arc<T>) -> Arc<T> {
        let mut current = self.adapter.write().unwrap_or_else(PoisonError::into_inner);
        current.1 += 1;
        std::mem::replace(&mut current.0, adapter)
    }
}

#[async_trait]
impl BarStore for Switch<dyn BarStore> {
    fn generation(&self) -> u64 {
        self.num_before()
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        self.current().prepare().await
    }

    fn deduplicates_retries(&self) -> bool {
        self.current().deduplicates_retries()
    }

    async fn latest(&self, frequency: Frequency) -> Result<HashMap<Code, NaiveDateTime>, StoreError> {
        self.current().latest(frequency).await
    }

    async fn last_closes(&self, since: NaiveDate) -> Result<HashMap<Code, (NaiveDate, Hundredths)>, StoreError> {
        self.current().last_closes(since).await
    }

    async fn day_totals(&self, code: Code, range: DateRange) -> Result<Vec<DayTotal>, StoreError> {
        self.current().day_totals(code, range).await
    }

    async fn stored(&self, frequency: Frequency, spans: &[KeySpan]) -> Result<Vec<StoredBar>, StoreError> {
        self.current().stored(frequency, spans).await
    }

    async fn insert(&self, batch: &BarBatch) -> Result<(), StoreError> {
        self.current().insert(batch).await
    }

    async fn remove(&self, frequency: Frequency, rows: &[StoredBar]) -> Result<(), StoreError> {
        self.current().remove(frequency, rows).await
    }
}

impl MarketSources for Switch<dyn MarketSources> {
    fn of(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>> {
        self.current().of(kind)
    }

    fn to_compare(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>> {
        self.current().to_compare(kind)
    }

    fn retire(&self) {
        self.current().retire();
    }
}

#[async_trait]
impl FactorStore for Switch<dyn FactorStore> {
    fn generation(&self) -> u64 {
        self.num_before()
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        self.current().prepare().await
    }

    fn deduplicates_retries(&self) -> bool {
        self.current().deduplicates_retries()
    }

    async fn latest(&self) -> Result<HashMap<Code, NaiveDateTime>, StoreError> {
        self.current().latest().await
    }

    async fn ends(&self, codes: &[Code]) -> Result<HashMap<Code, SeriesEnds>, StoreError> {
        self.current().ends(codes).await
    }

    async fn series(&self, codes: &[Code]) -> Result<Vec<StoredFactor>, StoreError> {
        self.current().series(codes).await
    }

    async fn changes(&self, code: Code) -> Result<Option<FactorChanges>, StoreError> {
        self.current().changes(code).await
    }

    async fn insert(&self, batch: &FactorBatch) -> Result<(), StoreError> {
        self.current().insert(batch).await
    }

    async fn remove(&self, rows: &[StoredFactor]) -> Result<(), StoreError> {
        self.current().remove(rows).await
    }
}

#[async_trait]
impl TickStore for Switch<dyn TickStore> {
    async fn newest_day(&self, code: Code) -> Result<Option<NaiveDate>, StoreError> {
        self.current().newest_day(code).await
    }

    async fn stored_days(&self, code: Code, range: DateRange) -> Result<BTreeSet<NaiveDate>, StoreError> {
        self.current().stored_days(code, range).await
    }

    async fn stored(&self, code: Code, range: DateRange) -> Result<Vec<StoredTick>, StoreError> {
        self.current().stored(code, range).await
    }

    async fn deduplicates_retries(&self, code: Code) -> Result<bool, StoreError> {
        self.current().deduplicates_retries(code).await
    }

    async fn insert(&self, code: Code, batch: &TickBatch) -> Result<(), StoreError> {
        self.current().insert(code, batch).await
    }

    async fn remove(&self, code: Code, rows: &[StoredTick]) -> Result<(), StoreError> {
        self.current().remove(code, rows).await
    }
}

#[async_trait]
impl ReferenceStore for Switch<dyn ReferenceStore> {
    fn generation(&self) -> u64 {
        self.num_before()
    }

    async fn listed_codes(&self) -> Result<Vec<Code>, StoreError> {
        self.current().listed_codes().await
    }

    async fn listings(&self) -> Result<Vec<Listing>, StoreError> {
        self.current().listings().await
    }

    async fn trade_days(&self) -> Result<Vec<(NaiveDate, bool)>, StoreError> {
        self.current().trade_days().await
    }

    async fn merge_stocks(&self, stocks: &[Stock]) -> Result<MergeCounts, StoreError> {
        self.current().merge_stocks(stocks).await
    }

    async fn merge_trade_days(&self, days: &[TradeDay]) -> Result<MergeCounts, StoreError> {
        self.current().merge_trade_days(days).await
    }

    async fn record_syncs(&self, records: &[SyncRecord]) -> Result<(), StoreError> {
        self.current().record_syncs(records).await
    }
}

#[async_trait]
impl ReportStore for Switch<dyn ReportStore> {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.current().prepare().await
    }

    async fn keep(&self, batch: &ReportBatch) -> Result<(), StoreError> {
        self.current().keep(batch).await
    }

    async fn history(&self, code: Code, since: DateTime<Utc>) -> Result<CodeHistory, StoreError> {
        self.current().history(code, since).await
    }
}

#[async_trait]
impl HeartbeatStore for Switch<dyn HeartbeatStore> {
    async fn beat(&self, value: &str, ttl: Duration) -> Result<(), HeartbeatError> {
        self.current().beat(value, ttl).await
    }

    async fn remove(&self) -> Result<(), HeartbeatError> {
        self.current().remove().await
    }
}
