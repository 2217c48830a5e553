// Upstream: batch_writer::bars, batch_writer::factors, fetcher, supervisor
// Downstream: domain, ports
// Role: The newest stored timestamp of every code, read by one query and believed for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::NaiveDateTime;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::RwLock;

use crate::domain::{Code, Frequency};
use crate::ports::{BarStore, FactorStore, StoreError};

/// Reads the newest stored timestamp of every code.
type Read = Box<dyn Fn() -> BoxFuture<'static, Result<HashMap<Code, NaiveDateTime>, StoreError>> + Send + Sync>;

/// Where incremental fetches start. Other workers write too, so it may lag behind: then a fetch asks for a little more
/// than it needs, and the BatchWriter drops what is stored already. It must not run ahead for ever (somebody may delete
/// rows to have them fetched again), hence the limited belief.
pub struct LatestTimes {
    read: Read,
    /// Of the store: what another one had is not believed.
    generation: Box<dyn Fn() -> u64 + Send + Sync>,
    table: RwLock<Option<Table>>,
}

struct Table {
    read_at: Instant,
    generation: u64,
    newest: HashMap<Code, NaiveDateTime>,
}

/// The newest stored bars, of each frequency by itself.
pub struct LatestBars {
    store: Arc<dyn BarStore>,
    /// Of the frequencies that were asked for.
    times: Mutex<BTreeMap<Frequency, Arc<LatestTimes>>>,
}

impl LatestBars {
    /// Reads nothing yet.
    pub fn new(store: Arc<dyn BarStore>) -> Self {
        Self { store, times: Mutex::default() }
    }

    /// The newest bars of one frequency.
    pub fn of(&self, frequency: Frequency) -> Arc<LatestTimes> {
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let (store, of) = (self.store.clone(), self.store.clone());
            let read = move || {
                let store = store.clone();
                async move { store.latest(frequency).await }.boxed()
            };
            Arc::new(LatestTimes::new(Box::new(read), Box::new(move || of.generation())))
        };
        times.entry(frequency).or_insert_with(new).clone()
    }
}

impl LatestTimes {
    /// Those of factors. Reads nothing yet.
    pub fn of_factors(store: Arc<dyn FactorStore>) -> Self {
        let of = store.clone();
        let read = move || {
            let store = store.clone();
            async move { store.latest().await }.boxed()
        };
        Self::new(Box::new(read), Box::new(move || of.generation()))
    }

    fn new(read: Read, generation: Box<dyn Fn() -> u64 + Send + Sync>) -> Self {
        Self { read, generation, table: RwLock::new(None) }
    }

    /// The newest stored timestamp of a code; `None` where nothing is stored. Reads the whole table, once, when what is
    /// known is older than `max_age`; callers that come meanwhile wait for that one query.
    pub async fn newest(&self, code: Code, max_age: Duration) -> Result<Option<NaiveDateTime>, StoreError> {
        let generation = (self.generation)();
        let is_believed = |table: &Table| table.read_at.elapsed() <= max_age && table.generation == generation;
        if let Some(table) = self.table.read().await.as_ref()
            && is_believed(table)
        {
            return Ok(table.newest.get(&code).copied());
        }
        let mut known = self.table.write().await;
        if let Some(table) = known.as_ref()
            && is_believed(table)
        {
            return Ok(table.newest.get(&code).copied());
        }
        let read_at = Instant::now();
        let newest = (self.read)().await?;
        tracing::debug!(codes = newest.len(), elapsed = ?read_at.elapsed(), "newest stored timestamps read");
        let answer = newest.get(&code).copied();
        *known = Some(Table { read_at, generation, newest });
        Ok(answer)
    }

    /// Rows up to these timestamps are stored now.
    pub async fn advance(&self, stored: &[(Code, NaiveDateTime)]) {
        if let Some(table) = self.table.write().await.as_mut() {
            for (code, timestamp) in stored {
                let newest = table.newest.entry(*code).or_insert(*timestamp);
                *newest = (*newest).max(*timestamp);
            }
        }
    }
}
