// Upstream: many
// Downstream: task
// Role: The record of a task that Ginkgo's table `data_sync_record` keeps.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{Subject, SyncMode, TaskCounts};

/// What became of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncRecord {
    /// Its identity: however often it is written, it is one record.
    pub id: Uuid,
    /// Ginkgo's word for what was synchronised: `bars`, `adjustfactor`, `stockinfo` and the like.
    pub kind: &'static str,
    /// What it was about.
    pub subject: Subject,
    /// How.
    pub mode: SyncMode,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// From its start until then.
    pub duration: Duration,
    /// Its rows.
    pub counts: TaskCounts,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

impl SyncRecord {
    /// The code, or `ALL`.
    pub fn code(&self) -> &str {
        match &self.subject {
            Subject::Code(code) => code.as_str(),
            Subject::StockList | Subject::Calendar => "ALL",
        }
    }

    /// `success`, `partial` where rows were skipped, or `failed`.
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

    /// Rows that are stored now and were not before, and rows in place of others.
    pub fn added_and_updated(&self) -> (u64, u64) {
        let updated = self.counts.replaced.min(self.counts.written);
        (self.counts.written - updated, updated)
    }
}
