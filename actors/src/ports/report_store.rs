// Upstream: data_worker, ports, simulation, store_set, supervisor
// Downstream: domain, store_error
// Role: The port to stored quality reports.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDateTime, Utc};
use uuid::Uuid;

use crate::domain::{Code, QualityReport, StoredIssue};
use crate::ports::StoreError;

/// A store of quality reports.
#[async_trait]
pub trait ReportStore: Send + Sync {
    /// Creates the table if it is missing; otherwise checks the existing one.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Stores all reports of the batch or fails. The same batch sent twice is stored once.
    async fn keep(&self, batch: &ReportBatch) -> Result<(), StoreError>;

    /// The problems of a code since a point in time, oldest first. Only interval reports are read: each task is part of
    /// one.
    async fn history(&self, code: Code, since: DateTime<Utc>) -> Result<CodeHistory, StoreError>;
}

/// Reports that are written by one INSERT.
#[derive(Debug, Clone)]
pub struct ReportBatch {
    /// The deduplication token, derived from the ids of the reports.
    pub token: String,
    /// The reports.
    pub reports: Arc<Vec<QualityReport>>,
}

impl ReportBatch {
    /// A batch of these reports.
    pub fn of(reports: &[QualityReport]) -> Self {
        let ids: String = reports.iter().map(|report| report.id.as_str()).collect();
        let token = Uuid::new_v5(&Uuid::NAMESPACE_OID, ids.as_bytes()).simple().to_string();
        Self { token, reports: Arc::new(reports.to_vec()) }
    }
}

/// The quality history of a code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodeHistory {
    /// Number of interval reports stored since then, for any code.
    pub num_reports: u64,
    /// The end of the oldest stored interval report of any code, Shanghai wall clock; `None` if there is none.
    pub kept_since: Option<NaiveDateTime>,
    /// The problems of the code.
    pub issues: Vec<StoredIssue>,
}
