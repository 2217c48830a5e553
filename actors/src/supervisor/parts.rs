// Upstream: many
// Downstream: domain, ports
// Role: The ports of one worker, and the threads of its actors.

use std::sync::Arc;

use crate::domain::Identity;
use crate::ports::{
    AlertStore, CommandFeed, ConfigSource, HeartbeatStore, MarketSources, OrderFeed, Outbox, ReferenceStore, StoreSet,
    Swappable,
};

/// The ports through which the actors use external systems.
#[derive(Clone)]
pub struct WorkerParts {
    /// The identity of this worker.
    pub identity: Identity,
    /// Delivers commands.
    pub feed: Arc<dyn CommandFeed>,
    /// Delivers operator orders.
    pub orders: Arc<dyn OrderFeed>,
    /// Reads the configuration.
    pub config: Arc<dyn ConfigSource>,
    /// Provide market data.
    pub sources: Arc<Swappable<dyn MarketSources>>,
    /// Store bars, factors, ticks and quality reports.
    pub stores: Arc<Swappable<StoreSet>>,
    /// Stores the stock list and the trading calendar.
    pub reference: Arc<Swappable<dyn ReferenceStore>>,
    /// Stores heartbeats.
    pub heartbeats: Arc<Swappable<dyn HeartbeatStore>>,
    /// Stores the states of alerts.
    pub alerts: Arc<Swappable<dyn AlertStore>>,
    /// Publishes dead letters, notifications, price updates and command parts.
    pub outbox: Arc<dyn Outbox>,
    /// The threads of the actors.
    pub placement: Placement,
}

/// The threads of the actors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// Fetching, writing and the heartbeat have separate threads, so that they do not delay each other.
    #[default]
    OwnThreads,
    /// All actors run on the thread that launches the worker, for simulations.
    OneThread,
}
