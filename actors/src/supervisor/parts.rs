// Upstream: actor, data_worker, lifecycle, spawn, supervisor
// Downstream: domain, ports
// Role: The ports of one worker.

use std::sync::Arc;

use crate::domain::Identity;
use crate::ports::{
    BarStore, CommandFeed, ConfigSource, FactorStore, HeartbeatStore, MarketSources, OrderFeed, Outbox, ReferenceStore,
    ReportStore, TickStore,
};

/// Everything outside that the actors talk to.
#[derive(Clone)]
pub struct WorkerParts {
    /// Who this worker is.
    pub identity: Identity,
    /// Commands.
    pub feed: Arc<dyn CommandFeed>,
    /// Operators' orders.
    pub orders: Arc<dyn OrderFeed>,
    /// The configuration.
    pub config: Arc<dyn ConfigSource>,
    /// Market data.
    pub sources: Arc<dyn MarketSources>,
    /// Bars.
    pub store: Arc<dyn BarStore>,
    /// Adjustment factors.
    pub factors: Arc<dyn FactorStore>,
    /// Ticks.
    pub ticks: Arc<dyn TickStore>,
    /// The stock list and the calendar.
    pub reference: Arc<dyn ReferenceStore>,
    /// Quality reports.
    pub reports: Arc<dyn ReportStore>,
    /// Heartbeats.
    pub heartbeats: Arc<dyn HeartbeatStore>,
    /// Dead letters and notifications.
    pub outbox: Arc<dyn Outbox>,
}
