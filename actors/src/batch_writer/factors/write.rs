// Upstream: batch_writer, supervisor
// Downstream: many
// Role: The write of one batch of factors: what it reads, plans, inserts and removes.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit};

use crate::batch_writer::buffer::Buffered;
use crate::batch_writer::factors::contest::{Found, SeriesContest};
use crate::batch_writer::factors::plan::{FactorPlan, FactorUnit, codes_to_read, plan};
use crate::batch_writer::looks::Verdict;
use crate::batch_writer::write_path::{BatchJob, RowChange, WriteJob, WritePath, max_looked_up};
use crate::domain::row_version::RowVersion;
use crate::domain::{AdjustFactor, Code, TaskReport};
use crate::market_cache::latest_times::LatestTimes;
use crate::pipeline::{StoredNotes, TaskGuard};
use crate::ports::{FactorStore, StoreError, StoreSet, StoredFactor, Swappable};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOperation, StoreOutage, insert_counted};
use crate::supervision::StatusBoard;

/// A task in the buffer.
pub struct BufferedFactors {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The rows of the task.
    pub unit: FactorUnit,
    /// The report of the task so far.
    pub report: TaskReport,
    /// The permit of the row budget, released when the task is dropped.
    pub permit: OwnedSemaphorePermit,
}

impl Buffered for BufferedFactors {
    fn num_rows(&self) -> usize {
        self.unit.rows.len()
    }

    fn guard(&mut self) -> &mut TaskGuard {
        &mut self.guard
    }
}

/// The services that flushes of factors share.
pub struct FactorFlushContext {
    stores: Arc<Swappable<StoreSet>>,
    latest: Arc<LatestTimes>,
    outage: Arc<StoreOutage>,
    board: Arc<StatusBoard>,
    notes: Arc<StoredNotes>,
    /// Allows one flush at a time, also across restarts of the actor, so no other flush changes the rows that a flush
    /// read.
    write_lock: Mutex<()>,
}

impl FactorFlushContext {
    /// Creates the context of a worker.
    pub fn new(
        stores: Arc<Swappable<StoreSet>>,
        latest: Arc<LatestTimes>,
        outage: Arc<StoreOutage>,
        board: Arc<StatusBoard>,
        notes: Arc<StoredNotes>,
    ) -> Self {
        Self { stores, latest, outage, board, notes, write_lock: Mutex::new(()) }
    }
}

/// The write of one batch of factors. If it is dropped before its end, its tasks are reported as lost.
pub struct FactorFlush {
    context: Arc<FactorFlushContext>,
    settings: Arc<ActorSettings>,
    tasks: Vec<BufferedFactors>,
    contest: SeriesContest,
}

impl FactorFlush {
    /// Creates a flush of these tasks.
    pub fn new(context: Arc<FactorFlushContext>, settings: Arc<ActorSettings>, tasks: Vec<BufferedFactors>) -> Self {
        Self { context, settings, tasks, contest: SeriesContest::default() }
    }

    /// Retries until all rows are stored.
    pub async fn run(self) {
        let (context, settings) = (self.context.clone(), self.settings.clone());
        let _write_lock = context.write_lock.lock().await;
        let path = WritePath { stores: &context.stores, outage: &context.outage, settings: &settings };
        path.write_batch(self).await;
    }

    /// Forgets what was written for tasks that are no longer in this batch.
    fn keep_own_contest(&mut self) {
        self.contest.keep_only(&self.tasks.iter().map(|task| task.unit.code).collect());
    }

    /// Plans from the stored rows. With `contested` codes, only these are written, and their whole series is compared.
    async fn plan_of(&mut self, store: &dyn FactorStore, contested: &HashSet<Code>) -> Result<FactorPlan, StoreError> {
        let is_meant = |unit: &&FactorUnit| contested.is_empty() || contested.contains(&unit.code);
        let units: Vec<&FactorUnit> = self.tasks.iter().map(|task| &task.unit).filter(is_meant).collect();
        let mut codes: Vec<Code> = units.iter().map(|unit| unit.code).collect();
        codes.sort_unstable();
        codes.dedup();
        let ends = store.ends(&codes).await?;
        let max_rows = max_looked_up(self.tasks.len(), &self.settings);
        let to_read = codes_to_read(&units, &ends, contested);
        let stored = if to_read.is_empty() { Vec::new() } else { store.series(&to_read, max_rows).await? };
        let plan = plan(&units, &ends, stored, RowVersion::now());
        self.contest.wrote(&plan);
        Ok(plan)
    }
}

