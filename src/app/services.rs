// Upstream: config_reader, run, service_hub, standalone
// Downstream: many
// Role: The adapters of a running worker that a reload may exchange.

use std::sync::Arc;
use std::time::Duration;

use actors::ports::{BarStore, FactorStore, HeartbeatStore, MarketSources, ReferenceStore, ReportStore, TickStore};

use crate::adapters::clickhouse::bars::ClickHouseBars;
use crate::adapters::clickhouse::factors::ClickHouseFactors;
use crate::adapters::clickhouse::reports::ClickHouseReports;
use crate::adapters::clickhouse::ticks::ClickHouseTicks;
use crate::adapters::mysql::store::MySqlReference;
use crate::adapters::redis::heartbeat::RedisHeartbeats;
use crate::app::swappable::Switch;
use crate::config::Settings;
use crate::sources::registry;
use crate::sources::registry::ConfiguredSources;
use crate::sources::shared::budget::QuotaState;

/// The longest a reload waits for a server whose settings changed.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);

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
    pub(super) fn of<E: std::fmt::Display>(part: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { part, reason: error.to_string() }
    }
}

/// The services of a running worker that a reload may exchange.
#[derive(Clone)]
pub struct Services {
    pub(super) store: Arc<Switch<dyn BarStore>>,
    pub(super) factors: Arc<Switch<dyn FactorStore>>,
    pub(super) ticks: Arc<Switch<dyn TickStore>>,
    pub(super) sources: Arc<Switch<dyn MarketSources>>,
    /// What vendors were asked for so far; the sources that are exchanged go on by it.
    quotas: Arc<QuotaState>,
    pub(super) reference: Arc<Switch<dyn ReferenceStore>>,
    pub(super) reports: Arc<Switch<dyn ReportStore>>,
    pub(super) heartbeats: Arc<Switch<dyn HeartbeatStore>>,
}

impl Services {
    pub(super) fn build(settings: &Settings) -> Result<Self, ServiceError> {
        let quotas = Arc::new(QuotaState::default());
        let sources = build_sources(settings, &quotas)?;
        let heartbeats = RedisHeartbeats::new(&settings.redis, &settings.worker.node_id);
        let heartbeats = heartbeats.map_err(ServiceError::of("Redis client"))?;
        Ok(Self {
            store: Switch::new(Arc::new(ClickHouseBars::new(&settings.clickhouse))),
            factors: Switch::new(Arc::new(ClickHouseFactors::new(&settings.clickhouse))),
            ticks: Switch::new(Arc::new(ClickHouseTicks::new(&settings.clickhouse))),
            sources: Switch::new(sources),
            quotas,
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
            let sources = ConfiguredSources::build(&settings.sources, &self.quotas);
            let sources = sources.map_err(|error| error.to_string())?;
            let probes = settings.sources.required().into_iter().map(|name| registry::probe(&settings.sources, name));
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
                let reports = touched("clickhouse")
                    .then(|| Arc::new(ClickHouseReports::new(&settings.clickhouse)) as Arc<dyn ReportStore>);
                Ok(Exchange { services: self.clone(), store, factors, ticks, reports, sources, reference, heartbeats })
            }
            (store, factors, sources, reference, heartbeats) => {
                let reasons = [store.err(), factors.err(), sources.err(), reference.err(), heartbeats.err()];
                Err(reasons.into_iter().flatten().collect())
            }
        }
    }
}

/// The configured sources; `quotas` holds what vendors were already asked for.
pub(super) fn build_sources(settings: &Settings, quotas: &QuotaState) -> Result<Arc<dyn MarketSources>, ServiceError> {
    let sources = ConfiguredSources::build(&settings.sources, quotas).map_err(ServiceError::of("market sources"))?;
    Ok(Arc::new(sources))
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
