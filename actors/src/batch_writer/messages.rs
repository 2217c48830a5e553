// Upstream: actor, batch_writer, supervisor, validator
// Downstream: batch_writer::bars, batch_writer::factors, batch_writer::ticks, domain, pipeline
// Role: Messages to the BatchWriter.

use actix::prelude::*;
use tokio::sync::OwnedSemaphorePermit;

use crate::batch_writer::bars::plan::WriteUnit;
use crate::batch_writer::factors::plan::FactorUnit;
use crate::batch_writer::ticks::plan::TickUnit;
use crate::domain::TaskReport;
use crate::domain::reference_list::ValidList;
use crate::pipeline::TaskGuard;

/// Writes bars.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteBars {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The bars.
    pub unit: WriteUnit,
    /// The report of the task so far.
    pub report: TaskReport,
    /// The permit of the row budget for these rows.
    pub permit: OwnedSemaphorePermit,
}

/// Writes adjustment factors.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteFactors {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The factors.
    pub unit: FactorUnit,
    /// The report of the task so far.
    pub report: TaskReport,
    /// The permit of the row budget for these rows.
    pub permit: OwnedSemaphorePermit,
}

/// Writes ticks.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteTicks {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The ticks.
    pub unit: TickUnit,
    /// The report of the task so far.
    pub report: TaskReport,
    /// The permit of the row budget for these rows.
    pub permit: OwnedSemaphorePermit,
}

/// Merges a list.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteList {
    /// The guard of the task.
    pub guard: TaskGuard,
    /// The list.
    pub list: ValidList,
    /// The report of the task so far.
    pub report: TaskReport,
    /// The permit of the row budget for these rows.
    pub permit: OwnedSemaphorePermit,
}

/// Writes all buffered rows without waiting for more, because the worker drains.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct FlushWithoutWaiting;