impl BatchJob for FactorFlush {
    fn num_tasks(&self) -> usize {
        self.tasks.len()
    }

    fn split_off(&mut self, place: usize) -> Self {
        let tasks = self.tasks.split_off(place);
        let (context, settings) = (self.context.clone(), self.settings.clone());
        let mut rest = Self { context, settings, tasks, contest: self.contest.clone() };
        self.keep_own_contest();
        rest.keep_own_contest();
        rest
    }

    async fn settle(mut self, plan: FactorPlan, generation: u64) {
        let stored: Vec<_> =
            self.tasks.iter().filter_map(|task| Some((task.unit.code, task.unit.rows.last()?.timestamp))).collect();
        self.context.latest.advance(&stored, generation).await;
        self.context.notes.note_tasks(self.tasks.iter().map(|task| (&task.guard, task.unit.rows.len())));
        self.context.board.counters.rows_written.add(plan.counts.iter().map(|counts| counts.written).sum());
        self.context.board.progress.progressed();
        tracing::info!(
            tasks = self.tasks.len(),
            inserted = plan.insert.len(),
            removed = plan.remove.len(),
            "batch of factors stored"
        );
        for (task, counts) in self.tasks.drain(..).zip(plan.counts) {
            let mut report = task.report;
            report.counts.add(&counts);
            task.guard.done(report);
        }
    }
}

impl WriteJob for FactorFlush {
    type Stores = StoreSet;
    type Plan = FactorPlan;
    type Change = RowChange<AdjustFactor, StoredFactor>;

    fn operation(&self) -> StoreOperation {
        StoreOperation::writing("factors")
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

    async fn plan(&mut self, stores: &StoreSet) -> Result<FactorPlan, StoreError> {
        self.plan_of(stores.factors.as_ref(), &HashSet::new()).await
    }

    fn changes(&self, plan: &FactorPlan) -> Vec<Self::Change> {
        let (last, first): (Vec<AdjustFactor>, Vec<AdjustFactor>) =
            plan.insert.iter().cloned().partition(|row| plan.is_inserted_last(row));
        let inserts = |rows: Vec<AdjustFactor>| {
            let chunks = rows.chunks(self.settings.batch.max_rows).map(|rows| Arc::new(rows.to_vec()));
            chunks.filter_map(RowChange::insert).collect::<Vec<_>>()
        };
        let mut changes = inserts(first);
        changes.extend(RowChange::remove(plan.remove.clone()));
        changes.extend(inserts(last));
        changes
    }

    async fn apply(&mut self, change: &Self::Change, stores: &StoreSet) -> Result<(), StoreError> {
        match change {
            RowChange::Insert(batch) => {
                insert_counted(&self.context.board, batch.rows.len(), stores.factors.insert(batch)).await
            }
            RowChange::Remove(rows) => stores.factors.remove(rows).await,
        }
    }

    async fn may_repeat(&self, change: &Self::Change, stores: &StoreSet) -> bool {
        change.may_repeat(async || stores.factors.deduplicates_retries() && !self.is_lost()).await
    }

    fn split(&self, change: Self::Change) -> Vec<Self::Change> {
        change.by_year(|row| row.raw.timestamp)
    }

    async fn look(&mut self, stores: &StoreSet, take_over: bool) -> Result<Verdict<FactorPlan>, StoreError> {
        let Found { contested, missing } =
            self.contest.look(stores.factors.as_ref(), max_looked_up(self.tasks.len(), &self.settings)).await?;
        if contested.is_empty() {
            let store = || "table adjustfactor".to_owned();
            return Ok(if missing > 0 { Verdict::missing(store(), missing) } else { Verdict::Settled });
        }
        let ours = contested.iter().filter(|found| found.is_ours || take_over);
        let ours: HashSet<Code> = ours.map(|found| found.code).collect();
        if ours.is_empty() {
            return Ok(Verdict::Theirs);
        }
        Ok(Verdict::Ours(self.plan_of(stores.factors.as_ref(), &ours).await?))
    }
}
