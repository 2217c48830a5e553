// Upstream: data_worker, fetcher, last_closes, supervisor, tests::it
// Downstream: domain, expiring, ports, supervision
// Role: Caches listings and trading calendar of the reference store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::NaiveDate;

use crate::domain::calendar::{CALENDAR_NOTICE_DAYS, TradingCalendar};
use crate::domain::{MarketFacts, shanghai_clock};
use crate::market_cache::expiring::Expiring;
use crate::ports::{ReferenceStore, StoreError, Swappable};
use crate::supervision::StatusBoard;

/// Maximum wait until the next read after a failed read. Without it, every task would wait for the failing store.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(60);

/// Caches listings and calendar, read with two queries. If a read fails, the previous facts stay, or the built-in
/// calendar without listings. Then fewer rules apply, and no row waits for the facts.
pub struct FactCache {
    store: Arc<Swappable<dyn ReferenceStore>>,
    /// Receives the end of the calendar.
    board: Arc<StatusBoard>,
    /// The day on which the end of the calendar was last logged.
    end_logged_on: Mutex<Option<NaiveDate>>,
    cached: Expiring<CachedFacts>,
}

struct CachedFacts {
    facts: Arc<MarketFacts>,
    /// The problem of the last read. It is logged when it changes, not at each read.
    problem: Option<String>,
}

impl FactCache {
    /// Creates an empty cache. The first request reads the store.
    pub fn new(store: Arc<Swappable<dyn ReferenceStore>>, board: Arc<StatusBoard>) -> Self {
        Self { store, board, end_logged_on: Mutex::default(), cached: Expiring::default() }
    }

    /// The cached facts. They are at most `max_age` old, except during a read and after a failed one.
    pub async fn current(&self, max_age: Duration) -> Arc<MarketFacts> {
        let store = self.store.pin();
        let read = async |before| self.read(store.value().as_ref(), before, max_age).await;
        self.cached.current(store.generation, read).await.facts.clone()
    }

    /// Reads the facts again and returns them.
    pub async fn refresh(&self, max_age: Duration) -> Arc<MarketFacts> {
        let store = self.store.pin();
        let read = async |before| self.read(store.value().as_ref(), before, max_age).await;
        self.cached.refresh(store.generation, read).await.facts.clone()
    }

    async fn read(
        &self,
        store: &dyn ReferenceStore,
        before: Option<Arc<CachedFacts>>,
        max_age: Duration,
    ) -> (CachedFacts, Duration) {
        let read = read(store, before, max_age).await;
        let calendar = &read.0.facts.calendar;
        self.board.set_calendar_end(calendar.range().map(|range| range.end));
        self.log_calendar_end(calendar);
        read
    }

    /// Logs once a day that the calendar ends soon, or has ended.
    fn log_calendar_end(&self, calendar: &TradingCalendar) {
        let today = shanghai_clock::today();
        let Some(days_left) = calendar.days_left(today).filter(|left| *left <= CALENDAR_NOTICE_DAYS) else { return };
        let before = self.end_logged_on.lock().unwrap_or_else(PoisonError::into_inner).replace(today);
        if before != Some(today) {
            tracing::warn!(
                days_left,
                "the trading calendar ends soon; afterwards every weekday counts as a trading day, also holidays; send \
                 trade_day when the exchanges have announced the next year"
            );
        }
    }
}

async fn read(
    store: &dyn ReferenceStore,
    before: Option<Arc<CachedFacts>>,
    max_age: Duration,
) -> (CachedFacts, Duration) {
    let (listings, days) = tokio::join!(store.listings(), store.trade_days());
    let failed = listings.is_err() || days.is_err();
    let problem = problem(listings.as_ref().err(), days.as_ref().map(|days| days.is_empty()));
    if problem != before.as_ref().and_then(|cached| cached.problem.clone()) {
        match &problem {
            Some(problem) => tracing::warn!(problem, "listings or trading calendar not available; fewer rules apply"),
            None => tracing::info!("listings and trading calendar are available again"),
        }
    }
    let built_in = || MarketFacts::built_in(shanghai_clock::today());
    let mut facts = before.map_or_else(built_in, |cached| (*cached.facts).clone());
    if let Ok(listings) = listings {
        let by_code: HashMap<_, _> = listings.into_iter().map(|listing| (listing.code, listing)).collect();
        facts.listings = Arc::new(by_code);
        facts.read_on = shanghai_clock::today();
    }
    if let Ok(days) = days {
        facts.calendar = Arc::new(TradingCalendar::corrected_by(&days));
    }
    let securities = facts.listings.len();
    tracing::debug!(
        securities,
        calendar = facts.calendar.range().map(tracing::field::display),
        "listings and trading calendar read"
    );
    let lifetime = if failed { max_age.min(RETRY_AFTER) } else { max_age };
    (CachedFacts { facts: Arc::new(facts), problem }, lifetime)
}

