// Upstream: cli::connect, run
// Downstream: actors::heartbeat, actors::supervisor, clickhouse::store, config::sections, kafka, kafka::feed, kafka::outbox, kafka::probe, mysql::stock_info, probe, redis::heartbeat, sources
// Role: Builds every adapter from the configuration and hands it out as a port; nothing else constructs one.

use std::sync::Arc;

use actors::heartbeat::Identity;
use actors::supervisor::WorkerParts;
use futures_util::FutureExt;

use crate::clickhouse::ClickHouseBars;
use crate::config::{Settings, SourceName};
use crate::kafka::{self, KafkaFeed, KafkaOutbox};
use crate::mysql::MySqlInstruments;
use crate::probe::Probe;
use crate::redis::RedisHeartbeats;
use crate::sources;

/// The services of one worker.
pub struct ServiceHub {
    parts: WorkerParts,
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
        let identity = Identity {
            node_id: settings.worker.node_id.as_str().into(),
            host: gethostname::gethostname().to_string_lossy().as_ref().into(),
        };
        let node_id = &settings.worker.node_id;
        let source = sources::build(&settings.sources).map_err(ServiceError::of("market source"))?;
        let outbox = KafkaOutbox::new(&settings.kafka, node_id).map_err(ServiceError::of("Kafka producer"))?;
        let heartbeats = RedisHeartbeats::new(&settings.redis, node_id).map_err(ServiceError::of("Redis client"))?;
        let parts = WorkerParts {
            identity,
            feed: Arc::new(KafkaFeed::new(&settings.kafka, node_id)),
            source,
            store: Arc::new(ClickHouseBars::new(&settings.clickhouse)),
            instruments: Arc::new(MySqlInstruments::new(&settings.mysql)),
            heartbeats: Arc::new(heartbeats),
            outbox: Arc::new(outbox),
        };
        Ok(Self { parts })
    }

    /// A probe of every server the settings name, in the order of the settings.
    pub fn probes(settings: &Settings) -> Vec<Probe> {
        let Settings { kafka, redis, clickhouse, mysql, sources, worker, .. } = settings.clone();
        let at = |kind: &str, host: &str, port: u16| format!("{kind} {host}:{port}");
        let source = match sources.bars {
            SourceName::Tushare => format!("Tushare {}", sources.tushare.url),
            SourceName::Files => format!("files in {}", sources.files.folder.display()),
        };
        let probe = |target, run| Probe { target, run };
        vec![
            probe(at("Kafka", &kafka.host, kafka.port), async move { kafka::probe::probe(&kafka).await }.boxed()),
            probe(
                at("Redis", &redis.host, redis.port),
                async move {
                    let heartbeats = RedisHeartbeats::new(&redis, &worker.node_id).map_err(|error| error.reason)?;
                    heartbeats.probe().await
                }
                .boxed(),
            ),
            probe(
                at("ClickHouse", &clickhouse.host, clickhouse.port),
                async move { ClickHouseBars::new(&clickhouse).probe().await.map_err(|error| error.reason) }.boxed(),
            ),
            probe(
                at("MySQL", &mysql.host, mysql.port),
                async move { MySqlInstruments::new(&mysql).probe().await }.boxed(),
            ),
            probe(source, async move { sources::probe(&sources).await }.boxed()),
        ]
    }

    /// All ports together, as the supervisor takes them.
    pub fn parts(&self) -> WorkerParts {
        self.parts.clone()
    }
}
