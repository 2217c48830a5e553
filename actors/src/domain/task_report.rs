// Upstream: many
// Downstream: task, tick_backfill
// Role: What a finished task brought.

use crate::domain::tick_backfill::BackfillDays;
use crate::domain::{Anomaly, TaskCounts};

/// What a finished task brought.
#[derive(Debug, Default)]
pub struct TaskReport {
    /// Rows by what became of them.
    pub counts: TaskCounts,
    /// Examples of invalid rows, a bounded number.
    pub anomalies: Vec<Anomaly>,
    /// How a backfill of ticks went so far, if the task is a part of one that may go on.
    pub backfill: Option<BackfillDays>,
}
