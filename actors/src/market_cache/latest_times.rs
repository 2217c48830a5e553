// Upstream: batch_writer::bars, batch_writer::factors, fetcher, latest_times_tests, supervisor
// Downstream: domain, ports
// Role: Caches the newest stored timestamp of every code, read with one query.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::NaiveDateTime;
use tokio::sync::RwLock;
use tokio::time::Instant;

use crate::domain::{Code, Frequency};
use crate::ports::{StoreError, StoreSet, Swappable};

/// The series whose newest timestamps are cached.
#[derive(Debug, Clone, Copy)]
enum Series {
    Bars(Frequency),
    Factors,
}

/// The newest stored timestamp of every code, where incremental fetches start. Other workers write too, so the cache
/// may lag behind the store. Then a fetch requests more rows than necessary, and the BatchWriter drops the stored ones.
/// What the earlier owner of a partition stored must be known, or its last commands would be fetched again.
/// The cache must not stay ahead of the store (an operator may delete rows to fetch them again), so it is read again
/// when it is older than a maximum age.
pub struct LatestTimes {
    stores: Arc<Swappable<StoreSet>>,
    series: Series,
    table: RwLock<Option<Table>>,
}

struct Table {
    read_at: Instant,
    /// The generation of the stores that were read.
    generation: u64,
    newest: HashMap<Code, NaiveDateTime>,
}

/// The newest stored bars, separately for each frequency.
pub struct LatestBars {
    stores: Arc<Swappable<StoreSet>>,
    /// One cache for each frequency used so far.
    times: Mutex<BTreeMap<Frequency, Arc<LatestTimes>>>,
}

impl LatestBars {
    /// Creates empty caches.
    pub fn new(stores: Arc<Swappable<StoreSet>>) -> Self {
        Self { stores, times: Mutex::default() }
    }

    /// The newest timestamps of the bars of one frequency.
    pub fn of(&self, frequency: Frequency) -> Arc<LatestTimes> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(LatestTimes::new(self.stores.clone(), Series::Bars(frequency)));
        times.entry(frequency).or_insert_with(new).clone()
    }
}

impl LatestTimes {
    /// Creates an empty cache of the newest timestamps of factors.
    pub fn of_factors(stores: Arc<Swappable<StoreSet>>) -> Self {
        Self::new(stores, Series::Factors)
    }

    fn new(stores: Arc<Swappable<StoreSet>>, series: Series) -> Self {
        Self { stores, series, table: RwLock::new(None) }
    }

    /// The newest stored timestamp of a code; `None` if no row is stored. If the cache is older than `max_age` or
    /// belongs to replaced stores, one query reads the timestamps of all codes, and concurrent callers wait for it.
    pub async fn newest(&self, code: Code, max_age: Duration) -> Result<Option<NaiveDateTime>, StoreError> {
        self.newest_since(code, max_age, None).await
    }

    /// The newest stored timestamp of a code, as [`Self::newest`], read at `since` or later.
    pub async fn newest_since(
        &self,
        code: Code,
        max_age: Duration,
        since: Option<Instant>,
    ) -> Result<Option<NaiveDateTime>, StoreError> {
        let stores = self.stores.pin();
        let is_current = |table: &&Table| {
            table.read_at.elapsed() <= max_age
                && since.is_none_or(|since| table.read_at >= since)
                && table.generation == stores.generation
        };
        if let Some(table) = self.table.read().await.as_ref().filter(is_current) {
            return Ok(table.newest.get(&code).copied());
        }
        let mut cached = self.table.write().await;
        if let Some(table) = cached.as_ref().filter(is_current) {
            return Ok(table.newest.get(&code).copied());
        }
        let read_at = Instant::now();
        let newest = match self.series {
            Series::Bars(frequency) => stores.bars.latest(frequency).await?,
            Series::Factors => stores.factors.latest().await?,
        };
        tracing::debug!(codes = newest.len(), elapsed = ?read_at.elapsed(), "newest stored timestamps read");
        let answer = newest.get(&code).copied();
        *cached = Some(Table { read_at, generation: stores.generation, newest });
        Ok(answer)
    }

    /// Records that rows up to these timestamps are now stored in the stores of this generation.
    pub async fn advance(&self, stored: &[(Code, NaiveDateTime)], generation: u64) {
        if let Some(table) = self.table.write().await.as_mut().filter(|table| table.generation == generation) {
            for (code, timestamp) in stored {
                let newest = table.newest.entry(*code).or_insert(*timestamp);
                *newest = (*newest).max(*timestamp);
            }
        }
    }
}
