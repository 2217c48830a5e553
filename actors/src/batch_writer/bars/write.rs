// Upstream: batch_writer, supervisor
// Downstream: many
// Role: The write of one batch of bars: what it reads, plans, inserts and removes.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit};

use crate::batch_writer::bars::contest::Contest;
use crate::batch_writer::bars::plan::{WritePlan, WriteUnit, plan};
use crate::batch_writer::bars::price_events::PriceEvents;
use crate::batch_writer::buffer::Buffered;
use crate::batch_writer::looks::Verdict;
use crate::batch_writer::write_path::{BatchJob, RowChange, WriteJob, WritePath, max_looked_up};
use crate::domain::row_version::RowVersion;
use crate::domain::{Code, Frequency, TaskReport, TraceIds};
use crate::market_cache::latest_times::LatestBars;
use crate::pipeline::{StoredNotes, TaskGuard};
use crate::ports::{IdentifiedBar, StoreError, StoreSet, StoredBar, Swappable};
use crate::settings::{ActorSettings, ms};
use crate::store_retry::{StoreOperation, StoreOutage, insert_counted};
use crate::supervision::StatusBoard;

/// The services that flushes share.
pub struct FlushContext {
    stores: Arc<Swappable<StoreSet>>,
    latest: Arc<LatestBars>,
    outage: Arc<StoreOutage>,
    events: PriceEvents,
    board: Arc<StatusBoard>,
    notes: Arc<StoredNotes>,
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
        notes: Arc<StoredNotes>,
    ) -> Self {
        Self { stores, latest, outage, events, board, notes, write_lock: Mutex::new(()) }
    }
}

/// The write of one batch of bars of one frequency. If it is dropped before its end, its tasks are reported as lost.
pub struct Flush {
    context: Arc<FlushContext>,
    settings: Arc<ActorSettings>,
    frequency: Frequency,
    tasks: Vec<BufferedTask>,
    contest: Contest,
}

impl Flush {
    /// Creates a flush of tasks that all have this frequency.
    pub fn new(
        context: Arc<FlushContext>,
        settings: Arc<ActorSettings>,
        frequency: Frequency,
        tasks: Vec<BufferedTask>,
    ) -> Self {
        Self { context, settings, frequency, tasks, contest: Contest::default() }
    }

    /// Retries until all rows are stored. It never gives up, because the rows of the batch would be lost.
    pub async fn run(self) {
        let (context, settings) = (self.context.clone(), self.settings.clone());
        let _write_lock = context.write_lock.lock().await;
        let path = WritePath { stores: &context.stores, outage: &context.outage, settings: &settings };
        path.write_batch(self).await;
    }

    /// The trace ids of the command that asked last for each code.
    fn trace_ids(&self) -> HashMap<Code, TraceIds> {
        self.tasks.iter().map(|task| (task.unit.span.code, task.guard.trace.ids.clone())).collect()
    }

    /// Forgets what was written for tasks that are no longer in this batch.
    fn keep_own_contest(&mut self) {
        self.contest.keep_only(self.tasks.iter().map(|task| &task.unit));
    }
}

impl BatchJob for Flush {
    fn num_tasks(&self) -> usize {
        self.tasks.len()
    }

    fn split_off(&mut self, place: usize) -> Self {
        let tasks = self.tasks.split_off(place);
        let (context, settings) = (self.context.clone(), self.settings.clone());
        let mut rest = Self { context, settings, frequency: self.frequency, tasks, contest: self.contest.clone() };
        self.keep_own_contest();
        rest.keep_own_contest();
        rest
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
            let ids = self.trace_ids();
            self.context.events.publish(&plan.insert, &ids, &latest, max_age).await;
        }
        latest.advance(&stored, generation).await;
        self.context.notes.note_tasks(self.tasks.iter().map(|task| (&task.guard, task.unit.rows.len())));
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

impl WriteJob for Flush {
    type Stores = StoreSet;
    type Plan = WritePlan;
    type Change = RowChange<IdentifiedBar, StoredBar>;

    fn operation(&self) -> StoreOperation {
        StoreOperation::writing("bars")
    }

    fn retain(&mut self, generation: u64) -> bool {
        let before = self.tasks.len();
        self.tasks.retain(|task| task.guard.may_write_to(generation));
        if self.tasks.len() < before {
            self.keep_own_contest();
        }
        !self.tasks.is_empty()
    }

    fn is_lost(&self) -> bool {
        self.tasks.iter().any(|task| task.guard.is_lost())
    }

    async fn plan(&mut self, stores: &StoreSet) -> Result<WritePlan, StoreError> {
        let units: Vec<&WriteUnit> = self.tasks.iter().map(|task| &task.unit).collect();
        let spans: Vec<_> = units.iter().map(|unit| unit.lookup()).collect();
        let stored =
            stores.bars.stored(self.frequency, &spans, max_looked_up(self.tasks.len(), &self.settings)).await?;
        let plan = plan(&units, stored, RowVersion::now());
        self.contest.wrote(&plan);
        Ok(plan)
    }

    fn changes(&self, plan: &WritePlan) -> Vec<Self::Change> {
        [RowChange::insert(plan.insert.clone()), RowChange::remove(plan.remove.clone())].into_iter().flatten().collect()
    }

    async fn apply(&mut self, change: &Self::Change, stores: &StoreSet) -> Result<(), StoreError> {
        match change {
            RowChange::Insert(batch) => {
                insert_counted(&self.context.board, batch.rows.len(), stores.bars.insert(batch)).await
            }
            RowChange::Remove(rows) => stores.bars.remove(self.frequency, rows).await,
        }
    }

    async fn may_repeat(&self, change: &Self::Change, stores: &StoreSet) -> bool {
        change.may_repeat(async || stores.bars.deduplicates_retries() && !self.is_lost()).await
    }

    fn split(&self, change: Self::Change) -> Vec<Self::Change> {
        change.by_year(|row| row.bar.timestamp)
    }

    async fn look(&mut self, stores: &StoreSet, take_over: bool) -> Result<Verdict<WritePlan>, StoreError> {
        let spans = self.contest.spans();
        if spans.is_empty() {
            return Ok(Verdict::Settled);
        }
        let stored = stores.bars.keys(self.frequency, &spans).await?;
        Ok(self.contest.judge(stored, RowVersion::now(), take_over))
    }
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
