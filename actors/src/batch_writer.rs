// Upstream: actors::children, actors::flush, actors::lifecycle, actors::validator
// Downstream: actors::domain::frequency, actors::domain::task, actors::factor_flush, actors::factor_plan, actors::flush, actors::list_merge, actors::reference_list, actors::settings, actors::supervision::vitals, actors::tick_plan, actors::tick_write, actors::ticket, actors::write_buffer, actors::write_plan
// Role: The actor that gathers sound rows of many tasks and writes them together, one batch after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::OwnedSemaphorePermit;
use tracing::Instrument;

use crate::domain::{Frequency, Stage};
use crate::factor_flush::{BufferedFactors, FactorFlush, FactorFlushContext};
use crate::factor_plan::FactorUnit;
use crate::flush::{Flush, FlushContext};
use crate::list_merge::MergeContext;
use crate::reference_list::SoundList;
use crate::settings::{ActorSettings, ApplySettings};
use crate::supervision::Vitals;
use crate::tick_plan::TickUnit;
use crate::tick_write::TickWrites;
use crate::ticket::{TaskReport, Ticket};
use crate::write_buffer::{Buffered, WriteBuffer};
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

/// Write these factors.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteFactors {
    /// The task's pass.
    pub ticket: Ticket,
    /// The factors.
    pub unit: FactorUnit,
    /// What is known of the task so far.
    pub report: TaskReport,
    /// The rows' room in memory.
    pub room: OwnedSemaphorePermit,
}

/// Write these ticks.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteTicks {
    /// The task's pass.
    pub ticket: Ticket,
    /// The ticks.
    pub unit: TickUnit,
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
struct FlushEnded(Kind);

/// What is written in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bars(Frequency),
    Factors,
}

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

impl Buffered for BufferedTask {
    fn num_rows(&self) -> usize {
        self.unit.rows.len()
    }

    fn ticket(&mut self) -> &mut Ticket {
        &mut self.ticket
    }
}

/// Where rows go; outlives a restart of the actor.
#[derive(Clone)]
pub struct WriteTargets {
    /// Bars.
    pub bars: Arc<FlushContext>,
    /// Adjustment factors.
    pub factors: Arc<FactorFlushContext>,
    /// Ticks.
    pub ticks: Arc<TickWrites>,
    /// Stock list and calendar.
    pub lists: Arc<MergeContext>,
}

/// Gathers rows; writing itself is a task of its own, which outlives a restart of the actor.
pub struct BatchWriter {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    targets: WriteTargets,
    /// By frequency; at most as many as there are.
    bars: BTreeMap<Frequency, WriteBuffer<BufferedTask>>,
    factors: WriteBuffer<BufferedFactors>,
    draining: bool,
}

impl BatchWriter {
    /// A writer to these stores.
    pub fn new(vitals: Vitals, settings: Arc<ActorSettings>, targets: WriteTargets) -> Self {
        Self { vitals, settings, targets, bars: BTreeMap::new(), factors: WriteBuffer::default(), draining: false }
    }

    fn flush_if_due(&mut self, ctx: &mut Context<Self>) {
        let board = self.vitals.board();
        let more_on_the_way = board.tasks_in(Stage::Waiting).get() + board.tasks_upstream() > 0;
        let batch = &self.settings.batch;
        let mut due = Vec::new();
        for (frequency, buffer) in &mut self.bars {
            if buffer.is_due(batch, more_on_the_way, self.draining) {
                buffer.is_flushing = true;
                due.push((*frequency, buffer.take(batch.max_rows)));
            }
        }
        for (frequency, tasks) in due {
            let flush = Flush::new(self.targets.bars.clone(), self.settings.clone(), frequency, tasks);
            self.run_flush(flush.run(), Kind::Bars(frequency), ctx);
        }
        let batch = &self.settings.batch;
        if self.factors.is_due(batch, more_on_the_way, self.draining) {
            self.factors.is_flushing = true;
            let tasks = self.factors.take(batch.max_rows);
            let flush = FactorFlush::new(self.targets.factors.clone(), self.settings.clone(), tasks);
            self.run_flush(flush.run(), Kind::Factors, ctx);
        }
        let waiting = self.bars.values().map(WriteBuffer::num_rows).sum::<usize>() + self.factors.num_rows();
        self.vitals.board().rows_buffered.set(waiting as u64);
    }

    fn run_flush(&self, flush: impl Future<Output = ()> + 'static, kind: Kind, ctx: &mut Context<Self>) {
        let (vitals, writer) = (self.vitals.clone(), ctx.address());
        actix_rt::spawn(async move {
            let _ended = EndOfFlush(writer, kind);
            vitals.fault_point("flush");
            flush.await;
        });
    }
}

/// Tells the writer that a flush ended, also when it ended by a panic.
struct EndOfFlush(Addr<BatchWriter>, Kind);

impl Drop for EndOfFlush {
    fn drop(&mut self) {
        self.0.do_send(FlushEnded(self.1));
    }
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
        self.bars.clear();
        self.factors = WriteBuffer::default();
    }
}

impl Handler<WriteBars> for BatchWriter {
    type Result = ();

    fn handle(&mut self, message: WriteBars, ctx: &mut Self::Context) {
        self.vitals.fault_point("handler");
        let WriteBars { mut ticket, unit, report, room } = message;
        ticket.buffered();
        self.bars.entry(unit.frequency).or_default().push(BufferedTask { ticket, unit, report, room });
        self.flush_if_due(ctx);
    }
}

impl Handler<WriteFactors> for BatchWriter {
    type Result = ();

    fn handle(&mut self, message: WriteFactors, ctx: &mut Self::Context) {
        let WriteFactors { mut ticket, unit, report, room } = message;
        ticket.buffered();
        self.factors.push(BufferedFactors { ticket, unit, report, room });
        self.flush_if_due(ctx);
    }
}

impl Handler<WriteTicks> for BatchWriter {
    type Result = ();

    /// Ticks go to a table for each security: there is nothing to gather.
    fn handle(&mut self, message: WriteTicks, _ctx: &mut Self::Context) {
        let WriteTicks { mut ticket, unit, report, room } = message;
        ticket.buffered();
        ticket.enter(Stage::Writing);
        let (ticks, settings) = (self.targets.ticks.clone(), self.settings.clone());
        let span = ticket.span().clone();
        let writing = async move {
            ticks.run(&unit, ticket, report, &settings).await;
            drop(room);
        };
        actix_rt::spawn(writing.instrument(span));
    }
}

impl Handler<WriteList> for BatchWriter {
    type Result = ();

    fn handle(&mut self, message: WriteList, _ctx: &mut Self::Context) {
        let WriteList { mut ticket, list, report, room } = message;
        ticket.buffered();
        ticket.enter(Stage::Writing);
        let (lists, settings) = (self.targets.lists.clone(), self.settings.clone());
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

    fn handle(&mut self, FlushEnded(kind): FlushEnded, ctx: &mut Self::Context) {
        match kind {
            Kind::Bars(frequency) => self.bars.entry(frequency).or_default().is_flushing = false,
            Kind::Factors => self.factors.is_flushing = false,
        }
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
