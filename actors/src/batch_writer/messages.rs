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

/// Write these rows.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteBars {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The rows.
    pub unit: WriteUnit,
    /// What is known of the task so far.
    pub report: TaskReport,
    /// The rows' room in memory.
    pub permit: OwnedSemaphorePermit,
}

/// Write these factors.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteFactors {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The factors.
    pub unit: FactorUnit,
    /// What is known of the task so far.
    pub report: TaskReport,
    /// The rows' room in memory.
    pub permit: OwnedSemaphorePermit,
}

/// Write these ticks.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteTicks {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The ticks.
    pub unit: TickUnit,
    /// What is known of the task so far.
    pub report: TaskReport,
    /// The rows' room in memory.
    pub permit: OwnedSemaphorePermit,
}

/// Merge this list.
#[derive(Message)]
#[rtype(result = "()")]
pub struct WriteList {
    /// The task's pass.
    pub guard: TaskGuard,
    /// The list.
    pub list: ValidList,
    /// What is known of the task so far.
    pub report: TaskReport,
    /// The rows' room in memory.
    pub permit: OwnedSemaphorePermit,
}

/// The worker drains: write what is there without waiting for more.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct FlushWithoutWaiting;
