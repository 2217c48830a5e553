// Upstream: actor, data_worker, lifecycle, simulation, spawn, supervisor
// Downstream: domain, ports
// Role: The ports of one worker.

use std::sync::Arc;

use crate::domain::Identity;
use crate::ports::{
    CommandFeed, ConfigSource, HeartbeatStore, MarketSources, OrderFeed, Outbox, ReferenceStore, StoreSet, Swappable,
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
    pub sources: Arc<Swappable<dyn MarketSources>>,
    /// Bars, factors, ticks and quality reports.
    pub stores: Arc<Swappable<StoreSet>>,
    /// The stock list and the calendar.
    pub reference: Arc<Swappable<dyn ReferenceStore>>,
    /// Heartbeats.
    pub heartbeats: Arc<Swappable<dyn HeartbeatStore>>,
    /// Dead letters and notifications.
    pub outbox: Arc<dyn Outbox>,
    /// On which threads the actors run.
    pub placement: Placement,
}

/// On which threads the actors run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// Fetching, writing and the heartbeat each on a thread of its own, so that none delays another.
    #[default]
    OwnThreads,
    /// All on the thread that launches the worker, in the order that its runtime decides: for simulated runs.
    OneThread,
}
