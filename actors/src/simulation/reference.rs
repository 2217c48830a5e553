// Upstream: simulation, tests::simulate, world
// Downstream: domain, faults, ports
// Role: A model of Ginkgo's MySQL database with stock list, trading calendar and records of ended tasks.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::domain::stock_info::listing;
use crate::domain::{Code, Listing, Stock, SyncRecord, TradeDay};
use crate::ports::{MergeCounts, ReferenceStore, StoreError};
use crate::simulation::Faults;

/// The tables of one model server.
#[derive(Debug, Default)]
pub struct ModelReference {
    /// Faults of calls. The operations are named `lists.` and the method of the port, such as `lists.listings`.
    pub faults: Faults,
    lists: Mutex<Lists>,
}

#[derive(Debug, Default)]
struct Lists {
    stocks: BTreeMap<Code, Stock>,
    days: BTreeMap<NaiveDate, bool>,
    syncs: Vec<SyncRecord>,
}

impl ModelReference {
    /// The stored stock list.
    pub fn stocks(&self) -> Vec<Stock> {
        self.lock().stocks.values().cloned().collect()
    }

    /// The records of ended tasks.
    pub fn syncs(&self) -> Vec<SyncRecord> {
        self.lock().syncs.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call<T>(&self, operation: &'static str, work: impl FnOnce(&mut Lists) -> T) -> Result<T, StoreError> {
        self.faults.call(operation, || work(&mut self.lock()))
    }
}

/// Counts a merged row as added, unchanged or updated.
fn count<T: PartialEq>(before: Option<T>, now: &T, counts: &mut MergeCounts) {
    match before {
        None => counts.added += 1,
        Some(before) if before == *now => counts.unchanged += 1,
        Some(_) => counts.updated += 1,
    }
}

#[async_trait]
impl ReferenceStore for ModelReference {
    async fn listed_codes(&self) -> Result<Vec<Code>, StoreError> {
        self.call("lists.listed_codes", |lists| lists.stocks.keys().copied().collect())
    }

    async fn listings(&self) -> Result<Vec<Listing>, StoreError> {
        self.call("lists.listings", |lists| {
            let of = |stock: &Stock| {
                listing(stock.code, stock.name.clone(), stock.list_date.date(), stock.delist_date.date())
            };
            lists.stocks.values().map(of).collect()
        })
    }

    async fn trade_days(&self) -> Result<Vec<(NaiveDate, bool)>, StoreError> {
        self.call("lists.trade_days", |lists| lists.days.iter().map(|(day, open)| (*day, *open)).collect())
    }

    async fn merge_stocks(&self, stocks: &[Stock]) -> Result<MergeCounts, StoreError> {
        self.call("lists.merge_stocks", |lists| {
            let mut counts = MergeCounts::default();
            for stock in stocks {
                count(lists.stocks.insert(stock.code, stock.clone()), stock, &mut counts);
            }
            counts
        })
    }

    async fn merge_trade_days(&self, days: &[TradeDay]) -> Result<MergeCounts, StoreError> {
        self.call("lists.merge_trade_days", |lists| {
            let mut counts = MergeCounts::default();
            for day in days {
                count(lists.days.insert(day.date.date(), day.is_open), &day.is_open, &mut counts);
            }
            counts
        })
    }

    async fn record_syncs(&self, records: &[SyncRecord]) -> Result<(), StoreError> {
        self.call("lists.record_syncs", |lists| lists.syncs.extend_from_slice(records))
    }
}
