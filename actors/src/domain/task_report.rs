// Upstream: many
// Downstream: task, tick_backfill
// Role: The result of a finished task.

use crate::domain::tick_backfill::BackfillDays;
use crate::domain::{Anomaly, TaskCounts};

/// The result of a finished task.
#[derive(Debug, Default)]
pub struct TaskReport {
    /// Row counts by outcome.
    pub counts: TaskCounts,
    /// Examples of anomalous rows, a bounded number.
    pub anomalies: Vec<Anomaly>,
    /// The state of the tick backfill, if this task is a part of one that may continue.
    pub backfill: Option<BackfillDays>,
}
