// Upstream: actors::flush, actors::lifecycle, actors::supervisor, actors::validator
// Downstream: actors::domain::task, actors::flush, actors::latest_bars, actors::list_merge, actors::ports, actors::reference_list, actors::settings, actors::store_outage, actors::supervision::vitals, actors::ticket, actors::write_plan
// Role: The actor that gathers sound rows of many tasks and writes them together, one batch after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use crate::domain::Stage;
use crate::flush::{Flush, FlushContext};
use crate::latest_bars::LatestBars;
use crate::list_merge::MergeContext;
use crate::ports::BarStore;
use crate::reference_list::SoundList;
use crate::settings::{ActorSettings, ApplySettings, BatchSettings, ms};
use crate::store_outage::StoreOutage;
use crate::supervision::Vitals;
use crate::ticket::{TaskReport, Ticket};
use crate::write_plan::WriteUnit;

/// How often it is looked whether a batch is due: a tenth of the shortest sensible flush interval.
const LOOK: Duration = Duration::from_millis(20);

/// Write these rows.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteBars {
    /// The task's pass.
    pub ticket: Ticket,
    /// The rows.
    pub unit: WriteUnit,
    /// What is known of the task so far.
    pub report: TaskReport,
    /// The rows' room in memory.
    pub room: OwnedSemaphorePermit,
}

/// Merge this list.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteList {
    /// The task's pass.
    pub ticket: Ticket,
    /// The list.
    pub list: SoundList,
    /// What is known of the task so far.
    pub report: TaskReport,
    /// The rows' room in memory.
    pub room: OwnedSemaphorePermit,
}

/// The worker drains: write what is there without waiting for more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct FlushWithoutWaiting;

/// A flush ended; the next may begin.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct FlushEnded;

/// A task in the buffer.
pub struct BufferedTask {
    /// The task's pass.
    pub ticket: Ticket,
    /// Its rows.
    pub unit: WriteUnit,
    /// What is known of it.
    pub report: TaskReport,
    /// Its room; freed with it.
    pub room: OwnedSemaphorePermit,
}

/// Gathers rows; writing itself is a task of its own, which outlives a restart of the actor.
pub struct BatchWriter {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    context: Arc<FlushContext>,
    lists: Arc<MergeContext>,
    buffer: Vec<BufferedTask>,
    num_rows: usize,
    times: Option<Times>,
    flushing: bool,
    draining: bool,
}

impl BatchWriter {
    /// A writer to one store.
    pub fn new(
        vitals: Vitals,
        settings: Arc<ActorSettings>,
        store: Arc<dyn BarStore>,
        latest: Arc<LatestBars>,
        outage: Arc<StoreOutage>,
        lists: Arc<MergeContext>,
    ) -> Self {
        let context = FlushContext::new(store, latest, outage, vitals.board().clone());
        Self {
            vitals,
            settings,
            context: Arc::new(context),
            lists,
            buffer: Vec::new(),
            num_rows: 0,
            times: None,
            flushing: false,
            draining: false,
        }
    }

    fn flush_if_due(&mut self, ctx: &mut Context<Self>) {
        let Some(Times { first, last }) = self.times else { return };
        let waiting = Waiting {
            num_rows: self.num_rows,
            age: first.elapsed(),
            idle: last.elapsed(),
            more_on_the_way: self.vitals.board().tasks_upstream() > 0,
        };
        if (self.draining || is_due(&self.settings.batch, waiting)) && !self.flushing {
            self.flush(ctx);
        }
    }

    fn flush(&mut self, ctx: &mut Context<Self>) {
        let tasks = self.take_batch();
        self.flushing = true;
        let flush = Flush::new(self.context.clone(), self.settings.clone(), tasks);
        let (vitals, writer) = (self.vitals.clone(), ctx.address());
        actix_rt::spawn(async move {
            let _ended = EndOfFlush(writer);
            vitals.fault_point("flush");
            flush.run().await;
        });
    }

    /// Whole tasks until `max_rows` is reached; the rest waits for the next batch.
    fn take_batch(&mut self) -> Vec<BufferedTask> {
        let mut num_rows = 0;
        let num_tasks = self
            .buffer
            .iter()
            .take_while(|task| {
                let fits = num_rows == 0 || num_rows + task.unit.rows.len() <= self.settings.batch.max_rows;
                num_rows += if fits { task.unit.rows.len() } else { 0 };
                fits
            })
            .count();
        let mut batch: Vec<BufferedTask> = self.buffer.drain(..num_tasks).collect();
        batch.iter_mut().for_each(|task| task.ticket.enter(Stage::Writing));
        self.num_rows -= num_rows;
        self.vitals.board().rows_buffered.set(self.num_rows as u64);
        // What is left begins a batch of its own now; when its last task came has not changed.
        let times = self.times.take().filter(|_| !self.buffer.is_empty());
        self.times = times.map(|times| Times { first: Instant::now(), ..times });
        batch
    }
}

