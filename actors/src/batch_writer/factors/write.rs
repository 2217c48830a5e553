// Upstream: batch_writer, supervisor
// Downstream: many
// Role: Writes one batch of factors: looks where the stored series end, inserts, removes what is replaced, until done.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit};

use crate::batch_writer::buffer::Buffered;
use crate::batch_writer::factors::plan::{FactorPlan, FactorUnit, codes_to_read, plan};
use crate::domain::{AdjustFactor, Code, TaskReport};
use crate::market_cache::latest_times::LatestTimes;
use crate::pipeline::TaskGuard;
use crate::ports::{FactorBatch, FactorStore, SeriesEnds, StoreError, StoreSet, Swappable};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOutage, StoreTries, insert_once, insert_token};
use crate::supervision::StatusBoard;

/// A task in the buffer.
pub struct BufferedFactors {
    /// The task's pass.
    pub guard: TaskGuard,
    /// Its rows.
    pub unit: FactorUnit,
    /// What is known of it.
    pub report: TaskReport,
    /// Its room; freed with it.
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

/// What every flush of factors needs.
pub struct FactorFlushContext {
    stores: Arc<Swappable<StoreSet>>,
    latest: Arc<LatestTimes>,
    outage: Arc<StoreOutage>,
    board: Arc<StatusBoard>,
    /// One flush at a time, also across restarts of the actor: what a flush sees in the store is then complete.
    lane: Mutex<()>,
}

impl FactorFlushContext {
    /// For one store.
    pub fn new(
        stores: Arc<Swappable<StoreSet>>,
        latest: Arc<LatestTimes>,
        outage: Arc<StoreOutage>,
        board: Arc<StatusBoard>,
    ) -> Self {
        Self { stores, latest, outage, board, lane: Mutex::new(()) }
    }
}

/// One batch of factors on its way into the store. Dropped before its end, its tasks report themselves lost.
pub struct FactorFlush {
    context: Arc<FactorFlushContext>,
    settings: Arc<ActorSettings>,
    tasks: Vec<BufferedFactors>,
}

impl FactorFlush {
    /// A flush of these tasks.
    pub fn new(context: Arc<FactorFlushContext>, settings: Arc<ActorSettings>, tasks: Vec<BufferedFactors>) -> Self {
        Self { context, settings, tasks }
    }

    /// Writes until all is stored.
    pub async fn run(mut self) {
        let context = self.context.clone();
        let _lane = context.lane.lock().await;
        let mut tries = StoreTries::new(&context.outage, &self.settings);
        let (plan, generation) = loop {
            // What belongs to another worker by now is that worker's to write.
            self.tasks.retain(|task| !task.guard.is_lost());
            if self.tasks.is_empty() {
                return;
            }
            let stores = self.context.stores.pin();
            match self.write(&stores).await {
                Ok(plan) => break (plan, stores.generation),
                Err(error) => tries.wait_after(&error).await,
            }
        };
        tries.succeeded();
        self.settle(plan, generation).await;
    }

    /// Plans by what is stored now and writes it. After a failure it is planned anew: what arrived meanwhile is seen then.
    async fn write(&self, stores: &StoreSet) -> Result<FactorPlan, StoreError> {
        let store = &stores.factors;
        let units: Vec<&FactorUnit> = self.tasks.iter().map(|task| &task.unit).collect();
        let mut codes: Vec<Code> = units.iter().map(|unit| unit.code).collect();
        codes.sort_unstable();
        codes.dedup();
        let ends = store.ends(&codes).await?;
        let to_read = codes_to_read(&units, &ends);
        let stored = if to_read.is_empty() { Vec::new() } else { store.series(&to_read).await? };
        let plan = plan(&units, &ends, stored);
        // Where rows are replaced, those that are newer than all stored ones come last: were they there, and this worker cut
        // off, nobody would ask for these codes again and find both the old rows and the new ones.
        let replaced: HashSet<Code> = plan.remove.iter().map(|row| row.code).collect();
        let ends_it = |row: &AdjustFactor| {
            let is_newest = |ends: &SeriesEnds| row.raw.timestamp > ends.last_at;
            replaced.contains(&row.code) && ends.get(&row.code).is_some_and(is_newest)
        };
        let (last, first): (Vec<AdjustFactor>, Vec<AdjustFactor>) = plan.insert.iter().cloned().partition(ends_it);
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
        let takes_once = async || Ok(store.deduplicates_retries());
        insert_once(&self.context.board, batch.rows.len(), async || store.insert(&batch).await, takes_once).await
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
