// Upstream: many
// Downstream: domain, faults, insertion, ports, samples
// Role: A model of ClickHouse: tables without unique keys, so a row that is inserted twice exists twice.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};

use crate::domain::bar_identity::replacing_bar_uuid;
use crate::domain::row_version::RowVersion;
use crate::domain::{
    AdjustFactor, Bar, Code, DateRange, DayTotal, FactorChanges, Frequency, Price, QualityReport, Tick,
};
use crate::ports::{
    BarBatch, BarStore, CodeHistory, FactorBatch, FactorStore, KeySpan, ReportBatch, ReportStore, SeriesEnds,
    StoreError, StoreErrorClass, StoreSet, StoredBar, StoredFactor, StoredTick, TickBatch, TickStore,
};
use crate::simulation::faults::injected;
use crate::simulation::insertion::Insertions;
use crate::simulation::{Faults, code};

/// All tables of one model server.
#[derive(Debug, Default)]
pub struct ModelStore {
    /// Faults of calls. The operations are named by table and method of the port, such as `bars.insert`.
    pub faults: Arc<Faults>,
    /// Whether the tables drop a batch with a known token, as a ClickHouse table with a deduplication window does.
    pub deduplicates: bool,
    /// Whether the table of bars merges rows with equal keys at random moments and keeps the newest, as a
    /// ReplacingMergeTree does.
    pub merges: bool,
    tables: Arc<Mutex<Tables>>,
}

#[derive(Debug, Default)]
struct Tables {
    bars: Vec<(String, Bar)>,
    factors: Vec<(String, AdjustFactor)>,
    ticks: Vec<(String, Tick)>,
    reports: Vec<QualityReport>,
    insertions: Insertions,
    /// The keys that a reader found since [`ModelStore::watch_keys`].
    watched: Option<BTreeSet<StoredKey>>,
    /// Those of them that a reader did not find later.
    lost: BTreeSet<StoredKey>,
}

/// What a reader asks a table for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoredKey {
    /// A bar.
    Bar(Code, Frequency, NaiveDateTime),
    /// The factor of a day.
    Factor(Code, NaiveDateTime),
    /// The trades of a minute.
    Ticks(Code, NaiveDateTime),
}

impl Tables {
    fn num_rows(&self) -> (usize, usize, usize) {
        (self.bars.len(), self.factors.len(), self.ticks.len())
    }

    fn keys(&self) -> BTreeSet<StoredKey> {
        let bars = self.bars.iter().map(|(_, bar)| StoredKey::Bar(bar.code, bar.frequency, bar.timestamp));
        let factors = self.factors.iter().map(|(_, factor)| StoredKey::Factor(factor.code, factor.raw.timestamp));
        let ticks = self.ticks.iter().map(|(_, tick)| StoredKey::Ticks(tick.code, tick.timestamp));
        bars.chain(factors).chain(ticks).collect()
    }

    /// Compares the keys that a reader finds now with those that were there before.
    fn note_keys(&mut self) {
        let Some(watched) = self.watched.take() else { return };
        let now = self.keys();
        let gone: Vec<StoredKey> = watched.difference(&now).cloned().collect();
        if !gone.is_empty() {
            tracing::error!(?gone, "a reader does not find these keys");
        }
        self.lost.extend(gone);
        self.watched = Some(watched.into_iter().chain(now).collect());
    }

    /// Keeps the newest row of each key.
    fn merge_bars(&mut self) {
        let mut seen = HashSet::new();
        let mut merged: Vec<_> = std::mem::take(&mut self.bars).into_iter().rev().collect();
        merged.retain(|(_, bar)| seen.insert((bar.code, bar.frequency, bar.timestamp)));
        merged.reverse();
        self.bars = merged;
    }
}

impl ModelStore {
    /// A server whose tables drop batches with a known token.
    pub fn deduplicating() -> Self {
        Self { deduplicates: true, ..Self::default() }
    }

    /// The ports of a server.
    pub fn ports(store: &Arc<Self>) -> StoreSet {
        StoreSet { bars: store.clone(), factors: store.clone(), ticks: store.clone(), reports: store.clone() }
    }

    /// All stored bars with their UUIDs, sorted by key.
    pub fn bars(&self) -> Vec<(String, Bar)> {
        let mut bars = self.tables().bars.clone();
        bars.sort_by_key(|(uuid, bar)| (bar.code, bar.frequency, bar.timestamp, uuid.clone()));
        bars
    }

    /// The stored closes of one security in fen, in the order of their days.
    pub fn closes(&self, number: u32) -> Vec<i64> {
        self.bars().iter().filter(|(_, bar)| bar.code == code(number)).map(|(_, bar)| bar.close.to_fen()).collect()
    }

