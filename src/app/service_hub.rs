// Upstream: backfill, cli, cli::coverage, run, standalone
// Downstream: many
// Role: Builds the adapters of a worker or a tool from the configuration and returns them as ports.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::{Code, Identity};
use actors::market_cache::facts::FactCache;
use actors::ports::{
    AlertStore, CommandFeed, MarketSources, MemoryAlerts, OrderFeed, Outbox, ReferenceStore, ReportStore, StoreError,
    StoreSet, Swappable,
};
use actors::supervisor::{Placement, WorkerParts};
use chrono::NaiveDate;
use futures_util::FutureExt;

use crate::adapters::clickhouse::report_days::ClickHouseReportDays;
use crate::adapters::clickhouse::reports::ClickHouseReports;
use crate::adapters::clickhouse::stored_days::ClickHouseDays;
use crate::adapters::clickhouse::stored_months::ClickHouseMonths;
use crate::adapters::kafka::clients::KafkaClients;
use crate::adapters::kafka::feed::KafkaFeed;
use crate::adapters::kafka::orders::KafkaOrders;
use crate::adapters::kafka::outbox::KafkaOutbox;
use crate::adapters::memory::MemoryHeartbeats;
use crate::adapters::mysql::store::MySqlReference;
use crate::adapters::probe::Probe;
use crate::adapters::redis::request_counts::Priority;
use crate::adapters::sqlite::store::SqliteStore;
use crate::app::config_reader::{ConfigPlace, ConfigReader, NothingToReload};
use crate::app::server_probes;
use crate::app::services::{ServiceError, Services, build_sources, build_tool_sources};
use crate::config::{Loaded, Settings};
use crate::observability::http::{Answers, StoreCheck, StoreQuestion};
use crate::observability::metrics::Exposition;
use crate::observability::telemetry::Telemetry;
use crate::observability::worker_view::WorkerView;
use crate::sources::shared::budget::QuotaState;

/// The adapters of one worker.
pub struct ServiceHub {
    parts: WorkerParts,
    store_question: StoreQuestion,
    settings: SettingsInForce,
}

/// Reads the settings in force.
type SettingsInForce = Arc<dyn Fn() -> Settings + Send + Sync>;

/// A question to the active store of the lists.
fn lists_question(reference: Arc<Swappable<dyn ReferenceStore>>) -> StoreQuestion {
    Arc::new(move || {
        let reference = reference.pin();
        async move {
            reference.check().await.map_err(|error| error.reason)?;
            reference.write_fault().map_or(Ok(()), Err)
        }
        .boxed()
    })
}

/// The adapters of a worker that needs no server except a Kafka broker.
pub struct EmbeddedServices {
    /// All adapters.
    pub hub: ServiceHub,
    /// The store of bars and stock list, to read from outside the worker.
    pub store: Arc<SqliteStore>,
    /// The store of the worker's heartbeat, to read from outside the worker.
    pub heartbeats: Arc<MemoryHeartbeats>,
}

impl ServiceHub {
    /// Builds all adapters of the configured worker. No adapter connects yet; the worker later waits for servers that
    /// are not available.
    pub fn build(loaded: &Loaded, place: ConfigPlace, telemetry: Telemetry) -> Result<Self, ServiceError> {
        let settings = &loaded.settings;
        let node_id = &settings.worker.node_id;
        let services = Services::build(settings, Priority::Worker)?;
        let kafka = services.kafka.clone();
        let outbox = KafkaOutbox::new(&kafka, node_id).map_err(ServiceError::of("Kafka producer"))?;
        let config = Arc::new(ConfigReader::new(place, loaded.clone(), services.clone(), telemetry));
        let orders = KafkaOrders::new(kafka.clone(), node_id);
        let parts = WorkerParts {
            identity: identity(settings),
            feed: Arc::new(KafkaFeed::new(kafka, node_id, orders.fault())),
            orders: Arc::new(orders),
            sources: services.sources.clone(),
            stores: services.stores.clone(),
            reference: services.reference.clone(),
            heartbeats: services.heartbeats.clone(),
            alerts: services.alerts.clone(),
            outbox: Arc::new(outbox),
            config: config.clone(),
            placement: Placement::OwnThreads,
        };
        let stores = services.stores.clone();
        let store_question: StoreQuestion = Arc::new(move || {
            let bars = stores.pin().bars.clone();
            async move { bars.ping().await.map_err(|error| error.reason) }.boxed()
        });
        let settings: SettingsInForce = Arc::new(move || config.settings());
        Ok(Self { parts, store_question, settings })
    }

