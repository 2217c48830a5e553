// Upstream: actor, command_router, split, supervisor
// Downstream: domain, fetcher, pipeline, ports, quality_monitor
// Role: The actors and services that the CommandRouter uses.

use std::sync::Arc;

use actix::prelude::*;

use crate::domain::SyncRecord;
use crate::fetcher::Fetcher;
use crate::pipeline::BackgroundWriter;
use crate::ports::{Outbox, ReferenceStore, Swappable};
use crate::quality_monitor::QualityMonitor;

/// The actors and services that the router uses.
pub struct RouterLinks {
    /// Fetches the rows of tasks.
    pub fetcher: Addr<Fetcher>,
    /// Receives the outcomes of tasks and commands.
    pub quality: Addr<QualityMonitor>,
    /// Publishes dead letters and command parts.
    pub outbox: Arc<dyn Outbox>,
    /// Provides all listed codes.
    pub reference: Arc<Swappable<dyn ReferenceStore>>,
    /// Stores the records of ended tasks.
    pub sync_records: BackgroundWriter<SyncRecord>,
}