/// Describes what is not available, for the log.
fn problem(listings: Option<&StoreError>, days: Result<bool, &StoreError>) -> Option<String> {
    let days = match days {
        Ok(false) => None,
        Ok(true) => {
            let reason = "the table trade_day is empty (the command trade_day fills it); the built-in calendar is used";
            Some(reason.to_owned())
        }
        Err(error) => Some(format!("{error}; the previous calendar is used, or the built-in one")),
    };
    let listings = listings.map(|error| format!("{error}; the previous list dates are used, or none"));
    let parts: Vec<String> = listings.into_iter().chain(days).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::departures::Departures;
    use crate::domain::reference_list::StockList;
    use crate::domain::{Code, Listing, Stock, SyncRecord, TradeDay};
    use crate::ports::{MergeCounts, StoreErrorClass};
    use async_trait::async_trait;
    use chrono::NaiveDate;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[derive(Default)]
    struct Store {
        reads: AtomicU32,
        is_away: AtomicBool,
    }

    impl Store {
        fn answer<T>(&self, answer: T) -> Result<T, StoreError> {
            let (store, operation) = ("store".to_owned(), "read".to_owned());
            let error = StoreError { store, operation, class: StoreErrorClass::Transient, reason: "away".to_owned() };
            if self.is_away.load(Ordering::SeqCst) { Err(error) } else { Ok(answer) }
        }
    }

    #[async_trait]
    impl ReferenceStore for Store {
        async fn listed_codes(&self, _since: NaiveDate) -> Result<Vec<Code>, StoreError> {
            self.answer(Vec::new())
        }

        async fn listings(&self) -> Result<Vec<Listing>, StoreError> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            let code = "600000.SH".parse().unwrap();
            self.answer(vec![Listing { code, name: "A".into(), listed: Some(day("1999-11-10")), delisted: None }])
        }

        async fn trade_days(&self) -> Result<Vec<(NaiveDate, bool)>, StoreError> {
            self.answer(vec![(day("2024-02-04"), true)])
        }

        async fn merge_stocks(&self, _stocks: &[Stock]) -> Result<MergeCounts, StoreError> {
            self.answer(MergeCounts::default())
        }

        async fn retire_stocks(&self, _list: &StockList) -> Result<Departures, StoreError> {
            self.answer(Departures::default())
        }

        async fn merge_trade_days(&self, _days: &[TradeDay]) -> Result<MergeCounts, StoreError> {
            self.answer(MergeCounts::default())
        }

        async fn record_syncs(&self, _records: &[SyncRecord]) -> Result<(), StoreError> {
            self.answer(())
        }
    }

    const MAX_AGE: Duration = Duration::from_secs(600);

    #[tokio::test(start_paused = true)]
    async fn many_share_one_read_until_it_is_old() {
        let store = Arc::new(Store::default());
        let cache = FactCache::new(Swappable::new(store.clone()), Arc::default());
        let (first, second) = tokio::join!(cache.current(MAX_AGE), cache.current(MAX_AGE));
        assert!(Arc::ptr_eq(&first, &second));
        assert_eq!(first.listing("600000.SH".parse().unwrap()).unwrap().listed, Some(day("1999-11-10")));
        assert_eq!(first.calendar.is_trading_day(day("2024-02-04")), Some(true));
        tokio::time::advance(MAX_AGE).await;
        cache.current(MAX_AGE).await;
        assert_eq!(store.reads.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn falls_back_to_previous_or_built_in_facts() {
        let store = Arc::new(Store::default());
        store.is_away.store(true, Ordering::SeqCst);
        let cache = FactCache::new(Swappable::new(store.clone()), Arc::default());
        let facts = cache.current(MAX_AGE).await;
        assert_eq!(&*facts.calendar, TradingCalendar::built_in());
        assert_eq!(facts.listings.len(), 0);
        cache.current(MAX_AGE).await;
        assert_eq!(store.reads.load(Ordering::SeqCst), 1, "a failing store is not read by each task");
        store.is_away.store(false, Ordering::SeqCst);
        tokio::time::advance(RETRY_AFTER).await;
        assert_eq!(cache.current(MAX_AGE).await.listings.len(), 1);
        store.is_away.store(true, Ordering::SeqCst);
        tokio::time::advance(MAX_AGE).await;
        let facts = cache.current(MAX_AGE).await;
        assert_eq!((facts.listings.len(), facts.calendar.is_trading_day(day("2024-02-04"))), (1, Some(true)));
    }
}
