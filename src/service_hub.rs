// Upstream: backfill, cli::connect, cli::gaps, cli::quality, reload, run, standalone, standalone::demonstration, standalone::error
// Downstream: actors::domain::code, actors::fact_cache, actors::heartbeat, actors::ports, actors::ports::market_source, actors::ports::report_store, actors::ports::tick_store, actors::supervisor, clickhouse::bars, clickhouse::factors, clickhouse::reports, clickhouse::stored_days, clickhouse::ticks, config::load, config::sections, http::store_check, kafka, kafka::feed, kafka::orders, kafka::outbox, kafka::probe, memory_heartbeats, mysql::store, probe, redis::heartbeat, reload, sources, sources::budget, sqlite::store, switch, telemetry
// Role: Builds every adapter from the configuration and hands it out as a port; nothing else constructs one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::Code;
use actors::fact_cache::FactCache;
use actors::heartbeat::Identity;
use actors::ports::{
    BarStore, CommandFeed, FactorStore, HeartbeatStore, MarketSources, OrderFeed, Outbox, ReferenceStore, ReportStore,
    StoreError, TickStore,
};
use actors::supervisor::WorkerParts;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::clickhouse::{ClickHouseBars, ClickHouseDays, ClickHouseFactors, ClickHouseReports, ClickHouseTicks};
use crate::config::{Loaded, Settings};
use crate::http::StoreQuestion;
use crate::kafka::{self, KafkaFeed, KafkaOrders, KafkaOutbox};
use crate::memory_heartbeats::MemoryHeartbeats;
use crate::mysql::MySqlReference;
use crate::probe::Probe;
use crate::redis::RedisHeartbeats;
use crate::reload::{ConfigPlace, ConfigReader, NothingToReload};
use crate::sources::budget::Ledger;
use crate::sources::{self, ConfiguredSources};
use crate::sqlite::SqliteStore;
use crate::switch::Switch;
use crate::telemetry::Telemetry;

/// The longest a reload waits for a server whose settings changed.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);

/// The services of one worker.
pub struct ServiceHub {
    parts: WorkerParts,
    store_question: StoreQuestion,
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
    /// Builds all adapters of the worker that this configuration describes. None of them connects yet: a server that is
    /// not there is waited for later.
    pub fn build(loaded: &Loaded, place: ConfigPlace, telemetry: Telemetry) -> Result<Self, ServiceError> {
        let settings = &loaded.settings;
        let node_id = &settings.worker.node_id;
        let outbox = KafkaOutbox::new(&settings.kafka, node_id).map_err(ServiceError::of("Kafka producer"))?;
        let services = Services::build(settings)?;
        let config = Arc::new(ConfigReader::new(place, loaded.clone(), services.clone(), telemetry));
        let parts = WorkerParts {
            identity: identity(settings),
            feed: Arc::new(KafkaFeed::new(&settings.kafka, node_id)),
            orders: Arc::new(KafkaOrders::new(&settings.kafka, node_id)),
            sources: services.sources.clone(),
            store: services.store.clone(),
            factors: services.factors.clone(),
            ticks: services.ticks.clone(),
            reference: services.reference.clone(),
            reports: services.reports.clone(),
            heartbeats: services.heartbeats.clone(),
            outbox: Arc::new(outbox),
            config: config.clone(),
        };
        let store_question = Arc::new(move || ask_store(&config.settings()));
        Ok(Self { parts, store_question })
    }

    /// Builds the adapters of a worker that gets its commands elsewhere than from Kafka, and that nobody looks for.
    pub fn without_kafka(
        settings: &Settings,
        feed: Arc<dyn CommandFeed>,
        orders: Arc<dyn OrderFeed>,
        outbox: Arc<dyn Outbox>,
    ) -> Result<WorkerParts, ServiceError> {
        let services = Services::build(settings)?;
        Ok(WorkerParts {
            identity: identity(settings),
            feed,
            orders,
            sources: services.sources.clone(),
            store: services.store.clone(),
            factors: services.factors.clone(),
            ticks: services.ticks.clone(),
            reference: services.reference.clone(),
            reports: services.reports.clone(),
            heartbeats: Arc::new(MemoryHeartbeats::default()),
            outbox,
            config: nothing_to_reload(settings),
        })
    }

    /// Where quality reports are kept, to be read.
    pub fn reports(settings: &Settings) -> Arc<dyn ReportStore> {
        Arc::new(ClickHouseReports::new(&settings.clickhouse))
    }

    /// How many bars are stored of each day, to be read.
    pub fn stored_days(settings: &Settings) -> ClickHouseDays {
        ClickHouseDays::new(&settings.clickhouse)
    }

    /// All codes of the stock list.
    pub async fn listed_codes(settings: &Settings) -> Result<Vec<Code>, StoreError> {
        MySqlReference::new(&settings.mysql).listed_codes().await
    }

    /// What is known of securities and days, for a program that is no worker: from MySQL, else what is built in.
    pub fn market_facts(settings: &Settings) -> FactCache {
        FactCache::new(Arc::new(MySqlReference::new(&settings.mysql)))
    }

