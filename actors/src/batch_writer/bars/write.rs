// Upstream: batch_writer, supervisor
// Downstream: many
// Role: Writes one batch: looks what is stored, inserts what is new, removes what is replaced, until it is done.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Datelike;
use tokio::sync::Mutex;

use crate::batch_writer::bars::plan::{WritePlan, WriteUnit, plan};
use crate::batch_writer::bars::price_events::PriceEvents;
use crate::domain::Frequency;
use crate::market_cache::latest_times::LatestBars;
use crate::ports::{BarBatch, IdentifiedBar, Pinned, StoreErrorClass, StoreSet, Swappable};
use crate::settings::{ActorSettings, ms};
use crate::store_retry::{StoreOutage, StoreTries, insert_counted, insert_token};
use crate::supervision::StatusBoard;

/// What every flush needs.
pub struct FlushContext {
    stores: Arc<Swappable<StoreSet>>,
    latest: Arc<LatestBars>,
    outage: Arc<StoreOutage>,
    events: PriceEvents,
    board: Arc<StatusBoard>,
    /// One flush at a time, also across restarts of the actor: what a flush sees in the store is then complete.
    lane: Mutex<()>,
}

impl FlushContext {
    /// For one store.
    pub fn new(
        stores: Arc<Swappable<StoreSet>>,
        latest: Arc<LatestBars>,
        outage: Arc<StoreOutage>,
        events: PriceEvents,
        board: Arc<StatusBoard>,
    ) -> Self {
        Self { stores, latest, outage, events, board, lane: Mutex::new(()) }
    }
}

/// One batch of bars of one frequency on its way into the store. Dropped before its end, its tasks report themselves lost.
pub struct Flush {
    context: Arc<FlushContext>,
    settings: Arc<ActorSettings>,
    frequency: Frequency,
    tasks: Vec<BufferedTask>,
}

impl Flush {
    /// A flush of these tasks, all of them of this frequency.
    pub fn new(
        context: Arc<FlushContext>,
        settings: Arc<ActorSettings>,
        frequency: Frequency,
        tasks: Vec<BufferedTask>,
    ) -> Self {
        Self { context, settings, frequency, tasks }
    }

    /// Writes until all is stored. Waits out every failure of the store, for a batch that is given up would be lost.
    pub async fn run(mut self) {
        let context = self.context.clone();
        let _lane = context.lane.lock().await;
        let settings = self.settings.clone();
        // Of all attempts together, or a store that only answers look-ups would be tried without pause.
        let mut inserts = StoreTries::new(&context.outage, &settings);
        let (plan, generation) = loop {
            let stores = self.context.stores.pin();
            // What belongs to another worker by now is that worker's to write. What was fetched for what another store
            // lacked is fetched anew: a dropped task runs again.
            self.tasks.retain(|task| !task.guard.is_lost() && task.guard.trace.store_generation == stores.generation);
            if self.tasks.is_empty() {
                return;
            }
            let Some(plan) = self.plan(&stores).await else { continue };
            if self.insert(&plan, &stores, &mut inserts).await == Step::Done
                && self.remove(&plan, &stores).await == Step::Done
            {
                break (plan, stores.generation);
            }
        };
        self.settle(plan, generation).await;
    }

    /// Whether what was looked up may not hold any more: another store is in force, or another worker has a task.
    fn is_outdated(&self, stores: &Pinned<StoreSet>) -> bool {
        self.context.stores.generation() != stores.generation || self.tasks.iter().any(|task| task.guard.is_lost())
    }

    /// `None`: it must be begun anew.
    async fn plan(&self, stores: &Pinned<StoreSet>) -> Option<WritePlan> {
        let units: Vec<&WriteUnit> = self.tasks.iter().map(|task| &task.unit).collect();
        let spans: Vec<_> = units.iter().map(|unit| unit.lookup()).collect();
        let mut tries = StoreTries::new(&self.context.outage, &self.settings);
        loop {
            match stores.bars.stored(self.frequency, &spans).await {
                Ok(stored) => {
                    tries.succeeded();
                    return Some(plan(&units, stored));
                }
                Err(error) => tries.wait_after(&error).await,
            }
            if self.is_outdated(stores) {
                return None;
            }
        }
    }

