// Upstream: many
// Downstream: task
// Role: The record of an ended task for Ginkgo's table `data_sync_record`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{Subject, SyncMode, TaskCounts};

/// The outcome of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRecord {
    /// The row id; writing the same record again does not create another row.
    pub id: Uuid,
    /// Ginkgo's name for the synchronised data: `bars`, `adjustfactor`, `stockinfo` and so on.
    pub kind: &'static str,
    /// The subject of the task.
    pub subject: Subject,
    /// The sync mode.
    pub mode: SyncMode,
    /// When the task ended.
    pub ended_at: DateTime<Utc>,
    /// The duration of the task.
    pub duration: Duration,
    /// The row counts.
    pub counts: TaskCounts,
    /// The reason of the failure, if the task failed.
    pub error: Option<String>,
}

impl SyncRecord {
    /// The code, or `ALL` for lists.
    pub fn code(&self) -> &str {
        match &self.subject {
            Subject::Code(code) => code.as_str(),
            Subject::StockList | Subject::Calendar => "ALL",
        }
    }

    /// `success`, `partial` if rows were skipped, or `failed`.
    pub fn status(&self) -> &'static str {
        match (&self.error, self.counts.num_skipped()) {
            (Some(_), _) => "failed",
            (None, 0) => "success",
            (None, _) => "partial",
        }
    }

    /// `full` or `incremental`.
    pub fn strategy(&self) -> &'static str {
        match self.mode {
            SyncMode::Replace => "full",
            SyncMode::Incremental => "incremental",
        }
    }

    /// The number of added rows and the number of rows that replaced others.
    pub fn added_and_updated(&self) -> (u64, u64) {
        let updated = self.counts.replaced.min(self.counts.written);
        (self.counts.written - updated, updated)
    }
}
