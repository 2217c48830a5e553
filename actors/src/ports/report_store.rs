// Upstream: data_worker, ports, store_set, supervisor
// Downstream: domain, store_error
// Role: The port to stored quality reports.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::domain::{Code, KeptTrouble, QualityReport};
use crate::ports::StoreError;

/// Where quality reports are kept.
#[async_trait]
pub trait ReportStore: Send + Sync {
    /// Creates the table where it is missing, or checks the one that is there.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Keeps all of them or fails; the same batch twice is kept once.
    async fn keep(&self, batch: &ReportBatch) -> Result<(), StoreError>;

    /// What was wrong with a code since a moment, oldest first, by the reports of intervals: every task is in one of them.
    async fn history(&self, code: Code, since: DateTime<Utc>) -> Result<CodeHistory, StoreError>;
}

/// Reports that are written together.
#[derive(Debug, Clone)]
pub struct ReportBatch {
    /// A pure function of the reports' ids.
    pub token: String,
    /// The reports.
    pub reports: Arc<Vec<QualityReport>>,
}

impl ReportBatch {
    /// A batch of these.
    pub fn of(reports: &[QualityReport]) -> Self {
        let ids: String = reports.iter().map(|report| report.id.as_str()).collect();
        let token = Uuid::new_v5(&Uuid::NAMESPACE_OID, ids.as_bytes()).simple().to_string();
        Self { token, reports: Arc::new(reports.to_vec()) }
    }
}

/// The quality history of a code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodeHistory {
    /// Reports of intervals that were kept since then, whatever they are about.
    pub num_reports: u64,
    /// What was wrong with the code.
    pub troubles: Vec<KeptTrouble>,
}
