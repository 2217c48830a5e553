// Upstream: batch_writer, supervisor
// Downstream: many
// Role: Writes one batch of factors: reads stored series, inserts rows, removes replaced rows; retries until done.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit};

use crate::batch_writer::buffer::Buffered;
use crate::batch_writer::factors::contest::SeriesContest;
use crate::batch_writer::factors::plan::{FactorPlan, FactorUnit, codes_to_read, plan};
use crate::batch_writer::looks::Looks;
use crate::domain::row_version::RowVersion;
use crate::domain::{AdjustFactor, Code, TaskReport};
use crate::market_cache::latest_times::LatestTimes;
use crate::pipeline::TaskGuard;
use crate::ports::{FactorBatch, FactorStore, Pinned, SeriesEnds, StoreError, StoreSet, Swappable};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOperation, StoreOutage, StoreTries, insert_once, insert_token};
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
    ) -> Self {
        Self { stores, latest, outage, board, write_lock: Mutex::new(()) }
    }
}

/// The write of one batch of factors. If it is dropped before its end, its tasks are reported as lost.
pub struct FactorFlush {
    context: Arc<FactorFlushContext>,
    settings: Arc<ActorSettings>,
    tasks: Vec<BufferedFactors>,
}

impl FactorFlush {
    /// Creates a flush of these tasks.
    pub fn new(context: Arc<FactorFlushContext>, settings: Arc<ActorSettings>, tasks: Vec<BufferedFactors>) -> Self {
        Self { context, settings, tasks }
    }

    /// Retries until all rows are stored.
    pub async fn run(mut self) {
        let context = self.context.clone();
        let _write_lock = context.write_lock.lock().await;
        let mut tries = StoreTries::new(&context.outage, StoreOperation::writing("factors"), &self.settings);
        let (plan, generation) = loop {
            let stores = self.context.stores.pin();
            // Drops tasks whose partition is assigned to another worker: that worker writes them. Drops tasks that were
            // fetched for what other stores lacked: they run again, on these.
            self.tasks.retain(|task| !task.guard.is_lost() && task.guard.trace.store_generation == stores.generation);
            if self.tasks.is_empty() {
                return;
            }
            let plan = match self.write(&stores, &HashSet::new()).await {
                Ok(plan) => plan,
                Err(error) => {
                    tries.wait_after(&error).await;
                    continue;
                }
            };
            if self.confirm(&plan, &stores, &mut tries).await {
                break (plan, stores.generation);
            }
        };
        tries.succeeded();
        self.settle(plan, generation).await;
    }

    /// Looks whether other workers wrote the same series at the same moment, until each is whole. Returns false if the
    /// store was replaced meanwhile.
    async fn confirm(&self, plan: &FactorPlan, stores: &Pinned<StoreSet>, tries: &mut StoreTries<'_>) -> bool {
        let mut contest = SeriesContest::new(plan);
        let mut looks = Looks::default();
        while self.context.stores.generation() == stores.generation {
            let contested = match contest.look(stores.factors.as_ref()).await {
                Ok(contested) => contested,
                Err(error) => {
                    tries.wait_after(&error).await;
                    continue;
                }
            };
            if contested.is_empty() {
                return true;
            }
            if !looks.next() {
                tracing::warn!(
                    looks = Looks::MAX,
                    "other workers keep writing the same series; some may be mixed until the next `full` of their codes"
                );
                return true;
            }
            let ours = contested.iter().filter(|found| found.is_ours || looks.takes_over());
            let ours: HashSet<Code> = ours.map(|found| found.code).collect();
            if ours.is_empty() {
                looks.pause().await;
                continue;
            }
            tracing::info!(series = ours.len(), "another worker wrote the same series; the newest answer stays");
            match self.write(stores, &ours).await {
                Ok(plan) => contest.wrote(&plan),
                Err(error) => tries.wait_after(&error).await,
            }
        }
        false
    }

    /// Plans from the stored rows and writes the plan. Each attempt plans again, because a failed attempt may have
    /// stored some rows. With `contested` codes, only these are written, and their whole series is compared.
    async fn write(&self, stores: &StoreSet, contested: &HashSet<Code>) -> Result<FactorPlan, StoreError> {
        let store = &stores.factors;
        let is_meant = |unit: &&FactorUnit| contested.is_empty() || contested.contains(&unit.code);
        let units: Vec<&FactorUnit> = self.tasks.iter().map(|task| &task.unit).filter(is_meant).collect();
        let mut codes: Vec<Code> = units.iter().map(|unit| unit.code).collect();
        codes.sort_unstable();
        codes.dedup();
        let ends = store.ends(&codes).await?;
        let to_read = codes_to_read(&units, &ends, contested);
        let stored = if to_read.is_empty() { Vec::new() } else { store.series(&to_read).await? };
        let plan = plan(&units, &ends, stored, RowVersion::now());
        // If rows of a code are replaced, its rows after the newest stored day are inserted last. If the worker crashes
        // before that, the next increment requests the code again and finishes the replacement. With the newest rows
        let replaced: HashSet<Code> = plan.remove.iter().map(|row| row.code).collect();
        let extends_series = |row: &AdjustFactor| {
            let is_newest = |ends: &SeriesEnds| row.raw.timestamp > ends.last_at;
            // A row with a version replaces a stored one, which another worker added since the ends were read.
            row.version.is_none() && replaced.contains(&row.code) && ends.get(&row.code).is_some_and(is_newest)
        };
        let (last, first): (Vec<AdjustFactor>, Vec<AdjustFactor>) =
            plan.insert.iter().cloned().partition(extends_series);
        self.insert_all(store.as_ref(), &first).await?;
        if !plan.remove.is_empty() {
            store.remove(&plan.remove).await?;
        }
        self.insert_all(store.as_ref(), &last).await?;
        Ok(plan)
    }

    async fn insert_all(&self, store: &dyn FactorStore, rows: &[AdjustFactor]) -> Result<(), StoreError> {
        for rows in rows.chunks(self.settings.batch.max_rows) {
            self.insert(store, batch_of(rows)).await?;
        }
        Ok(())
    }

    async fn insert(&self, store: &dyn FactorStore, batch: FactorBatch) -> Result<(), StoreError> {
        let deduplicates = async || Ok(store.deduplicates_retries());
        insert_once(&self.context.board, batch.rows.len(), async || store.insert(&batch).await, deduplicates).await
    }

    async fn settle(mut self, plan: FactorPlan, generation: u64) {
        let stored: Vec<_> =
            self.tasks.iter().filter_map(|task| Some((task.unit.code, task.unit.rows.last()?.timestamp))).collect();
        self.context.latest.advance(&stored, generation).await;
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

fn batch_of(rows: &[AdjustFactor]) -> FactorBatch {
    FactorBatch { token: insert_token(), rows: rows.to_vec() }
}
