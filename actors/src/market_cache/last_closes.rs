// Upstream: fetcher, supervisor
// Downstream: domain, expiring, facts, ports
// Role: Caches the last stored close of every code, which the first row of an increment is compared with.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{Days, NaiveDate};

use crate::domain::{Code, Price, shanghai_clock};
use crate::market_cache::expiring::Expiring;
use crate::market_cache::facts::RETRY_AFTER;
use crate::ports::{StoreSet, Swappable};

/// Calendar days before today in which the last close is searched: longer than any holiday, and few rows of a large
/// table.
const LOOKBACK: Days = Days::new(30);

/// Per code: a day and its close.
type Closes = HashMap<Code, (NaiveDate, Price)>;

/// Caches the last closes of all codes, read with one query. The cache may lag behind the store. Then a first row is
/// not compared, because only the close of the previous trading day counts.
pub struct LastCloses {
    stores: Arc<Swappable<StoreSet>>,
    cached: Expiring<Closes>,
}

impl LastCloses {
    /// Creates an empty cache. The first request reads the store.
    pub fn new(stores: Arc<Swappable<StoreSet>>) -> Self {
        Self { stores, cached: Expiring::default() }
    }

    /// The last stored close of a code before `first`, and its day. `None` if `first` or the close is older than the
    /// lookback period.
    pub async fn before(&self, first: NaiveDate, code: Code, max_age: Duration) -> Option<(NaiveDate, Price)> {
        let since = shanghai_clock::today().checked_sub_days(LOOKBACK)?;
        if first <= since {
            return None;
        }
        let stores = self.stores.pin();
        let read = async |before| read(&stores, before, since, max_age).await;
        let closes = self.cached.current(stores.generation, read).await;
        closes.get(&code).copied().filter(|(day, _)| *day < first)
    }
}

async fn read(
    stores: &StoreSet,
    before: Option<Arc<Closes>>,
    since: NaiveDate,
    max_age: Duration,
) -> (Closes, Duration) {
    match stores.bars.last_closes(since).await {
        Ok(closes) => (closes, max_age),
        Err(error) => {
            tracing::debug!(%error, "last closes not readable; the first rows of increments may not be compared");
            (before.map(|closes| (*closes).clone()).unwrap_or_default(), max_age.min(RETRY_AFTER))
        }
    }
}
