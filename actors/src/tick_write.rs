// Upstream: actors::batch_writer, actors::supervisor
// Downstream: actors::domain::code, actors::domain::task, actors::domain::tick, actors::insert_token, actors::ports, actors::ports::tick_store, actors::settings, actors::store_insert, actors::store_outage, actors::store_tries, actors::supervision::board, actors::tick_plan, actors::ticket
// Role: Writes the ticks of one task into the table of its security, until it is done.

use std::sync::Arc;

use tokio::sync::Mutex;

use crate::domain::{Code, DateRange, Tick};
use crate::insert_token::insert_token;
use crate::ports::{StoreError, TickBatch, TickStore};
use crate::settings::ActorSettings;
use crate::store_insert::insert_once;
use crate::store_outage::StoreOutage;
use crate::store_tries::StoreTries;
use crate::supervision::Board;
use crate::tick_plan::{TickPlan, TickUnit, plan};
use crate::ticket::{TaskReport, Ticket};

/// Writes at the same time. Each goes to a table of its own, so they cannot be one INSERT, and a server takes a few side by
/// side well.
const NUM_LANES: usize = 4;

/// What every write of ticks needs; outlives a restart of the actor.
pub struct TickWrites {
    store: Arc<dyn TickStore>,
    outage: Arc<StoreOutage>,
    board: Arc<Board>,
    /// A security's writes all go through the same lane: what a write sees in its table is then complete.
    lanes: [Mutex<()>; NUM_LANES],
}

impl TickWrites {
    /// For one store.
    pub fn new(store: Arc<dyn TickStore>, outage: Arc<StoreOutage>, board: Arc<Board>) -> Self {
        Self { store, outage, board, lanes: Default::default() }
    }

    /// Writes until all is stored, or the command is another worker's.
    pub async fn run(&self, unit: &TickUnit, ticket: Ticket, mut report: TaskReport, settings: &ActorSettings) {
        let _lane = match self.lanes.get(lane_of(unit.code)) {
            Some(lane) => Some(lane.lock().await),
            None => None,
        };
        let mut tries = StoreTries::new(&self.outage, settings);
        while !ticket.is_lost() {
            match self.write(unit, settings).await {
                Ok(plan) => {
                    tries.succeeded();
                    self.board.rows_written.add(plan.counts.written);
                    self.board.progressed();
                    tracing::info!(
                        code = %unit.code,
                        inserted = plan.insert.len(),
                        removed = plan.remove.len(),
                        "ticks stored"
                    );
                    report.counts.add(&plan.counts);
                    return ticket.done(report);
                }
                Err(error) => tries.wait_after(&error).await,
            }
        }
    }

    /// Plans by what is stored now and writes it. After a failure it is planned anew: what arrived meanwhile is seen then.
    async fn write(&self, unit: &TickUnit, settings: &ActorSettings) -> Result<TickPlan, StoreError> {
        let days = || unit.rows.iter().map(|row| row.timestamp.date());
        let (Some(start), Some(end)) = (days().min(), days().max()) else { return Ok(TickPlan::default()) };
        let stored = self.store.stored(unit.code, DateRange { start, end }).await?;
        let plan = plan(unit, stored);
        for rows in plan.insert.chunks(settings.batch.max_rows) {
            self.insert(unit, batch_of(rows)).await?;
        }
        if !plan.remove.is_empty() {
            self.store.remove(unit.code, &plan.remove).await?;
        }
        Ok(plan)
    }

    async fn insert(&self, unit: &TickUnit, batch: TickBatch) -> Result<(), StoreError> {
        let insert = async || self.store.insert(unit.code, &batch).await;
        let takes_once = async || self.store.deduplicates_retries(unit.code).await;
        insert_once(&self.board, batch.rows.len(), insert, takes_once).await
    }
}

fn lane_of(code: Code) -> usize {
    code.as_str().bytes().map(usize::from).sum::<usize>() % NUM_LANES
}

fn batch_of(rows: &[Tick]) -> TickBatch {
    TickBatch { token: insert_token(), rows: rows.to_vec() }
}