    /// The configured sources, for a program that is no worker.
    pub fn market_sources(settings: &Settings) -> Result<Arc<dyn MarketSources>, ServiceError> {
        Self::sources(settings, &Ledger::default())
    }

    fn sources(settings: &Settings, ledger: &Ledger) -> Result<Arc<dyn MarketSources>, ServiceError> {
        let sources =
            ConfiguredSources::build(&settings.sources, ledger).map_err(ServiceError::of("market sources"))?;
        Ok(Arc::new(sources))
    }

    /// Builds the adapters of a worker whose bars, stock list and heartbeats stay with itself: `database` is an SQLite
    /// file, which is created where it is missing. The settings of the servers it replaces are not looked at.
    pub async fn embedded(settings: &Settings, database: &Path) -> Result<EmbeddedServices, ServiceError> {
        let node_id = &settings.worker.node_id;
        let sources = Self::market_sources(settings)?;
        let outbox = KafkaOutbox::new(&settings.kafka, node_id).map_err(ServiceError::of("Kafka producer"))?;
        let store = Arc::new(SqliteStore::open(database).await.map_err(ServiceError::of("database"))?);
        let heartbeats = Arc::new(MemoryHeartbeats::default());
        let parts = WorkerParts {
            identity: identity(settings),
            feed: Arc::new(KafkaFeed::new(&settings.kafka, node_id)),
            orders: Arc::new(KafkaOrders::new(&settings.kafka, node_id)),
            config: nothing_to_reload(settings),
            sources,
            store: store.clone(),
            factors: store.clone(),
            ticks: store.clone(),
            reference: store.clone(),
            reports: store.clone(),
            heartbeats: heartbeats.clone(),
            outbox: Arc::new(outbox),
        };
        let store_question: StoreQuestion = Arc::new(|| std::future::ready(Ok(())).boxed());
        Ok(EmbeddedServices { hub: Self { parts, store_question }, store, heartbeats })
    }

    /// A probe of every server the settings name, in the order of the settings.
    pub fn probes(settings: &Settings) -> Vec<Probe> {
        let Settings { kafka, redis, clickhouse, mysql, sources, worker, .. } = settings.clone();
        let at = |kind: &str, host: &str, port: u16| format!("{kind} {host}:{port}");
        let probe = |target, run| Probe { target, run };
        let servers = vec![
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
                async move { MySqlReference::new(&mysql).probe().await }.boxed(),
            ),
        ];
        let sources = sources.required().into_iter().map(|name| {
            let section = sources.clone();
            probe(sources::place(&section, name), async move { sources::probe(&section, name).await }.boxed())
        });
        servers.into_iter().chain(sources).collect()
    }

    /// Asks whether the store in force answers.
    pub fn store_question(&self) -> StoreQuestion {
        self.store_question.clone()
    }

    /// All ports together, as the supervisor takes them.
    pub fn parts(&self) -> WorkerParts {
        self.parts.clone()
    }
}

/// The services of a running worker that a reload may exchange.
#[derive(Clone)]
pub struct Services {
    store: Arc<Switch<dyn BarStore>>,
    factors: Arc<Switch<dyn FactorStore>>,
    ticks: Arc<Switch<dyn TickStore>>,
    sources: Arc<Switch<dyn MarketSources>>,
    /// What vendors were asked for so far; the sources that are exchanged go on by it.
    ledger: Arc<Ledger>,
    reference: Arc<Switch<dyn ReferenceStore>>,
    reports: Arc<Switch<dyn ReportStore>>,
    heartbeats: Arc<Switch<dyn HeartbeatStore>>,
}

impl Services {
    fn build(settings: &Settings) -> Result<Self, ServiceError> {
        let ledger = Arc::new(Ledger::default());
        let sources = ServiceHub::sources(settings, &ledger)?;
        let heartbeats = RedisHeartbeats::new(&settings.redis, &settings.worker.node_id);
        let heartbeats = heartbeats.map_err(ServiceError::of("Redis client"))?;
        Ok(Self {
            store: Switch::new(Arc::new(ClickHouseBars::new(&settings.clickhouse))),
            factors: Switch::new(Arc::new(ClickHouseFactors::new(&settings.clickhouse))),
            ticks: Switch::new(Arc::new(ClickHouseTicks::new(&settings.clickhouse))),
            sources: Switch::new(sources),
            ledger,
            reference: Switch::new(Arc::new(MySqlReference::new(&settings.mysql))),
            reports: Switch::new(Arc::new(ClickHouseReports::new(&settings.clickhouse))),
            heartbeats: Switch::new(Arc::new(heartbeats)),
        })
    }