    /// All stored factors, sorted by key.
    pub fn factors(&self) -> Vec<AdjustFactor> {
        let mut factors: Vec<AdjustFactor> = self.tables().factors.iter().map(|(_, factor)| *factor).collect();
        factors.sort_by_key(|factor| (factor.code, factor.raw.timestamp));
        factors
    }

    /// All stored ticks, in the order of insertion.
    pub fn ticks(&self) -> Vec<Tick> {
        self.tables().ticks.iter().map(|(_, tick)| tick.clone()).collect()
    }

    /// All stored reports.
    pub fn reports(&self) -> Vec<QualityReport> {
        self.tables().reports.clone()
    }

    /// Stores a bar with a given UUID, as another writer would.
    pub fn put_bar(&self, uuid: &str, bar: Bar) {
        self.tables().bars.push((uuid.to_owned(), bar));
    }

    /// Stores a bar with this version, as another worker that replaced it would.
    pub fn put_replacing_bar(&self, version: RowVersion, bar: Bar) {
        self.put_bar(&replacing_bar_uuid(&bar, version), bar);
    }

    /// Lets the next INSERT lose its first rows, and report success.
    pub fn lose_rows(&self, number: usize) {
        self.tables().insertions.rows_to_lose = number;
    }

    /// Watches from now on that a reader finds each key again.
    pub fn watch_keys(&self) {
        let mut tables = self.tables();
        tables.watched = Some(tables.keys());
    }

    /// The keys that a reader did not find at some moment since [`Self::watch_keys`].
    pub fn lost_keys(&self) -> Vec<StoredKey> {
        self.tables().lost.iter().cloned().collect()
    }

    /// The keys that are stored now.
    pub fn keys(&self) -> BTreeSet<StoredKey> {
        self.tables().keys()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        lock(&self.tables)
    }

    /// Executes a statement. Once it is sent, the server executes it, also if its client is gone by then.
    async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Tables) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        if !self.faults.has_latency() {
            return execute(&self.faults, &self.tables, self.merges, operation, work);
        }
        self.faults.travel().await;
        let (faults, tables, merges) = (self.faults.clone(), self.tables.clone(), self.merges);
        let executed = tokio::spawn(async move {
            faults.travel().await;
            execute(&faults, &tables, merges, operation, work)
        });
        let outcome = executed.await.unwrap_or_else(|_| Err(injected(operation, StoreErrorClass::OutcomeUnknown)));
        self.faults.travel().await;
        outcome
    }
}

fn bounded<T>(operation: &str, rows: Vec<T>, max_rows: usize) -> Result<Vec<T>, StoreError> {
    if rows.len() > max_rows { Err(StoreError::too_many_rows("model", operation, max_rows)) } else { Ok(rows) }
}

fn lock(tables: &Mutex<Tables>) -> MutexGuard<'_, Tables> {
    tables.lock().unwrap_or_else(PoisonError::into_inner)
}

fn execute<T>(
    faults: &Faults,
    tables: &Mutex<Tables>,
    merges: bool,
    operation: &'static str,
    work: impl FnOnce(&mut Tables) -> T,
) -> Result<T, StoreError> {
    let is_merged = merges && faults.random(2) == 1;
    faults.call_in_part(operation, |in_part| {
        let mut tables = lock(tables);
        tables.insertions.in_part = in_part && operation.ends_with(".insert");
        if is_merged {
            tables.merge_bars();
        }
        let before = tables.num_rows();
        let answer = work(&mut tables);
        tracing::debug!(operation, ?before, after = ?tables.num_rows(), "executed");
        if operation.ends_with(".insert") || operation.ends_with(".remove") || is_merged {
            tables.note_keys();
        }
        answer
    })
}

/// The newest timestamp of each code.
fn newest(rows: impl Iterator<Item = (Code, NaiveDateTime)>) -> HashMap<Code, NaiveDateTime> {
    let mut newest = HashMap::new();
    for (code, time) in rows {
        let known = newest.entry(code).or_insert(time);
        *known = time.max(*known);
    }
    newest
}

