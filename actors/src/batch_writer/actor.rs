// Upstream: batch_writer, supervisor, validator
// Downstream: many
// Role: The actor that buffers the valid rows of many tasks and writes them in batches, one batch at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tracing::Instrument;

use crate::batch_writer::bars::write::{BufferedTask, Flush, FlushContext};
use crate::batch_writer::buffer::WriteBuffer;
use crate::batch_writer::factors::write::{BufferedFactors, FactorFlush, FactorFlushContext};
use crate::batch_writer::lists::merge::MergeContext;
use crate::batch_writer::ticks::write::TickWriter;
use crate::batch_writer::{FlushWithoutWaiting, WriteBars, WriteFactors, WriteList, WriteTicks};
use crate::domain::{Frequency, Stage};
use crate::settings::{ActorSettings, ApplySettings};
use crate::supervision::Vitals;

/// Interval between checks whether a batch is due: a tenth of the shortest sensible flush interval.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// A flush ended, so the next one may begin.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
struct FlushEnded(Kind);

/// The kinds of rows that are written in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bars(Frequency),
    Factors,
}

/// The writers of each kind of row. They outlive a restart of the actor.
#[derive(Clone)]
pub struct WriteTargets {
    /// Bars.
    pub bars: Arc<FlushContext>,
    /// Adjustment factors.
    pub factors: Arc<FactorFlushContext>,
    /// Ticks.
    pub ticks: Arc<TickWriter>,
    /// Stock list and calendar.
    pub lists: Arc<MergeContext>,
}

/// Buffers rows. A separate future writes each batch and outlives a restart of the actor.
pub struct BatchWriter {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    targets: WriteTargets,
    /// One buffer per frequency.
    bars: BTreeMap<Frequency, WriteBuffer<BufferedTask>>,
    factors: WriteBuffer<BufferedFactors>,
    draining: bool,
}

impl BatchWriter {
    /// Creates a writer with empty buffers.
    pub fn new(vitals: Vitals, settings: Arc<ActorSettings>, targets: WriteTargets) -> Self {
        Self { vitals, settings, targets, bars: BTreeMap::new(), factors: WriteBuffer::default(), draining: false }
    }

    fn flush_if_due(&mut self, ctx: &mut Context<Self>) {
        let board = self.vitals.board();
        let more_expected = board.counters.tasks_in(Stage::Waiting).get() + board.counters.tasks_upstream() > 0;
        let batch = &self.settings.batch;
        let mut due = Vec::new();
        for (frequency, buffer) in &mut self.bars {
            if buffer.is_due(batch, more_expected, self.draining) {
                buffer.is_flushing = true;
                due.push((*frequency, buffer.take(batch.max_rows)));
            }
        }
        for (frequency, tasks) in due {
            let flush = Flush::new(self.targets.bars.clone(), self.settings.clone(), frequency, tasks);
            self.run_flush(flush.run(), Kind::Bars(frequency), ctx);
        }
        let batch = &self.settings.batch;
        if self.factors.is_due(batch, more_expected, self.draining) {
            self.factors.is_flushing = true;
            let tasks = self.factors.take(batch.max_rows);
            let flush = FactorFlush::new(self.targets.factors.clone(), self.settings.clone(), tasks);
            self.run_flush(flush.run(), Kind::Factors, ctx);
        }
        let buffered = self.bars.values().map(WriteBuffer::num_rows).sum::<usize>() + self.factors.num_rows();
        self.vitals.board().counters.rows_buffered.set(buffered as u64);
    }

    fn run_flush(&self, flush: impl Future<Output = ()> + 'static, kind: Kind, ctx: &mut Context<Self>) {
        let (vitals, writer) = (self.vitals.clone(), ctx.address());
        actix_rt::spawn(async move {
            let _end_notice = FlushEndNotice(writer, kind);
            vitals.fail_point("flush");
            flush.await;
        });
    }
}

/// Notifies the writer on drop that a flush ended, also after a panic.
struct FlushEndNotice(Addr<BatchWriter>, Kind);

impl Drop for FlushEndNotice {
    fn drop(&mut self) {
        self.0.do_send(FlushEnded(self.1));
    }
}

impl Actor for BatchWriter {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
        ctx.run_interval(POLL_INTERVAL, |writer, ctx| writer.flush_if_due(ctx));
    }
}

impl Supervised for BatchWriter {
    /// Drops the buffered tasks. Their guards report them as lost, so they are fetched again. A running flush
    /// continues, and the next flush waits for it.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.bars.clear();
        self.factors = WriteBuffer::default();
    }
}

impl Handler<WriteBars> for BatchWriter {
    type Result = ();

    fn handle(&mut self, message: WriteBars, ctx: &mut Self::Context) {
        self.vitals.fail_point("handler");
        let WriteBars { mut guard, unit, report, permit } = message;
        guard.buffered();
        self.bars.entry(unit.frequency).or_default().push(BufferedTask { guard, unit, report, permit });
        self.flush_if_due(ctx);
    }
}

impl Handler<WriteFactors> for BatchWriter {
    type Result = ();

    fn handle(&mut self, message: WriteFactors, ctx: &mut Self::Context) {
        let WriteFactors { mut guard, unit, report, permit } = message;
        guard.buffered();
        self.factors.push(BufferedFactors { guard, unit, report, permit });
        self.flush_if_due(ctx);
    }
}

impl Handler<WriteTicks> for BatchWriter {
    type Result = ();

    /// Writes ticks without buffering: each security has its own table, so tasks cannot share an INSERT.
    fn handle(&mut self, message: WriteTicks, _ctx: &mut Self::Context) {
        let WriteTicks { mut guard, unit, report, permit } = message;
        guard.buffered();
        guard.enter(Stage::Writing);
        let (ticks, settings) = (self.targets.ticks.clone(), self.settings.clone());
        let span = guard.span().clone();
        let writing = async move {
            ticks.run(&unit, guard, report, &settings).await;
            drop(permit);
        };
        actix_rt::spawn(writing.instrument(span));
    }
}

impl Handler<WriteList> for BatchWriter {
    type Result = ();

    fn handle(&mut self, message: WriteList, _ctx: &mut Self::Context) {
        let WriteList { mut guard, list, report, permit } = message;
        guard.buffered();
        guard.enter(Stage::Writing);
        let (lists, settings) = (self.targets.lists.clone(), self.settings.clone());
        let span = guard.span().clone();
        let merging = async move {
            lists.run(&list, guard, report, &settings).await;
            drop(permit);
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