/// Tells the writer that a flush ended, also when it ended by a panic.
struct EndOfFlush(Addr<BatchWriter>);

impl Drop for EndOfFlush {
    fn drop(&mut self) {
        self.0.do_send(FlushEnded);
    }
}

/// When the first and the last task of the buffer came.
#[derive(Clone, Copy)]
struct Times {
    first: Instant,
    last: Instant,
}

/// What waits in the buffer.
#[derive(Clone, Copy)]
struct Waiting {
    num_rows: usize,
    /// Since the first task of it came.
    age: Duration,
    /// Since the last task of it came.
    idle: Duration,
    more_on_the_way: bool,
}

/// A full batch is written at once; a waiting one after the interval if it is worth an INSERT or nothing more is on its
/// way, and sooner if nothing has come for a while either; any batch after the longest wait.
fn is_due(settings: &BatchSettings, waiting: Waiting) -> bool {
    let Waiting { num_rows, age, idle, more_on_the_way } = waiting;
    num_rows >= settings.max_rows
        || (age >= ms(settings.flush_interval_ms) && (num_rows >= settings.min_rows || !more_on_the_way))
        || (idle >= ms(settings.idle_flush_ms) && !more_on_the_way)
        || age >= ms(settings.max_wait_ms)
}

impl Actor for BatchWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
        ctx.run_interval(LOOK, |writer, ctx| writer.flush_if_due(ctx));
    }
}

impl Supervised for BatchWriter {
    /// Buffered tasks are dropped, which reports them as lost: they are fetched again. A flush under way goes on, and the
    /// next one waits for it.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.buffer.clear();
        self.num_rows = 0;
        self.times = None;
        self.flushing = false;
    }
}

impl Handler<WriteBars> for BatchWriter {
    type Result = ();

    fn handle(&mut self, message: WriteBars, ctx: &mut Self::Context) {
        self.vitals.fault_point("handler");
        let WriteBars { mut ticket, unit, report, room } = message;
        self.num_rows += unit.rows.len();
        self.vitals.board().rows_buffered.set(self.num_rows as u64);
        ticket.buffered();
        self.buffer.push(BufferedTask { ticket, unit, report, room });
        let now = Instant::now();
        self.times.get_or_insert(Times { first: now, last: now }).last = now;
        if self.num_rows >= self.settings.batch.max_rows && !self.flushing {
            self.flush(ctx);
        }
    }
}

impl Handler<WriteList> for BatchWriter {
    type Result = ();

    fn handle(&mut self, message: WriteList, _ctx: &mut Self::Context) {
        let WriteList { mut ticket, list, report, room } = message;
        ticket.buffered();
        ticket.enter(Stage::Writing);
        let (lists, settings) = (self.lists.clone(), self.settings.clone());
        let span = ticket.span().clone();
        let merging = async move {
            lists.run(&list, ticket, report, &settings).await;
            drop(room);
        };
        actix_rt::spawn(merging.instrument(span));
    }
}

impl Handler<FlushEnded> for BatchWriter {
    type Result = ();

    fn handle(&mut self, _: FlushEnded, ctx: &mut Self::Context) {
        self.flushing = false;
        self.flush_if_due(ctx);
    }
}

impl Handler<FlushWithoutWaiting> for BatchWriter {
    type Result = ();

    fn handle(&mut self, _: FlushWithoutWaiting, ctx: &mut Self::Context) {
        self.draining = true;
        self.flush_if_due(ctx);
    }
}

impl Handler<ApplySettings> for BatchWriter {
    type Result = ();

    fn handle(&mut self, message: ApplySettings, ctx: &mut Self::Context) {
        self.settings = message.0;
        self.flush_if_due(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_written_when_it_is_full_or_has_waited_as_long_as_is_worth_it() {
        let settings = BatchSettings::default();
        let due = |num_rows, age, idle, more_on_the_way| {
            is_due(&settings, Waiting { num_rows, age: ms(age), idle: ms(idle), more_on_the_way })
        };
        assert!(due(10_000, 0, 0, true), "full");
        assert!(!due(9_999, 999, 249, false), "not full and not waited");
        assert!(due(1_000, 1_000, 0, true), "worth an INSERT");
        assert!(!due(999, 1_000, 900, true), "more is on its way");
        assert!(due(1, 1_000, 0, false), "nothing more is on its way");
        assert!(due(1, 250, 250, false), "nothing more is on its way and nothing has come for a while");
        assert!(due(1, 5_000, 0, true), "the longest wait is over");
    }
}