#[async_trait]
impl BarStore for ModelStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.call("bars.prepare", |_| ()).await
    }

    fn deduplicates_retries(&self) -> bool {
        self.deduplicates
    }

    async fn latest(&self, frequency: Frequency) -> Result<HashMap<Code, NaiveDateTime>, StoreError> {
        self.call("bars.latest", move |tables| {
            let of_frequency = tables.bars.iter().filter(|(_, bar)| bar.frequency == frequency);
            newest(of_frequency.map(|(_, bar)| (bar.code, bar.timestamp)))
        })
        .await
    }

    async fn last_closes(&self, since: NaiveDate) -> Result<HashMap<Code, (NaiveDate, Price)>, StoreError> {
        self.call("bars.last_closes", move |tables| {
            let mut closes: HashMap<Code, (NaiveDate, Price)> = HashMap::new();
            for (_, bar) in tables.bars.iter().filter(|(_, bar)| bar.frequency == Frequency::Day) {
                let day = bar.timestamp.date();
                if day >= since && closes.get(&bar.code).is_none_or(|(known, _)| *known < day) {
                    closes.insert(bar.code, (day, bar.close));
                }
            }
            closes
        })
        .await
    }

    async fn day_totals(&self, code: Code, range: DateRange) -> Result<Vec<DayTotal>, StoreError> {
        self.call("bars.day_totals", move |tables| {
            let mut days: BTreeMap<NaiveDate, DayTotal> = BTreeMap::new();
            for (_, bar) in tables.bars.iter().filter(|(_, bar)| bar.code == code && bar.frequency == Frequency::Day) {
                let Bar { high, low, close, .. } = *bar;
                let (day, volume) = (bar.timestamp.date(), bar.volume.into());
                if range.contains(day) {
                    days.insert(day, DayTotal { day, high, low, close, volume });
                }
            }
            days.into_values().collect()
        })
        .await
    }

    async fn stored(
        &self,
        frequency: Frequency,
        spans: &[KeySpan],
        max_rows: usize,
    ) -> Result<Vec<StoredBar>, StoreError> {
        let spans = spans.to_vec();
        let is_requested = move |bar: &Bar| {
            bar.frequency == frequency
                && spans.iter().any(|span| {
                    span.code == bar.code
                        && span.from.is_none_or(|from| from <= bar.timestamp)
                        && span.to.is_none_or(|to| bar.timestamp <= to)
                })
        };
        self.call("bars.stored", move |tables| {
            let found = tables.bars.iter().filter(|(_, bar)| is_requested(bar));
            let key = |(uuid, bar): &(String, Bar)| StoredBar {
                code: bar.code,
                timestamp: bar.timestamp,
                uuid: uuid.clone(),
            };
            found.map(key).collect()
        })
        .await
        .and_then(|rows| bounded("bars.stored", rows, max_rows))
    }

    async fn insert(&self, batch: &BarBatch) -> Result<(), StoreError> {
        let (batch, deduplicates) = (batch.clone(), self.deduplicates);
        self.call("bars.insert", move |tables| {
            let accepted = tables.insertions.accept(&batch, deduplicates, |row| row.bar.timestamp);
            tables.bars.extend(accepted.into_iter().map(|row| (row.uuid, row.bar)));
        })
        .await
    }

    async fn remove(&self, frequency: Frequency, rows: &[StoredBar]) -> Result<(), StoreError> {
        let gone: HashSet<StoredBar> = rows.iter().cloned().collect();
        self.call("bars.remove", move |tables| {
            tables.bars.retain(|(uuid, bar)| {
                let key = StoredBar { code: bar.code, timestamp: bar.timestamp, uuid: uuid.clone() };
                bar.frequency != frequency || !gone.contains(&key)
            });
        })
        .await
    }
}