    /// Builds the adapters of a worker that uses the given feed, orders and outbox instead of Kafka. Its heartbeat
    /// stays in memory.
    pub fn without_kafka(
        settings: &Settings,
        feed: Arc<dyn CommandFeed>,
        orders: Arc<dyn OrderFeed>,
        outbox: Arc<dyn Outbox>,
    ) -> Result<WorkerParts, ServiceError> {
        let services = Services::build(settings, Priority::Background)?;
        Ok(WorkerParts {
            identity: identity(settings),
            feed,
            orders,
            sources: services.sources.clone(),
            stores: services.stores.clone(),
            reference: services.reference.clone(),
            heartbeats: Swappable::new(Arc::new(MemoryHeartbeats::default())),
            alerts: lone_alerts(),
            outbox,
            config: nothing_to_reload(settings),
            placement: Placement::OwnThreads,
        })
    }

    /// The store of quality reports, for reading.
    pub fn reports(settings: &Settings) -> Arc<dyn ReportStore> {
        Arc::new(ClickHouseReports::new(&settings.clickhouse))
    }

    /// The numbers of stored bars per day, for reading.
    pub fn stored_days(settings: &Settings) -> ClickHouseDays {
        ClickHouseDays::new(&settings.clickhouse)
    }

    /// The stored days of each month, for reading.
    pub fn stored_months(settings: &Settings) -> ClickHouseMonths {
        ClickHouseMonths::new(&settings.clickhouse)
    }

    /// The figures of the quality reports by day, for reading.
    pub fn report_days(settings: &Settings) -> ClickHouseReportDays {
        ClickHouseReportDays::new(&settings.clickhouse)
    }

    /// The codes that were listed after `since`.
    pub async fn listed_codes(settings: &Settings, since: NaiveDate) -> Result<Vec<Code>, StoreError> {
        MySqlReference::new(&settings.mysql).listed_codes(since).await
    }

    /// Listings and trading calendar for a command-line tool, read from MySQL. Without MySQL, the built-in calendar.
    pub fn market_facts(settings: &Settings) -> FactCache {
        FactCache::new(Swappable::new(Arc::new(MySqlReference::new(&settings.mysql))), Arc::default())
    }

    /// The configured sources, for a command-line tool.
    pub fn market_sources(settings: &Settings) -> Result<Arc<dyn MarketSources>, ServiceError> {
        build_tool_sources(settings)
    }

    /// Builds the adapters of a worker that stores its data and the stock list in the SQLite file `database`, and its
    /// heartbeat in memory. The file is created if it does not exist. The settings of ClickHouse, MySQL and Redis are
    /// ignored.
    pub async fn embedded(settings: &Settings, database: &Path) -> Result<EmbeddedServices, ServiceError> {
        let node_id = &settings.worker.node_id;
        // Without Redis there are no common counts.
        let sources = build_sources(settings, &QuotaState::default())?;
        let kafka = KafkaClients::new(&settings.kafka);
        let outbox = KafkaOutbox::new(&kafka, node_id).map_err(ServiceError::of("Kafka producer"))?;
        let store = Arc::new(SqliteStore::open(database).await.map_err(ServiceError::of("database"))?);
        let heartbeats = Arc::new(MemoryHeartbeats::default());
        let orders = KafkaOrders::new(kafka.clone(), node_id);
        let parts = WorkerParts {
            identity: identity(settings),
            feed: Arc::new(KafkaFeed::new(kafka, node_id, orders.fault())),
            orders: Arc::new(orders),
            config: nothing_to_reload(settings),
            sources: Swappable::new(sources),
            stores: Swappable::new(Arc::new(StoreSet {
                bars: store.clone(),
                factors: store.clone(),
                ticks: store.clone(),
                reports: store.clone(),
            })),
            reference: Swappable::new(store.clone()),
            heartbeats: Swappable::new(heartbeats.clone()),
            alerts: lone_alerts(),
            outbox: Arc::new(outbox),
            placement: Placement::OwnThreads,
        };
        let store_question: StoreQuestion = Arc::new(|| std::future::ready(Ok(())).boxed());
        let fixed = settings.clone();
        let settings: SettingsInForce = Arc::new(move || fixed.clone());
        Ok(EmbeddedServices { hub: Self { parts, store_question, settings }, store, heartbeats })
    }

    /// A probe of each configured server, in the order of the settings.
    pub fn probes(settings: &Settings) -> Vec<Probe> {
        server_probes::probes(settings)
    }

    /// The HTTP answers of the worker, with checks of its active stores.
    pub fn answers(&self, view: WorkerView, page: Exposition) -> Answers {
        let lists = lists_question(self.parts.reference.clone());
        Answers::new(view, page, StoreCheck::new(self.store_question.clone()), StoreCheck::new(lists))
    }

    /// Reads the settings in force, which a reload changes.
    pub fn settings(&self) -> impl Fn() -> Settings + Send + 'static {
        let settings = self.settings.clone();
        move || settings()
    }

    /// All ports of the worker, for the Supervisor.
    pub fn parts(&self) -> WorkerParts {
        self.parts.clone()
    }
}

/// The states of alerts of a worker that has no group.
fn lone_alerts() -> Arc<Swappable<dyn AlertStore>> {
    Swappable::new(Arc::new(MemoryAlerts::default()))
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
