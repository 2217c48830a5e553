// Upstream: actors::factor_flush, actors::fetcher, actors::flush, actors::supervisor
// Downstream: actors::domain::bar, actors::domain::code, actors::ports
// Role: The newest stored timestamp of every code, read by one query and believed for a while.

use std::collections::HashMap;
use std::sync::Arc;
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
    table: RwLock<Option<Table>>,
}

struct Table {
    read_at: Instant,
    newest: HashMap<Code, NaiveDateTime>,
}

impl LatestTimes {
    /// Reads nothing yet.
    pub fn of_bars(store: Arc<dyn BarStore>, frequency: Frequency) -> Self {
        Self::new(Box::new(move || {
            let store = store.clone();
            async move { store.latest(frequency).await }.boxed()
        }))
    }

    /// The same for factors.
    pub fn of_factors(store: Arc<dyn FactorStore>) -> Self {
        Self::new(Box::new(move || {
            let store = store.clone();
            async move { store.latest().await }.boxed()
        }))
    }

    fn new(read: Read) -> Self {
        Self { read, table: RwLock::new(None) }
    }

    /// The newest stored timestamp of a code; `None` where nothing is stored. Reads the whole table, once, when what is
    /// known is older than `max_age`; callers that come meanwhile wait for that one query.
    pub async fn newest(&self, code: Code, max_age: Duration) -> Result<Option<NaiveDateTime>, StoreError> {
        if let Some(table) = self.table.read().await.as_ref()
            && table.read_at.elapsed() <= max_age
        {
            return Ok(table.newest.get(&code).copied());
        }
        let mut known = self.table.write().await;
        if let Some(table) = known.as_ref()
            && table.read_at.elapsed() <= max_age
        {
            return Ok(table.newest.get(&code).copied());
        }
        let read_at = Instant::now();
        let newest = (self.read)().await?;
        tracing::debug!(codes = newest.len(), elapsed = ?read_at.elapsed(), "newest stored timestamps read");
        let answer = newest.get(&code).copied();
        *known = Some(Table { read_at, newest });
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