#[async_trait]
impl FactorStore for ModelStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.call("factors.prepare", |_| ()).await
    }

    fn deduplicates_retries(&self) -> bool {
        self.deduplicates
    }

    async fn latest(&self) -> Result<HashMap<Code, NaiveDateTime>, StoreError> {
        self.call("factors.latest", |tables| {
            newest(tables.factors.iter().map(|(_, factor)| (factor.code, factor.raw.timestamp)))
        })
        .await
    }

    async fn ends(&self, codes: &[Code]) -> Result<HashMap<Code, SeriesEnds>, StoreError> {
        let codes = codes.to_vec();
        self.call("factors.ends", move |tables| {
            let mut ends = HashMap::new();
            for code in &codes {
                let mut rows: Vec<&AdjustFactor> =
                    tables.factors.iter().map(|(_, factor)| factor).filter(|factor| factor.code == *code).collect();
                rows.sort_by_key(|factor| factor.raw.timestamp);
                if let Some((first, last)) = rows.first().zip(rows.last()) {
                    let last_at = last.raw.timestamp;
                    ends.insert(*code, SeriesEnds { first: first.raw.factor, last: last.raw.factor, last_at });
                }
            }
            ends
        })
        .await
    }

    async fn series(&self, codes: &[Code], max_rows: usize) -> Result<Vec<StoredFactor>, StoreError> {
        let codes = codes.to_vec();
        self.call("factors.series", move |tables| {
            let found = tables.factors.iter().filter(|(_, factor)| codes.contains(&factor.code));
            let row = |(uuid, factor): &(String, AdjustFactor)| StoredFactor {
                code: factor.code,
                raw: factor.raw,
                uuid: uuid.clone(),
            };
            found.map(row).collect()
        })
        .await
        .and_then(|rows| bounded("factors.series", rows, max_rows))
    }

    async fn changes(&self, code: Code) -> Result<Option<FactorChanges>, StoreError> {
        self.call("factors.changes", move |tables| {
            let days: BTreeMap<NaiveDate, _> = tables
                .factors
                .iter()
                .filter(|(_, factor)| factor.code == code)
                .map(|(_, factor)| (factor.raw.timestamp.date(), factor.raw.factor))
                .collect();
            let until = *days.last_key_value()?.0;
            let mut since: Vec<_> = days.into_iter().collect();
            since.dedup_by_key(|(_, factor)| *factor);
            Some(FactorChanges { since, until })
        })
        .await
    }

    async fn insert(&self, batch: &FactorBatch) -> Result<(), StoreError> {
        let (batch, deduplicates) = (batch.clone(), self.deduplicates);
        self.call("factors.insert", move |tables| {
            let accepted = tables.insertions.accept(&batch, deduplicates, |row| row.raw.timestamp);
            tables.factors.extend(accepted.into_iter().map(|row| (row.uuid(), row)));
        })
        .await
    }

    async fn remove(&self, rows: &[StoredFactor]) -> Result<(), StoreError> {
        let rows = rows.to_vec();
        self.call("factors.remove", move |tables| {
            tables
                .factors
                .retain(|(uuid, factor)| !rows.iter().any(|row| row.code == factor.code && row.uuid == *uuid));
        })
        .await
    }
}

#[async_trait]
impl TickStore for ModelStore {
    async fn newest_day(&self, code: Code) -> Result<Option<NaiveDate>, StoreError> {
        self.call("ticks.newest_day", move |tables| {
            tables.ticks.iter().filter(|(_, tick)| tick.code == code).map(|(_, tick)| tick.timestamp.date()).max()
        })
        .await
    }

    async fn stored_days(&self, code: Code, range: DateRange) -> Result<BTreeSet<NaiveDate>, StoreError> {
        self.call("ticks.stored_days", move |tables| {
            let days = tables.ticks.iter().filter(|(_, tick)| tick.code == code).map(|(_, tick)| tick.timestamp.date());
            days.filter(|day| range.contains(*day)).collect()
        })
        .await
    }

    async fn stored(&self, code: Code, range: DateRange) -> Result<Vec<StoredTick>, StoreError> {
        self.call("ticks.stored", move |tables| {
            let found =
                tables.ticks.iter().filter(|(_, tick)| tick.code == code && range.contains(tick.timestamp.date()));
            found.map(|(uuid, tick)| StoredTick { timestamp: tick.timestamp, uuid: uuid.clone() }).collect()
        })
        .await
    }

    async fn deduplicates_retries(&self, _code: Code) -> Result<bool, StoreError> {
        let deduplicates = self.deduplicates;
        self.call("ticks.deduplicates_retries", move |_| deduplicates).await
    }

    async fn insert(&self, _code: Code, batch: &TickBatch) -> Result<(), StoreError> {
        let (batch, deduplicates) = (batch.clone(), self.deduplicates);
        self.call("ticks.insert", move |tables| {
            let accepted = tables.insertions.accept(&batch, deduplicates, |row| row.timestamp);
            tables.ticks.extend(accepted.into_iter().map(|row| (row.uuid(), row)));
        })
        .await
    }

    async fn remove(&self, code: Code, rows: &[StoredTick]) -> Result<(), StoreError> {
        let rows = rows.to_vec();
        self.call("ticks.remove", move |tables| {
            tables.ticks.retain(|(uuid, tick)| {
                let is_it = |row: &StoredTick| row.timestamp == tick.timestamp && row.uuid == *uuid;
                tick.code != code || !rows.iter().any(is_it)
            });
        })
        .await
    }
}

#[async_trait]
impl ReportStore for ModelStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.call("reports.prepare", |_| ()).await
    }

    async fn keep(&self, batch: &ReportBatch) -> Result<(), StoreError> {
        let batch = batch.clone();
        self.call("reports.keep", move |tables| {
            if tables.insertions.is_new(&batch.token) {
                tables.reports.extend(batch.reports.iter().cloned());
            }
        })
        .await
    }

    async fn history(&self, _code: Code, _since: DateTime<Utc>) -> Result<CodeHistory, StoreError> {
        self.call("reports.history", |_| CodeHistory::default()).await
    }
}
