// Upstream: simulation, world_tests
// Downstream: many
// Role: A whole worker between models, on one thread and in virtual time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::domain::Identity;
use crate::ports::{
    ConfigRefused, ConfigSource, HeartbeatError, HeartbeatStore, MarketSources, PreparedConfig, ReferenceStore,
    StoreSet, Swappable,
};
use crate::settings::ActorSettings;
use crate::simulation::{ModelFeed, ModelOutbox, ModelReference, ModelSource, ModelSources, ModelStore};
use crate::supervision::{RestartPolicy, StatusBoard};
use crate::supervisor::{ExitReport, Placement, Stop, Supervisor, WorkerParts};

/// A worker and everything around it.
pub struct World {
    /// Commands and orders.
    pub feed: Arc<ModelFeed>,
    /// The vendor.
    pub source: Arc<ModelSource>,
    /// The server in force at the start.
    pub store: Arc<ModelStore>,
    /// Its ports, to be exchanged.
    pub stores: Arc<Swappable<StoreSet>>,
    /// Lists.
    pub reference: Arc<ModelReference>,
    /// What the worker publishes.
    pub outbox: Arc<ModelOutbox>,
    /// The last heartbeat; `None` when it was removed.
    pub heartbeats: Arc<ModelHeartbeats>,
    /// The worker's status.
    pub board: Arc<StatusBoard>,
    supervisor: Addr<Supervisor>,
    exit: Option<oneshot::Receiver<ExitReport>>,
}

/// Keeps the last heartbeat.
#[derive(Debug, Default)]
pub struct ModelHeartbeats(Mutex<Option<String>>);

impl ModelHeartbeats {
    /// The last heartbeat.
    pub fn last(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl HeartbeatStore for ModelHeartbeats {
    async fn beat(&self, value: &str, _ttl: Duration) -> Result<(), HeartbeatError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(value.to_owned());
        Ok(())
    }

    async fn remove(&self) -> Result<(), HeartbeatError> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

/// A configuration that never changes.
struct FixedConfig;

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
    /// A running worker on an empty server. Call it inside [`World::run`].
    pub fn start(settings: ActorSettings) -> Self {
        Self::start_on(Arc::new(ModelStore::deduplicating()), settings)
    }

    /// A running worker on this server.
    pub fn start_on(store: Arc<ModelStore>, settings: ActorSettings) -> Self {
        let (feed, source) = (Arc::new(ModelFeed::default()), Arc::new(ModelSource::default()));
        let (reference, outbox) = (Arc::new(ModelReference::default()), Arc::new(ModelOutbox::default()));
        let heartbeats = Arc::new(ModelHeartbeats::default());
        let stores = Swappable::new(Arc::new(ModelStore::ports(&store)));
        let sources = Arc::new(ModelSources(vec![source.clone()]));
        let parts = WorkerParts {
            identity: Identity { node_id: "model".into(), host: "host".into(), http_address: None },
            feed: feed.clone(),
            orders: feed.clone(),
            config: Arc::new(FixedConfig),
            sources: Swappable::new(sources as Arc<dyn MarketSources>),
            stores: stores.clone(),
            reference: Swappable::new(reference.clone() as Arc<dyn ReferenceStore>),
            heartbeats: Swappable::new(heartbeats.clone() as Arc<dyn HeartbeatStore>),
            outbox: outbox.clone(),
            placement: Placement::OneThread,
        };
        let board = Arc::new(StatusBoard::default());
        let (supervisor, exit) = Supervisor::launch(parts, settings, RestartPolicy::default(), board.clone());
        let exit = Some(exit);
        Self { feed, source, store, stores, reference, outbox, heartbeats, board, supervisor, exit }
    }

    /// Runs a test on an actix system whose clock stands still while anything can be done, and jumps to the next timer
    /// when nothing can.
    pub fn run(test: impl Future<Output = ()>) {
        let runtime = || {
            let built = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
            #[allow(clippy::expect_used, reason = "a test cannot go on without a runtime")]
            built.expect("a runtime")
        };
        System::with_tokio_rt(runtime).block_on(test);
    }

    /// Waits until a condition holds, for at most ten minutes of virtual time.
    ///
    /// # Panics
    ///
    /// When it does not hold by then.
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

    /// Waits until the worker takes commands.
    pub async fn running(&self) {
        self.until("the worker runs", |world| world.board.lifecycle() == crate::domain::Lifecycle::Running).await;
    }

    /// Stops the worker and returns how it ended.
    pub async fn stop(&mut self) -> ExitReport {
        self.supervisor.do_send(Stop { reason: "the test is over".to_owned() });
        self.ended().await
    }

    /// Waits for the worker's end and returns how it ended.
    pub async fn ended(&mut self) -> ExitReport {
        let gone = || ExitReport::Failed("the supervisor is gone".to_owned());
        match self.exit.take() {
            Some(exit) => exit.await.unwrap_or_else(|_| gone()),
            None => gone(),
        }
    }
}