    /// Inserts the plan's rows; the same rows with the same token until the store has them.
    async fn insert(&self, plan: &WritePlan, stores: &Pinned<StoreSet>, tries: &mut StoreTries<'_>) -> Step {
        if plan.insert.is_empty() {
            return Step::Done;
        }
        let whole = batch_of(plan.insert.clone());
        let mut pending = vec![whole];
        while let Some(batch) = pending.pop() {
            if self.context.stores.generation() != stores.generation {
                return Step::LookAgain;
            }
            let inserting = stores.bars.insert(&batch);
            match insert_counted(&self.context.board, batch.rows.len(), inserting).await {
                Ok(()) => tries.succeeded(),
                Err(error) if error.class == StoreErrorClass::TooManyPartitions && spans_years(&batch) => {
                    tracing::info!(
                        rows = batch.rows.len(),
                        "the batch touches too many partitions and is split by year"
                    );
                    // The oldest years first: the newest stored day says from where a later fetch goes on.
                    pending.extend(split_by_year(&batch).into_iter().rev());
                }
                Err(error) => {
                    tries.wait_after(&error).await;
                    // A table that takes the same rows twice may have got some of them, by partitions: look, and plan anew.
                    if !stores.bars.deduplicates_retries() || self.is_outdated(stores) {
                        return Step::LookAgain;
                    }
                    pending.push(batch);
                }
            }
        }
        Step::Done
    }

    /// What was replaced; also of a task that another worker has by now, for its new rows are there.
    async fn remove(&self, plan: &WritePlan, stores: &Pinned<StoreSet>) -> Step {
        if plan.remove.is_empty() {
            return Step::Done;
        }
        let mut tries = StoreTries::new(&self.context.outage, &self.settings);
        while let Err(error) = stores.bars.remove(self.frequency, &plan.remove).await {
            tries.wait_after(&error).await;
            if self.context.stores.generation() != stores.generation {
                return Step::LookAgain;
            }
        }
        tries.succeeded();
        Step::Done
    }

    async fn settle(mut self, plan: WritePlan, generation: u64) {
        let stored: Vec<_> = self
            .tasks
            .iter()
            .filter_map(|task| Some((task.unit.span.code, task.unit.rows.iter().map(|row| row.timestamp).max()?)))
            .collect();
        let latest = self.context.latest.of(self.frequency);
        if self.settings.events.price_update {
            let max_age = ms(self.settings.fetch.latest_refresh_ms);
            self.context.events.tell(&plan.insert, &latest, max_age).await;
        }
        latest.advance(&stored, generation).await;
        let num_written: u64 = plan.counts.iter().map(|counts| counts.written).sum();
        self.context.board.counters.rows_written.add(num_written);
        self.context.board.progress.progressed();
        tracing::info!(
            tasks = self.tasks.len(),
            inserted = plan.insert.len(),
            removed = plan.remove.len(),
            "batch stored"
        );
        for (task, counts) in self.tasks.drain(..).zip(plan.counts) {
            let (mut report, mut guard) = (task.report, task.guard);
            if counts.written > 0 {
                guard.trace.newest_stored = task.unit.rows.iter().map(|row| row.timestamp).max();
            }
            report.counts.add(&counts);
            guard.done(report);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Step {
    Done,
    LookAgain,
}

fn batch_of(rows: Arc<Vec<IdentifiedBar>>) -> BarBatch {
    BarBatch { token: insert_token(), rows }
}

fn spans_years(batch: &BarBatch) -> bool {
    let mut years = batch.rows.iter().map(|row| row.bar.timestamp.year());
    let first = years.next();
    years.any(|year| Some(year) != first)
}

fn split_by_year(batch: &BarBatch) -> Vec<BarBatch> {
    let mut years: BTreeMap<i32, Vec<IdentifiedBar>> = BTreeMap::new();
    for row in batch.rows.iter() {
        years.entry(row.bar.timestamp.year()).or_default().push(row.clone());
    }
    years.into_values().map(|rows| batch_of(Arc::new(rows))).collect()
}

use tokio::sync::OwnedSemaphorePermit;

use crate::batch_writer::buffer::Buffered;
use crate::domain::TaskReport;
use crate::pipeline::TaskGuard;

/// A task in the buffer.
pub struct BufferedTask {
    /// The task's pass.
    pub guard: TaskGuard,
    /// Its rows.
    pub unit: WriteUnit,
    /// What is known of it.
    pub report: TaskReport,
    /// Its room; freed with it.
    pub permit: OwnedSemaphorePermit,
}

impl Buffered for BufferedTask {
    fn num_rows(&self) -> usize {
        self.unit.rows.len()
    }

    fn guard(&mut self) -> &mut TaskGuard {
        &mut self.guard
    }
}
