// Upstream: run
// Downstream: actors, broker, clock, consumer, outbox
// Role: The workers of a group and the models around them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use actix::Addr;
use actors::domain::Identity;
use actors::ports::{AlertStore, HeartbeatStore, MarketSources, MemoryAlerts, ReferenceStore, StoreSet, Swappable};
use actors::settings::ActorSettings;
use actors::simulation::{FixedConfig, ModelHeartbeats, ModelReference, ModelSource, ModelSources, ModelStore};
use actors::supervision::{RestartPolicy, StatusBoard};
use actors::supervisor::{ExitReport, Placement, Stop, Supervisor, WorkerParts};
use chrono::TimeDelta;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet};

use crate::broker::Broker;
use crate::clock::with_clock_error;
use crate::consumer::{NoOrders, SimulatedFeed};
use crate::outbox::SimulatedOutbox;

/// The models that all workers share.
pub struct Surroundings {
    /// Kafka.
    pub broker: Arc<Broker>,
    /// The vendor.
    pub source: Arc<ModelSource>,
    /// ClickHouse.
    pub store: Arc<ModelStore>,
    /// MySQL.
    pub reference: Arc<ModelReference>,
    /// The producer.
    pub outbox: Arc<SimulatedOutbox>,
    /// The states of alerts.
    pub alerts: Arc<MemoryAlerts>,
    /// The settings of each worker.
    pub settings: ActorSettings,
}

/// A running worker.
pub struct Worker {
    /// Its status.
    pub board: Arc<StatusBoard>,
    /// Its consumer.
    pub feed: Arc<SimulatedFeed>,
    /// Its store.
    pub stores: Arc<Swappable<StoreSet>>,
    /// The error of its clock.
    pub clock_error: Rc<Cell<TimeDelta>>,
    supervisor: Addr<Supervisor>,
    exit: oneshot::Receiver<ExitReport>,
    process: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker of this name.
    pub fn start(name: &str, around: &Surroundings) -> Self {
        let tasks = LocalSet::new();
        let entered = tasks.enter();
        let feed = Arc::new(SimulatedFeed::new(name, around.broker.clone()));
        let stores = Swappable::new(Arc::new(ModelStore::ports(&around.store)));
        let parts = WorkerParts {
            identity: Identity { node_id: name.into(), host: "host".into(), http_address: None },
            feed: feed.clone(),
            orders: Arc::new(NoOrders),
            config: Arc::new(FixedConfig),
            sources: Swappable::new(Arc::new(ModelSources(vec![around.source.clone()])) as Arc<dyn MarketSources>),
            stores: stores.clone(),
            reference: Swappable::new(around.reference.clone() as Arc<dyn ReferenceStore>),
            heartbeats: Swappable::new(Arc::new(ModelHeartbeats::default()) as Arc<dyn HeartbeatStore>),
            alerts: Swappable::new(around.alerts.clone() as Arc<dyn AlertStore>),
            outbox: around.outbox.clone(),
            placement: Placement::OneThread,
        };
        let board = Arc::new(StatusBoard::default());
        let (supervisor, exit) =
            Supervisor::launch(parts, around.settings.clone(), RestartPolicy::default(), board.clone());
        drop(entered);
        let clock_error = Rc::new(Cell::new(TimeDelta::zero()));
        let process = tokio::task::spawn_local(with_clock_error(tasks, clock_error.clone()));
        Self { board, feed, stores, clock_error, supervisor, exit, process }
    }

    /// Kills the process: nothing of it runs any more. What it has sent still arrives.
    pub async fn kill(self) {
        self.process.abort();
        let _aborted = self.process.await;
    }

    /// Stops the worker in order and returns its exit report.
    pub async fn stop(self) -> ExitReport {
        self.supervisor.do_send(Stop { reason: "a stop of the scenario".to_owned() });
        let report = self.exit.await.unwrap_or_else(|_| ExitReport::Failed("the supervisor is gone".to_owned()));
        self.process.abort();
        let _aborted = self.process.await;
        report
    }
}
