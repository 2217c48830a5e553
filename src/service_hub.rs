// Upstream: run, standalone, standalone::demonstration, standalone::error
// Downstream: actors::heartbeat, actors::supervisor, clickhouse::store, config::sections, kafka::feed, kafka::outbox, memory_heartbeats, mysql::stock_info, redis::heartbeat, sources, sqlite::store
// Role: Builds every adapter from the configuration and hands it out as a port; nothing else constructs one.

use std::path::Path;
use std::sync::Arc;

use actors::heartbeat::Identity;
use actors::supervisor::WorkerParts;

use crate::clickhouse::ClickHouseBars;
use crate::config::Settings;
use crate::kafka::{KafkaFeed, KafkaOutbox};
use crate::memory_heartbeats::MemoryHeartbeats;
use crate::mysql::MySqlInstruments;
use crate::redis::RedisHeartbeats;
use crate::sources;
use crate::sqlite::SqliteStore;

/// The services of one worker.
pub struct ServiceHub {
    parts: WorkerParts,
}

/// The services of a worker that needs no server but a broker, with what can be looked at from outside.
pub struct EmbeddedServices {
    /// All of them.
    pub hub: ServiceHub,
    /// Bars and stock list.
    pub store: Arc<SqliteStore>,
    /// The worker's heartbeat.
    pub heartbeats: Arc<MemoryHeartbeats>,
}

/// An adapter that cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
#[error("{part} cannot be set up: {reason}")]
pub struct ServiceError {
    /// The adapter.
    pub part: &'static str,
    /// Why.
    pub reason: String,
}

impl ServiceError {
    fn of<E: std::fmt::Display>(part: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { part, reason: error.to_string() }
    }
}

impl ServiceHub {
    /// Builds all adapters. None of them connects yet: a server that is not there is waited for later.
    pub fn build(settings: &Settings) -> Result<Self, ServiceError> {
        let node_id = &settings.worker.node_id;
        let source = sources::build(&settings.sources).map_err(ServiceError::of("market source"))?;
        let outbox = KafkaOutbox::new(&settings.kafka, node_id).map_err(ServiceError::of("Kafka producer"))?;
        let heartbeats = RedisHeartbeats::new(&settings.redis, node_id).map_err(ServiceError::of("Redis client"))?;
        let parts = WorkerParts {
            identity: identity(settings),
            feed: Arc::new(KafkaFeed::new(&settings.kafka, node_id)),
            source,
            store: Arc::new(ClickHouseBars::new(&settings.clickhouse)),
            instruments: Arc::new(MySqlInstruments::new(&settings.mysql)),
            heartbeats: Arc::new(heartbeats),
            outbox: Arc::new(outbox),
        };
        Ok(Self { parts })
    }

    /// Builds the adapters of a worker whose bars, stock list and heartbeats stay with itself: `database` is an SQLite
    /// file, which is created where it is missing. The settings of the servers it replaces are not looked at.
    pub async fn embedded(settings: &Settings, database: &Path) -> Result<EmbeddedServices, ServiceError> {
        let node_id = &settings.worker.node_id;
        let source = sources::build(&settings.sources).map_err(ServiceError::of("market source"))?;
        let outbox = KafkaOutbox::new(&settings.kafka, node_id).map_err(ServiceError::of("Kafka producer"))?;
        let store = Arc::new(SqliteStore::open(database).await.map_err(ServiceError::of("database"))?);
        let heartbeats = Arc::new(MemoryHeartbeats::default());
        let parts = WorkerParts {
            identity: identity(settings),
            feed: Arc::new(KafkaFeed::new(&settings.kafka, node_id)),
            source,
            store: store.clone(),
            instruments: store.clone(),
            heartbeats: heartbeats.clone(),
            outbox: Arc::new(outbox),
        };
        Ok(EmbeddedServices { hub: Self { parts }, store, heartbeats })
    }

    /// All ports together, as the supervisor takes them.
    pub fn parts(&self) -> WorkerParts {
        self.parts.clone()
    }
}

fn identity(settings: &Settings) -> Identity {
    Identity {
        node_id: settings.worker.node_id.as_str().into(),
        host: gethostname::gethostname().to_string_lossy().as_ref().into(),
    }
}
