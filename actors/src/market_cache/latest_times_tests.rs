// Upstream: cargo
// Downstream: domain, latest_times, ports, simulation
// Role: Tests the cache of the newest stored timestamps: shared reads, expiry and replaced stores.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDateTime;

use crate::domain::bar_identity::bar_uuid;
use crate::domain::{Bar, Frequency, Hundredths, Price, SourceId};
use crate::market_cache::latest_times::{LatestBars, LatestTimes};
use crate::ports::{StoreErrorClass, StoreSet, Swappable};
use crate::simulation::{Fault, ModelStore, code};

const MAX_AGE: Duration = Duration::from_secs(60);

fn at(day: &str) -> NaiveDateTime {
    format!("{day}T00:00:00").parse().unwrap()
}

fn put(store: &ModelStore, number: u32, day: &str) {
    let price = Price::fen(1000);
    let bar = Bar {
        code: code(number),
        frequency: Frequency::Day,
        timestamp: at(day),
        open: price,
        high: price,
        low: price,
        close: price,
        volume: 1,
        amount: Hundredths(1000),
        source: SourceId::TUSHARE,
    };
    store.put_bar(&bar_uuid(&bar), bar);
}

fn scene() -> (Arc<ModelStore>, Arc<Swappable<StoreSet>>, Arc<LatestTimes>) {
    let store = Arc::new(ModelStore::default());
    let stores = Swappable::new(Arc::new(ModelStore::ports(&store)));
    let latest = LatestBars::new(stores.clone()).of(Frequency::Day);
    (store, stores, latest)
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_read() {
    let (store, _, latest) = scene();
    put(&store, 1, "2024-01-02");
    put(&store, 1, "2024-01-03");
    let (first, second) = tokio::join!(latest.newest(code(1), MAX_AGE), latest.newest(code(2), MAX_AGE));
    assert_eq!((first.unwrap(), second.unwrap()), (Some(at("2024-01-03")), None));
    assert_eq!(store.faults.num_calls("bars.latest"), 1);
}

#[tokio::test(start_paused = true)]
async fn reads_again_when_old() {
    let (store, _, latest) = scene();
    assert_eq!(latest.newest(code(1), MAX_AGE).await.unwrap(), None);
    put(&store, 1, "2024-01-02");
    assert_eq!(latest.newest(code(1), MAX_AGE).await.unwrap(), None, "the cache has not expired");
    tokio::time::advance(MAX_AGE + Duration::from_millis(1)).await;
    assert_eq!(latest.newest(code(1), MAX_AGE).await.unwrap(), Some(at("2024-01-02")));
}

#[tokio::test(start_paused = true)]
async fn reads_again_after_a_partition_was_assigned() {
    let (store, _, latest) = scene();
    assert_eq!(latest.newest(code(1), MAX_AGE).await.unwrap(), None);
    // Another worker stores a row; then its partition is assigned to this one.
    put(&store, 1, "2024-01-02");
    tokio::time::advance(Duration::from_millis(1)).await;
    let assigned = Some(tokio::time::Instant::now());
    for _ in 0..2 {
        assert_eq!(latest.newest_since(code(1), MAX_AGE, assigned).await.unwrap(), Some(at("2024-01-02")));
    }
    assert_eq!(store.faults.num_calls("bars.latest"), 2);
}

#[tokio::test(start_paused = true)]
async fn advances_and_never_goes_back() {
    let (_, stores, latest) = scene();
    latest.newest(code(1), MAX_AGE).await.unwrap();
    for day in ["2024-01-03", "2024-01-02"] {
        latest.advance(&[(code(1), at(day))], stores.generation()).await;
    }
    assert_eq!(latest.newest(code(1), MAX_AGE).await.unwrap(), Some(at("2024-01-03")));
}

#[tokio::test(start_paused = true)]
async fn forgets_the_old_stores_after_an_exchange() {
    let (store, stores, latest) = scene();
    put(&store, 1, "2024-01-02");
    latest.newest(code(1), MAX_AGE).await.unwrap();
    let old = stores.generation();
    stores.exchange(Arc::new(ModelStore::ports(&Arc::new(ModelStore::default()))));
    assert_eq!(latest.newest(code(1), MAX_AGE).await.unwrap(), None);
    latest.advance(&[(code(1), at("2024-01-09"))], old).await;
    assert_eq!(latest.newest(code(1), MAX_AGE).await.unwrap(), None, "rows of the old stores do not count");
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_is_an_error_and_is_repeated() {
    let (store, _, latest) = scene();
    put(&store, 1, "2024-01-02");
    store.faults.queue("bars.latest", [Fault::Refuse(StoreErrorClass::Transient)]);
    assert!(latest.newest(code(1), MAX_AGE).await.is_err());
    assert_eq!(latest.newest(code(1), MAX_AGE).await.unwrap(), Some(at("2024-01-02")));
}
