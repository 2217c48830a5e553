// Upstream: batch_writer, supervisor
// Downstream: many
// Role: Writes the ticks of one task into the table of its security; retries until done.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::batch_writer::looks::Looks;
use crate::batch_writer::ticks::contest::{DayContest, Verdict};
use crate::batch_writer::ticks::plan::{TickPlan, TickUnit, plan};
use crate::domain::row_version::RowVersion;
use crate::domain::{Code, DateRange, TaskReport, Tick};
use crate::pipeline::TaskGuard;
use crate::ports::{StoreError, StoreSet, Swappable, TickBatch, TickStore};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOperation, StoreOutage, StoreTries, insert_once, insert_token};
use crate::supervision::StatusBoard;

/// Maximum number of concurrent writes. Each security has its own table, so tasks cannot share an INSERT; the server
/// handles a few concurrent writes well.
const MAX_CONCURRENT_WRITES: usize = 4;

/// Writes ticks. It outlives a restart of the actor.
pub struct TickWriter {
    stores: Arc<Swappable<StoreSet>>,
    outage: Arc<StoreOutage>,
    board: Arc<StatusBoard>,
    /// All writes of a security use the same lock, so no other write changes the rows that a write read.
    write_locks: [Mutex<()>; MAX_CONCURRENT_WRITES],
}

impl TickWriter {
    /// Creates the writer of a worker.
    pub fn new(stores: Arc<Swappable<StoreSet>>, outage: Arc<StoreOutage>, board: Arc<StatusBoard>) -> Self {
        Self { stores, outage, board, write_locks: Default::default() }
    }

    /// Retries until all ticks are stored, or the partition of the command is assigned to another worker.
    pub async fn run(&self, unit: &TickUnit, guard: TaskGuard, mut report: TaskReport, settings: &ActorSettings) {
        let _write_lock = match self.write_locks.get(lock_index(unit.code)) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let mut tries = StoreTries::new(&self.outage, StoreOperation::writing("ticks").of(unit.code), settings);
        // Each attempt plans again, because a failed attempt may have stored some rows.
        let plan = loop {
            let stores = self.stores.pin();
            // If a reload replaced the store after the fetch was planned, the dropped guard makes the task run again.
            if guard.is_lost() || guard.trace.store_generation != stores.generation {
                return;
            }
            match self.write(stores.ticks.as_ref(), unit, settings).await {
                Ok(plan) => break plan,
                Err(error) if tries.gives_up_after(&error).await => return guard.failed(error, 1),
                Err(_) => {}
            }
        };
        tries.succeeded();
        self.board.counters.rows_written.add(plan.counts.written);
        self.board.progress.progressed();
        tracing::info!(code = %unit.code, inserted = plan.insert.len(), removed = plan.remove.len(), "ticks stored");
        report.counts.add(&plan.counts);
        guard.done(report);
    }

    /// Plans from the stored ticks and writes the plan. Returns it once each day is one answer.
    async fn write(
        &self,
        store: &dyn TickStore,
        unit: &TickUnit,
        settings: &ActorSettings,
    ) -> Result<TickPlan, StoreError> {
        let days = || unit.rows.iter().map(|row| row.timestamp.date());
        let (Some(start), Some(end)) = (days().min(), days().max()) else { return Ok(TickPlan::default()) };
        let stored = store.stored(unit.code, DateRange { start, end }).await?;
        let plan = plan(unit, stored, RowVersion::now());
        self.execute(store, unit.code, &plan, settings).await?;
        self.confirm(store, unit, &plan, settings).await?;
        Ok(plan)
    }

