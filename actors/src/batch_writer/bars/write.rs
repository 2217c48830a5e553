// Upstream: batch_writer, supervisor
// Downstream: many
// Role: Writes one batch of bars: reads stored keys, inserts new rows, removes replaced rows; retries until done.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Datelike;
use tokio::sync::{Mutex, OwnedSemaphorePermit};

use crate::batch_writer::bars::contest::{Contest, Verdict};
use crate::batch_writer::bars::plan::{WritePlan, WriteUnit, plan};
use crate::batch_writer::bars::price_events::PriceEvents;
use crate::batch_writer::buffer::Buffered;
use crate::batch_writer::looks::Looks;
use crate::domain::row_version::RowVersion;
use crate::domain::{Frequency, TaskReport};
use crate::market_cache::latest_times::LatestBars;
use crate::pipeline::TaskGuard;
use crate::ports::{
    BarBatch, IdentifiedBar, KeySpan, Pinned, StoreError, StoreErrorClass, StoreSet, StoredKeys, Swappable,
};
use crate::settings::{ActorSettings, ms};
use crate::store_retry::{StoreOperation, StoreOutage, StoreTries, insert_counted, insert_token, read_until_answered};
use crate::supervision::StatusBoard;

/// The services that flushes share.
pub struct FlushContext {
    stores: Arc<Swappable<StoreSet>>,
    latest: Arc<LatestBars>,
    outage: Arc<StoreOutage>,
    events: PriceEvents,
    board: Arc<StatusBoard>,
    /// Allows one flush at a time, also across restarts of the actor, so no other flush changes the rows that a flush
    /// read.
    write_lock: Mutex<()>,
}

impl FlushContext {
    /// Creates the context of a worker.
    pub fn new(
        stores: Arc<Swappable<StoreSet>>,
        latest: Arc<LatestBars>,
        outage: Arc<StoreOutage>,
        events: PriceEvents,
        board: Arc<StatusBoard>,
    ) -> Self {
        Self { stores, latest, outage, events, board, write_lock: Mutex::new(()) }
    }
}

/// The write of one batch of bars of one frequency. If it is dropped before its end, its tasks are reported as lost.
pub struct Flush {
    context: Arc<FlushContext>,
    settings: Arc<ActorSettings>,
    frequency: Frequency,
    tasks: Vec<BufferedTask>,
}

impl Flush {
    /// Creates a flush of tasks that all have this frequency.
    pub fn new(
        context: Arc<FlushContext>,
        settings: Arc<ActorSettings>,
        frequency: Frequency,
        tasks: Vec<BufferedTask>,
    ) -> Self {
        Self { context, settings, frequency, tasks }
    }

    /// Retries until all rows are stored. It never gives up, because the rows of the batch would be lost.
    pub async fn run(mut self) {
        let context = self.context.clone();
        let _write_lock = context.write_lock.lock().await;
        let settings = self.settings.clone();
        // Shared by all iterations. Otherwise the back-off would restart with each plan while only reads succeed.
        let mut writes = StoreTries::new(&context.outage, StoreOperation::writing("bars"), &settings);
        let (plan, generation) = loop {
            let stores = self.context.stores.pin();
            // Drops tasks whose partition is assigned to another worker: that worker writes them. Also drops tasks that
            // were planned from another store: a dropped task runs again and is planned from the new store.
            self.tasks.retain(|task| !task.guard.is_lost() && task.guard.trace.store_generation == stores.generation);
            if self.tasks.is_empty() {
                return;
            }
            let Some(plan) = self.plan(&stores).await else { continue };
            if self.insert(&plan, &stores, &mut writes).await == Step::Done
                && self.remove(&plan, &stores, &mut writes).await == Step::Done
                && self.confirm(&plan, &stores, &mut writes).await == Step::Done
            {
                break (plan, stores.generation);
            }
        };
        writes.succeeded();
        drop(writes);
        self.settle(plan, generation).await;
    }

    /// Whether the plan is outdated: a reload replaced the store, or a partition was assigned to another worker.
    fn is_outdated(&self, stores: &Pinned<StoreSet>) -> bool {
        self.context.stores.generation() != stores.generation || self.tasks.iter().any(|task| task.guard.is_lost())
    }

    /// Reads the stored keys and plans the write. Returns `None` if the flush has to start again.
    async fn plan(&self, stores: &Pinned<StoreSet>) -> Option<WritePlan> {
        let units: Vec<&WriteUnit> = self.tasks.iter().map(|task| &task.unit).collect();
        let spans: Vec<_> = units.iter().map(|unit| unit.lookup()).collect();
        let mut tries = self.reads();
        loop {
            match stores.bars.stored(self.frequency, &spans).await {
                Ok(stored) => {
                    tries.succeeded();
                    return Some(plan(&units, stored, RowVersion::now()));
                }
                Err(error) => tries.wait_after(&error).await,
            }
            if self.is_outdated(stores) {
                return None;
            }
        }
    }

