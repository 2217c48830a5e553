// Upstream: batch_writer, supervisor
// Downstream: many
// Role: Writes the ticks of one task into the table of its security, until it is done.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::batch_writer::ticks::plan::{TickPlan, TickUnit, plan};
use crate::domain::{Code, DateRange, TaskReport, Tick};
use crate::pipeline::TaskGuard;
use crate::ports::{StoreError, StoreSet, Swappable, TickBatch, TickStore};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOutage, StoreTries, insert_once, insert_token};
use crate::supervision::StatusBoard;

/// Writes at the same time. Each goes to a table of its own, so they cannot be one INSERT, and a server takes a few side by
/// side well.
const NUM_LANES: usize = 4;

/// What every write of ticks needs; outlives a restart of the actor.
pub struct TickWrites {
    stores: Arc<Swappable<StoreSet>>,
    outage: Arc<StoreOutage>,
    board: Arc<StatusBoard>,
    /// A security's writes all go through the same lane: what a write sees in its table is then complete.
    lanes: [Mutex<()>; NUM_LANES],
}

impl TickWrites {
    /// For one store.
    pub fn new(stores: Arc<Swappable<StoreSet>>, outage: Arc<StoreOutage>, board: Arc<StatusBoard>) -> Self {
        Self { stores, outage, board, lanes: Default::default() }
    }

    /// Writes until all is stored, or the command is another worker's.
    pub async fn run(&self, unit: &TickUnit, guard: TaskGuard, mut report: TaskReport, settings: &ActorSettings) {
        let _lane = match self.lanes.get(lane_of(unit.code)) {
            Some(lane) => Some(lane.lock().await),
            None => None,
        };
        let mut tries = StoreTries::new(&self.outage, settings);
        // After a failure it is planned anew: what arrived meanwhile is seen then.
        let (plan, stores) = loop {
            if guard.is_lost() {
                return;
            }
            let stores = self.stores.pin();
            match self.insert_missing(stores.ticks.as_ref(), unit, settings).await {
                Ok(plan) => break (plan, stores),
                Err(error) => tries.wait_after(&error).await,
            }
        };
        // Not planned anew, for what is stored would look like a day of which not all was fetched.
        while let Err(error) = self.remove(stores.ticks.as_ref(), unit.code, &plan).await {
            tries.wait_after(&error).await;
            // After an exchange the dropped guard makes the task start again, on the new store.
            if guard.is_lost() || self.stores.generation() != stores.generation {
                return;
            }
        }
        tries.succeeded();
        self.board.counters.rows_written.add(plan.counts.written);
        self.board.progress.progressed();
        tracing::info!(code = %unit.code, inserted = plan.insert.len(), removed = plan.remove.len(), "ticks stored");
        report.counts.add(&plan.counts);
        guard.done(report);
    }

    /// Plans by what is stored now, and inserts what is missing.
    async fn insert_missing(
        &self,
        store: &dyn TickStore,
        unit: &TickUnit,
        settings: &ActorSettings,
    ) -> Result<TickPlan, StoreError> {
        let days = || unit.rows.iter().map(|row| row.timestamp.date());
        let (Some(start), Some(end)) = (days().min(), days().max()) else { return Ok(TickPlan::default()) };
        let stored = store.stored(unit.code, DateRange { start, end }).await?;
        let plan = plan(unit, stored);
        for rows in whole_days(&plan.insert, settings.batch.max_rows) {
            self.insert(store, unit, batch_of(rows)).await?;
        }
        Ok(plan)
    }

    async fn remove(&self, store: &dyn TickStore, code: Code, plan: &TickPlan) -> Result<(), StoreError> {
        if plan.remove.is_empty() { Ok(()) } else { store.remove(code, &plan.remove).await }
    }

    async fn insert(&self, store: &dyn TickStore, unit: &TickUnit, batch: TickBatch) -> Result<(), StoreError> {
        let insert = async || store.insert(unit.code, &batch).await;
        let takes_once = async || store.deduplicates_retries(unit.code).await;
        insert_once(&self.board, batch.rows.len(), insert, takes_once).await
    }
}

fn lane_of(code: Code) -> usize {
    code.as_str().bytes().map(usize::from).sum::<usize>() % NUM_LANES
}

/// Ticks, oldest day first, in batches of whole days: of a day that has ticks the rest is not fetched again, and from the
/// newest one an increment goes on. A batch has at most `max_rows`, or one day.
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