    /// Looks whether other workers wrote the same days at the same moment, until each is one answer.
    async fn confirm(
        &self,
        store: &dyn TickStore,
        unit: &TickUnit,
        plan: &TickPlan,
        settings: &ActorSettings,
    ) -> Result<(), StoreError> {
        let mut contest = DayContest::new(unit, plan);
        let Some((start, end)) = contest.span() else { return Ok(()) };
        let mut looks = Looks::default();
        loop {
            if !looks.next() {
                tracing::warn!(
                    code = %unit.code,
                    looks = Looks::MAX,
                    "other workers keep writing the same ticks; a day may be mixed until its next `overwrite`"
                );
                return Ok(());
            }
            let stored = store.stored(unit.code, DateRange { start, end }).await?;
            match contest.judge(stored, RowVersion::now(), looks.takes_over()) {
                Verdict::Settled => return Ok(()),
                Verdict::Theirs => looks.pause().await,
                Verdict::Ours(plan) => {
                    tracing::info!(code = %unit.code, days = plan.days.len(), "these days are written once more");
                    self.execute(store, unit.code, &plan, settings).await?;
                }
            }
        }
    }

    async fn execute(
        &self,
        store: &dyn TickStore,
        code: Code,
        plan: &TickPlan,
        settings: &ActorSettings,
    ) -> Result<(), StoreError> {
        for rows in whole_days(&plan.insert, settings.batch.max_rows) {
            self.insert(store, code, batch_of(rows)).await?;
        }
        self.remove(store, code, plan).await
    }

    async fn remove(&self, store: &dyn TickStore, code: Code, plan: &TickPlan) -> Result<(), StoreError> {
        if plan.remove.is_empty() { Ok(()) } else { store.remove(code, &plan.remove).await }
    }

    async fn insert(&self, store: &dyn TickStore, code: Code, batch: TickBatch) -> Result<(), StoreError> {
        let insert = async || store.insert(code, &batch).await;
        let deduplicates = async || store.deduplicates_retries(code).await;
        insert_once(&self.board, batch.rows.len(), insert, deduplicates).await
    }
}

fn lock_index(code: Code) -> usize {
    code.as_str().bytes().map(usize::from).sum::<usize>() % MAX_CONCURRENT_WRITES
}

/// Splits ticks, oldest day first, into batches of whole days. Days must not be stored in part: a stored day is not
/// fetched again, and increments start at the newest stored day. A batch has at most `max_rows` rows, or one day.
fn whole_days(ticks: &[Tick], max_rows: usize) -> Vec<&[Tick]> {
    let mut batches: Vec<&[Tick]> = Vec::new();
    let (mut begin, mut end) = (0, 0);
    for day in ticks.chunk_by(|a, b| a.timestamp.date() == b.timestamp.date()) {
        if end > begin && end - begin + day.len() > max_rows {
            batches.extend(ticks.get(begin..end));
            begin = end;
        }
        end += day.len();
    }
    batches.extend(ticks.get(begin..end).filter(|rest| !rest.is_empty()));
    batches
}

fn batch_of(rows: &[Tick]) -> TickBatch {
    TickBatch { token: insert_token(), rows: rows.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Hundredths, SourceId};

    #[test]
    fn a_batch_is_of_whole_days() {
        let tick = |day: u32, nth| Tick {
            code: "000001.SZ".parse().unwrap(),
            timestamp: chrono::NaiveDate::from_ymd_opt(2024, 1, day).unwrap().and_hms_opt(9, 30, 0).unwrap(),
            price: Hundredths(1_000),
            volume: 1,
            direction: 0,
            source: SourceId::TDX,
            nth,
            version: None,
        };
        let ticks: Vec<Tick> = [(2, 3), (3, 2), (4, 9), (5, 1)]
            .iter()
            .flat_map(|(day, count)| (0..*count).map(|nth| tick(*day, nth)))
            .collect();
        let lengths = |max_rows| whole_days(&ticks, max_rows).iter().map(|batch| batch.len()).collect::<Vec<_>>();
        assert_eq!(lengths(5), [5, 9, 1]);
        assert_eq!(lengths(1), [3, 2, 9, 1]);
        assert_eq!(lengths(100), [15]);
        assert_eq!(whole_days(&[], 5), [] as [&[Tick]; 0]);
    }
}