    /// Inserts the rows of the plan. A retry sends the same rows with the same deduplication token.
    async fn insert(&self, plan: &WritePlan, stores: &Pinned<StoreSet>, tries: &mut StoreTries<'_>) -> Step {
        if plan.insert.is_empty() {
            return Step::Done;
        }
        let whole = batch_of(plan.insert.clone());
        let mut pending = vec![whole];
        while let Some(batch) = pending.pop() {
            if self.context.stores.generation() != stores.generation {
                return Step::Replan;
            }
            let inserting = stores.bars.insert(&batch);
            match insert_counted(&self.context.board, batch.rows.len(), inserting).await {
                Ok(()) => {}
                Err(error) if error.class == StoreErrorClass::TooManyPartitions && spans_years(&batch) => {
                    tracing::info!(
                        rows = batch.rows.len(),
                        "the batch touches too many partitions and is split by year"
                    );
                    // The oldest years first, because a later incremental fetch starts at the newest stored day.
                    pending.extend(split_by_year(&batch).into_iter().rev());
                }
                Err(error) => {
                    tries.wait_after(&error).await;
                    // Without deduplication, the table may already contain some partitions of the batch: read the
                    // stored keys and plan again.
                    if !stores.bars.deduplicates_retries() || self.is_outdated(stores) {
                        return Step::Replan;
                    }
                    pending.push(batch);
                }
            }
        }
        Step::Done
    }

    fn reads(&self) -> StoreTries<'_> {
        StoreTries::new(&self.context.outage, StoreOperation::reading("bars"), &self.settings)
    }

    /// Removes the replaced rows, also those of lost tasks, because their new rows are already inserted.
    async fn remove(&self, plan: &WritePlan, stores: &Pinned<StoreSet>, tries: &mut StoreTries<'_>) -> Step {
        if plan.remove.is_empty() {
            return Step::Done;
        }
        while let Err(error) = stores.bars.remove(self.frequency, &plan.remove).await {
            tries.wait_after(&error).await;
            if self.context.stores.generation() != stores.generation {
                return Step::Replan;
            }
        }
        Step::Done
    }

    /// Looks whether other workers wrote the inserted keys at the same moment, until one row of each is left.
    async fn confirm(&self, plan: &WritePlan, stores: &Pinned<StoreSet>, writes: &mut StoreTries<'_>) -> Step {
        if plan.insert.is_empty() {
            return Step::Done;
        }
        let mut contest = Contest::new(plan);
        let spans = contest.spans();
        let mut looks = Looks::default();
        while looks.next() {
            let Some(stored) = self.keys(&spans, stores).await else { return Step::Replan };
            match contest.judge(stored, RowVersion::now(), looks.takes_over()) {
                Verdict::Settled => return Step::Done,
                Verdict::Missing(missing) => {
                    writes.wait_after(&self.incomplete(missing, plan.insert.len())).await;
                    return Step::Replan;
                }
                Verdict::Theirs => looks.pause().await,
                Verdict::Ours(plan) => {
                    tracing::info!(rows = plan.insert.len(), "another worker wrote the same rows; the newest stay");
                    // Only a reload or the loss of a partition ends the step early; the next look finds out.
                    if self.insert(&plan, stores, writes).await == Step::Done {
                        self.remove(&plan, stores, writes).await;
                    }
                }
            }
        }
        tracing::warn!(
            looks = Looks::MAX,
            "other workers keep writing the same rows; some may be stored twice until the next `force` of their range"
        );
        Step::Done
    }

    /// The server confirmed an INSERT and holds fewer rows. What is missing is unknown, so the batch is planned anew.
    fn incomplete(&self, missing: u64, inserted: usize) -> StoreError {
        StoreError {
            store: format!("table bar, frequency {:?}", self.frequency),
            operation: format!("insert {inserted} rows"),
            class: StoreErrorClass::OutcomeUnknown,
            reason: format!(
                "the server confirmed the INSERT, and {missing} of its rows are not stored; check the engine, the sorting \
                 key (code, timestamp, frequency) and the TTL of the table"
            ),
        }
    }

    /// The stored keys. Returns `None` if the store was replaced meanwhile.
    async fn keys(&self, spans: &[KeySpan], stores: &Pinned<StoreSet>) -> Option<StoredKeys> {
        let is_replaced = || self.context.stores.generation() != stores.generation;
        let read = async || stores.bars.keys(self.frequency, spans).await;
        read_until_answered(self.reads(), is_replaced, read).await.ok()
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
            self.context.events.publish(&plan.insert, &latest, max_age).await;
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

/// The result of one step of a flush.
#[derive(PartialEq, Eq)]
enum Step {
    /// The step is complete.
    Done,
    /// The plan may be outdated: the flush reads the stored keys again.
    Replan,
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

/// A task in the buffer.
pub struct BufferedTask {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The rows of the task.
    pub unit: WriteUnit,
    /// The report of the task so far.
    pub report: TaskReport,
    /// The permit of the row budget, released when the task is dropped.
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
