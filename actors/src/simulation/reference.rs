// Upstream: simulation, tests::simulate, world
// Downstream: domain, faults, ports
// Role: A model of Ginkgo's MySQL database with stock list, trading calendar and records of ended tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{NaiveDate, NaiveTime};

use crate::domain::departures::{Departures, StockChange, StoredStock, departures};
use crate::domain::reference_list::StockList;
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
    /// Securities that complete lists lack, with the day of the first of these lists.
    absent: BTreeMap<Code, NaiveDate>,
    /// Securities that are marked as deleted.
    deleted: BTreeSet<Code>,
}

impl Lists {
    fn listings(&self) -> impl Iterator<Item = Listing> {
        let of =
            |stock: &Stock| listing(stock.code, stock.name.clone(), stock.list_date.date(), stock.delist_date.date());
        self.stocks.values().map(of)
    }

    fn change(&mut self, change: StockChange) {
        if let (Some(stock), Some(day)) = (self.stocks.get_mut(&change.code), change.delisted) {
            stock.delist_date = day.and_time(NaiveTime::MIN);
        }
        if change.is_deleted {
            self.deleted.insert(change.code);
        }
        match change.absent_since {
            Some(day) => drop(self.absent.insert(change.code, day)),
            None => drop(self.absent.remove(&change.code)),
        }
    }
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
    async fn listed_codes(&self, since: NaiveDate) -> Result<Vec<Code>, StoreError> {
        self.call("lists.listed_codes", |lists| {
            let is_listed = |listing: &Listing| listing.delisted.is_none_or(|day| day > since);
            let listed = lists.listings().filter(|listing| is_listed(listing)).map(|listing| listing.code);
            listed.filter(|code| !lists.deleted.contains(code)).collect()
        })
    }

    async fn listings(&self) -> Result<Vec<Listing>, StoreError> {
        self.call("lists.listings", |lists| lists.listings().collect())
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

    async fn retire_stocks(&self, list: &StockList) -> Result<Departures, StoreError> {
        self.call("lists.retire_stocks", |lists| {
            let stored: Vec<StoredStock> = lists
                .listings()
                .map(|listing| StoredStock {
                    is_deleted: lists.deleted.contains(&listing.code),
                    absent_since: lists.absent.get(&listing.code).copied(),
                    source: lists.stocks.get(&listing.code).map(|stock| stock.source.number()),
                    code: listing.code,
                    name: listing.name,
                    listed: listing.listed,
                    delisted: listing.delisted,
                })
                .collect();
            let found = departures(&stored, list);
            found.changes.iter().for_each(|change| lists.change(*change));
            found
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
