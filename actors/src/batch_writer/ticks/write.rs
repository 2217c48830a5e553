// Upstream: batch_writer, supervisor
// Downstream: many
// Role: The write of the ticks of one task into the table of its security.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::batch_writer::looks::Verdict;
use crate::batch_writer::ticks::contest::DayContest;
use crate::batch_writer::ticks::plan::{TickPlan, TickUnit, plan};
use crate::batch_writer::write_path::{RowChange, WriteJob, WritePath, Written};
use crate::domain::row_version::RowVersion;
use crate::domain::{Code, DateRange, TaskReport, Tick};
use crate::pipeline::TaskGuard;
use crate::ports::{StoreError, StoreSet, StoredTick, Swappable};
use crate::settings::ActorSettings;
use crate::store_retry::{StoreOperation, StoreOutage, insert_counted};
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

    /// Retries until all ticks are stored, or the partition of the command is assigned to another worker. Where the
    /// table of the security cannot be used, the task fails.
    pub async fn run(&self, unit: &TickUnit, guard: TaskGuard, mut report: TaskReport, settings: &ActorSettings) {
        let _write_lock = match self.write_locks.get(lock_index(unit.code)) {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let max_rows = settings.batch.max_rows;
        let mut job = TickWrite { writer: self, unit, guard: &guard, max_rows, contest: DayContest::new(unit) };
        let path = WritePath { stores: &self.stores, outage: &self.outage, settings };
        let plan = match path.write(&mut job).await {
            Written::Stored { plan, .. } => plan,
            // If a reload replaced the store after the fetch was planned, the dropped guard makes the task run again.
            // A single task has no limit of rows, so it is never too large.
            Written::Lost | Written::TooLarge => return,
            Written::Unusable(error) => return guard.failed(error, 1),
        };
        self.board.counters.rows_written.add(plan.counts.written);
        self.board.progress.progressed();
        tracing::info!(code = %unit.code, inserted = plan.insert.len(), removed = plan.remove.len(), "ticks stored");
        report.counts.add(&plan.counts);
        guard.done(report);
    }
}

/// The write of the ticks of one task.
struct TickWrite<'a> {
    writer: &'a TickWriter,
    unit: &'a TickUnit,
    guard: &'a TaskGuard,
    max_rows: usize,
    contest: DayContest<'a>,
}

impl WriteJob for TickWrite<'_> {
    type Stores = StoreSet;
    type Plan = TickPlan;
    type Change = RowChange<Tick, StoredTick>;

    fn operation(&self) -> StoreOperation {
        StoreOperation::writing("ticks").of(self.unit.code)
    }

    fn retain(&mut self, generation: u64) -> bool {
        self.guard.may_write_to(generation)
    }

    fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }

    async fn plan(&mut self, stores: &StoreSet) -> Result<TickPlan, StoreError> {
        let days = || self.unit.rows.iter().map(|row| row.timestamp.date());
        let (Some(start), Some(end)) = (days().min(), days().max()) else { return Ok(TickPlan::default()) };
        let stored = stores.ticks.stored(self.unit.code, DateRange { start, end }).await?;
        let plan = plan(self.unit, stored, RowVersion::now());
        self.contest.wrote(&plan);
        Ok(plan)
    }

    fn changes(&self, plan: &TickPlan) -> Vec<Self::Change> {
        let batches = whole_days(&plan.insert, self.max_rows).into_iter();
        let inserts = batches.filter_map(|rows| RowChange::insert(Arc::new(rows.to_vec())));
        inserts.chain(RowChange::remove(plan.remove.clone())).collect()
    }

    async fn apply(&mut self, change: &Self::Change, stores: &StoreSet) -> Result<(), StoreError> {
        let code = self.unit.code;
        match change {
            RowChange::Insert(batch) => {
                insert_counted(&self.writer.board, batch.rows.len(), stores.ticks.insert(code, batch)).await
            }
            RowChange::Remove(rows) => stores.ticks.remove(code, rows).await,
        }
    }

    async fn may_repeat(&self, change: &Self::Change, stores: &StoreSet) -> bool {
        let deduplicates = async || matches!(stores.ticks.deduplicates_retries(self.unit.code).await, Ok(true));
        change.may_repeat(async || !self.is_lost() && deduplicates().await).await
    }

    fn split(&self, change: Self::Change) -> Vec<Self::Change> {
        change.by_year(|row| row.timestamp)
    }

    async fn look(&mut self, stores: &StoreSet, take_over: bool) -> Result<Verdict<TickPlan>, StoreError> {
        let Some((start, end)) = self.contest.span() else { return Ok(Verdict::Settled) };
        let stored = stores.ticks.stored(self.unit.code, DateRange { start, end }).await?;
        Ok(self.contest.judge(stored, RowVersion::now(), take_over))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Price, SourceId};

    #[test]
    fn a_batch_is_of_whole_days() {
        let tick = |day: u32, nth| Tick {
            code: "000001.SZ".parse().unwrap(),
            timestamp: chrono::NaiveDate::from_ymd_opt(2024, 1, day).unwrap().and_hms_opt(9, 30, 0).unwrap(),
            price: Price::fen(1_000),
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
