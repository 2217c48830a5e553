// Upstream: many
// Downstream: many
// Role: Runs a whole worker with models of all external systems, on one thread and in virtual time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::domain::Identity;
use crate::ports::{
    AlertStore, ConfigRefused, ConfigSource, HeartbeatError, HeartbeatStore, MarketSources, MemoryAlerts,
    PreparedConfig, ReferenceStore, StoreSet, Swappable,
};
use crate::settings::ActorSettings;
use crate::simulation::{ModelFeed, ModelOutbox, ModelReference, ModelSource, ModelSources, ModelStore, bar_on, code};
use crate::supervision::{RestartPolicy, StatusBoard};
use crate::supervisor::{ExitReport, Placement, Stop, Supervisor, WorkerParts};

/// The days of the offered bars.
const TRADING_DAYS: [&str; 3] = ["2024-01-02", "2024-01-03", "2024-01-04"];

/// A worker and the models of its external systems.
pub struct World {
    /// Delivers commands and orders.
    pub feed: Arc<ModelFeed>,
    /// The vendor.
    pub source: Arc<ModelSource>,
    /// The source ports of the worker. A test may exchange them.
    pub sources: Arc<Swappable<dyn MarketSources>>,
    /// The ClickHouse server that the worker uses at the start.
    pub store: Arc<ModelStore>,
    /// The store ports of the worker. A test may exchange them.
    pub stores: Arc<Swappable<StoreSet>>,
    /// Stock list and trading calendar.
    pub reference: Arc<ModelReference>,
    /// Published messages.
    pub outbox: Arc<ModelOutbox>,
    /// The heartbeat store.
    pub heartbeats: Arc<ModelHeartbeats>,
    /// The worker's status.
    pub board: Arc<StatusBoard>,
    supervisor: Addr<Supervisor>,
    exit: Option<oneshot::Receiver<ExitReport>>,
}

/// Keeps the last heartbeat and the claims. A claim never expires.
#[derive(Debug, Default)]
pub struct ModelHeartbeats(Mutex<Option<String>>, Mutex<BTreeSet<String>>);

impl ModelHeartbeats {
    /// The last heartbeat; `None` if there is none, or it was removed.
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl HeartbeatStore for ModelHeartbeats {
    async fn beat(&self, value: &str, _ttl: Duration) -> Result<Option<String>, HeartbeatError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.to_owned());
        Ok(None)
    }

    async fn remove(&self) -> Result<(), HeartbeatError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    async fn claim(&self, work: &str, _ttl: Duration) -> Result<bool, HeartbeatError> {
        Ok(self.1.lock().unwrap_or_else(PoisonError::into_inner).insert(work.to_owned()))
    }
}

/// A configuration that never changes.
pub struct FixedConfig;

#[async_trait]
impl ConfigSource for FixedConfig {
    async fn prepare(&self) -> Result<PreparedConfig, ConfigRefused> {
        Err(ConfigRefused { problems: vec!["the model has no configuration file".to_owned()] })
    }

    fn drain_deadline(&self) -> Duration {
        Duration::from_secs(25)
    }
}

impl World {
    /// Starts a worker with an empty server. Call it inside [`World::run`].
    pub fn start(settings: ActorSettings) -> Self {
        Self::start_on(Arc::new(ModelStore::deduplicating()), settings)
    }

    /// Starts a worker with this server.
    pub fn start_on(store: Arc<ModelStore>, settings: ActorSettings) -> Self {
        let (feed, source) = (Arc::new(ModelFeed::default()), Arc::new(ModelSource::default()));
        let (reference, outbox) = (Arc::new(ModelReference::default()), Arc::new(ModelOutbox::default()));
        let heartbeats = Arc::new(ModelHeartbeats::default());
        let stores = Swappable::new(Arc::new(ModelStore::ports(&store)));
        let sources = Swappable::new(Arc::new(ModelSources(vec![source.clone()])) as Arc<dyn MarketSources>);
        let parts = WorkerParts {
            identity: Identity { node_id: "model".into(), host: "host".into(), http_address: None },
            feed: feed.clone(),
            orders: feed.clone(),
            config: Arc::new(FixedConfig),
            sources: sources.clone(),
            stores: stores.clone(),
            reference: Swappable::new(reference.clone() as Arc<dyn ReferenceStore>),
            heartbeats: Swappable::new(heartbeats.clone() as Arc<dyn HeartbeatStore>),
            alerts: Swappable::new(Arc::new(MemoryAlerts::default()) as Arc<dyn AlertStore>),
            outbox: outbox.clone(),
            placement: Placement::OneThread,
        };
        let board = Arc::new(StatusBoard::default());
        let (supervisor, exit) = Supervisor::launch(parts, settings, RestartPolicy::default(), board.clone());
        let exit = Some(exit);
        Self { feed, source, sources, store, stores, reference, outbox, heartbeats, board, supervisor, exit }
    }

    /// Runs a test on an actix system in virtual time: the clock stands still while a task can run, and jumps to the
    /// next timer when all tasks wait.
    pub fn run(test: impl Future<Output = ()>) {
        let runtime = || {
            let built = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            #[allow(clippy::expect_used, reason = "a test cannot go on without a runtime")]
            built.expect("a runtime")
        };
        System::with_tokio_rt(runtime).block_on(test);
    }

    /// Waits until the condition is true, for at most ten minutes of virtual time.
    ///
    /// # Panics
    ///
    /// Panics after this time.
    #[allow(clippy::panic, reason = "a test fails by a panic")]
    pub async fn until(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(600);
        while !condition(self) {
            if tokio::time::Instant::now() > deadline {
                panic!("not within ten minutes: {what}; last error: {:?}", self.board.last_error());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The vendor has these closes of one security in fen, on the trading days from 2024-01-02 on.
    pub fn offer(&self, number: u32, closes: &[i64]) {
        let bars = TRADING_DAYS.iter().zip(closes).map(|(day, close)| bar_on(day, *close)).collect();
        self.source.edit(|data| {
            data.bars.insert(code(number), bars);
        });
    }

    /// Waits until the worker is RUNNING.
    pub async fn running(&self) {
        self.until("the worker runs", |world| world.board.lifecycle() == crate::domain::Lifecycle::Running).await;
    }

    /// Stops the worker and returns its exit report.
    pub async fn stop(&mut self) -> ExitReport {
        self.supervisor.do_send(Stop { reason: "the test is over".to_owned() });
        self.ended().await
    }

    /// Waits for the end of the worker and returns its exit report.
    pub async fn ended(&mut self) -> ExitReport {
        let gone = || ExitReport::Failed("the supervisor is gone".to_owned());
        match self.exit.take() {
            Some(exit) => exit.await.unwrap_or_else(|_| gone()),
            None => gone(),
        }
    }
}
