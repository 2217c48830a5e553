// Upstream: fetcher, supervisor
// Downstream: domain, expiring, facts, ports
// Role: The last stored close of every code: what the first row of an increment is compared with.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{Days, NaiveDate};

use crate::domain::{Code, Hundredths, shanghai_clock};
use crate::market_cache::expiring::Expiring;
use crate::market_cache::facts::RETRY_AFTER;
use crate::ports::{StoreSet, Swappable};

/// Calendar days back in which the last close is looked for: longer than any holidays, and few rows of a large table.
const REACH: Days = Days::new(30);

/// By code: a day and its close.
type Closes = HashMap<Code, (NaiveDate, Hundredths)>;

/// Reads them by one query for all codes. It may lag behind what was stored since: then a row is compared with nothing, for
/// only the close of the trading day before counts.
pub struct LastCloses {
    stores: Arc<Swappable<StoreSet>>,
    known: Expiring<Closes>,
}

impl LastCloses {
    /// Reads nothing yet.
    pub fn new(stores: Arc<Swappable<StoreSet>>) -> Self {
        Self { stores, known: Expiring::default() }
    }

    /// The last stored close of a code before `first`, and its day; of a day long ago none is known.
    pub async fn before(&self, first: NaiveDate, code: Code, max_age: Duration) -> Option<(NaiveDate, Hundredths)> {
        let since = shanghai_clock::today().checked_sub_days(REACH)?;
        if first <= since {
            return None;
        }
        let stores = self.stores.pin();
        let read = async |before| read(&stores, before, since, max_age).await;
        let closes = self.known.current(stores.generation, read).await;
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
            tracing::debug!(%error, "the first rows of increments are compared with nothing");
            (before.map(|closes| (*closes).clone()).unwrap_or_default(), max_age.min(RETRY_AFTER))
        }
    }
}