    /// Builds anew what these changed settings concern, and tries its connections. The error holds every reason why one
    /// cannot be put in force.
    pub async fn rebuild(&self, settings: &Settings, changed: &[String]) -> Result<Exchange, Vec<String>> {
        let touched = |section: &str| {
            changed.iter().any(|path| path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
        };
        let store = tried(touched("clickhouse"), "clickhouse", async {
            let store = ClickHouseBars::new(&settings.clickhouse);
            store.prepare().await.map_err(|error| error.to_string())?;
            Ok(Arc::new(store) as Arc<dyn BarStore>)
        });
        let factors = tried(touched("clickhouse"), "clickhouse", async {
            let factors = ClickHouseFactors::new(&settings.clickhouse);
            factors.prepare().await.map_err(|error| error.to_string())?;
            Ok(Arc::new(factors) as Arc<dyn FactorStore>)
        });
        let sources = tried(touched("sources"), "sources", async {
            let sources = ConfiguredSources::build(&settings.sources, &self.ledger);
            let sources = sources.map_err(|error| error.to_string())?;
            let probes = settings.sources.required().into_iter().map(|name| sources::probe(&settings.sources, name));
            futures_util::future::try_join_all(probes).await?;
            Ok(Arc::new(sources) as Arc<dyn MarketSources>)
        });
        let reference = tried(touched("mysql"), "mysql", async {
            let reference = MySqlReference::new(&settings.mysql);
            reference.probe().await.map(|_| Arc::new(reference) as Arc<dyn ReferenceStore>)
        });
        let heartbeats = tried(touched("redis"), "redis", async {
            let heartbeats = RedisHeartbeats::new(&settings.redis, &settings.worker.node_id);
            let heartbeats = heartbeats.map_err(|error| error.to_string())?;
            heartbeats.probe().await.map(|_| Arc::new(heartbeats) as Arc<dyn HeartbeatStore>)
        });
        match tokio::join!(store, factors, sources, reference, heartbeats) {
            (Ok(store), Ok(factors), Ok(sources), Ok(reference), Ok(heartbeats)) => {
                // Tables of ticks and of reports are checked when they are used; the two above tried the server.
                let ticks = touched("clickhouse")
                    .then(|| Arc::new(ClickHouseTicks::new(&settings.clickhouse)) as Arc<dyn TickStore>);
                let reports = touched("clickhouse").then(|| ServiceHub::reports(settings));
                Ok(Exchange { services: self.clone(), store, factors, ticks, reports, sources, reference, heartbeats })
            }
            (store, factors, sources, reference, heartbeats) => {
                let reasons = [store.err(), factors.err(), sources.err(), reference.err(), heartbeats.err()];
                Err(reasons.into_iter().flatten().collect())
            }
        }
    }
}

/// Builds and tries one service, if it is wanted.
async fn tried<T: ?Sized>(
    wanted: bool,
    section: &str,
    building: impl Future<Output = Result<Arc<T>, String>>,
) -> Result<Option<Arc<T>>, String> {
    if !wanted {
        return Ok(None);
    }
    let built = tokio::time::timeout(CONNECTION_DEADLINE, building).await;
    let built = built.unwrap_or_else(|_| Err(format!("no answer within {CONNECTION_DEADLINE:?}")));
    built.map(Some).map_err(|reason| format!("{section}: {reason}"))
}

/// Services that were built and tried, and are not in force yet.
pub struct Exchange {
    services: Services,
    store: Option<Arc<dyn BarStore>>,
    factors: Option<Arc<dyn FactorStore>>,
    ticks: Option<Arc<dyn TickStore>>,
    reports: Option<Arc<dyn ReportStore>>,
    sources: Option<Arc<dyn MarketSources>>,
    reference: Option<Arc<dyn ReferenceStore>>,
    heartbeats: Option<Arc<dyn HeartbeatStore>>,
}

impl Exchange {
    /// Puts them in force.
    pub fn install(self) {
        let Self { services, store, factors, ticks, reports, sources, reference, heartbeats } = self;
        if let Some(store) = store {
            services.store.exchange(store);
        }
        if let Some(factors) = factors {
            services.factors.exchange(factors);
        }
        if let Some(ticks) = ticks {
            services.ticks.exchange(ticks);
        }
        if let Some(reports) = reports {
            services.reports.exchange(reports);
        }
        if let Some(sources) = sources {
            // In this order: what waits at the ones before asks anew, and must find these.
            services.sources.exchange(sources).retire();
        }
        if let Some(reference) = reference {
            services.reference.exchange(reference);
        }
        if let Some(heartbeats) = heartbeats {
            services.heartbeats.exchange(heartbeats);
        }
    }
}

/// Asks on a connection of its own: what is asked here must not wait behind a batch.
fn ask_store(settings: &Settings) -> BoxFuture<'static, Result<(), String>> {
    let store = ClickHouseBars::new(&settings.clickhouse);
    async move { store.probe().await.map(|_| ()).map_err(|error| error.reason) }.boxed()
}

fn nothing_to_reload(settings: &Settings) -> Arc<NothingToReload> {
    Arc::new(NothingToReload { drain_deadline: Duration::from_millis(settings.worker.drain_deadline_ms) })
}

fn identity(settings: &Settings) -> Identity {
    Identity {
        node_id: settings.worker.node_id.as_str().into(),
        host: gethostname::gethostname().to_string_lossy().as_ref().into(),
        http_address: None,
    }
}
