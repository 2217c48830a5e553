// Upstream: config_reader, run, service_hub, standalone
// Downstream: many
// Role: Builds the adapters that a reload may exchange, and exchanges them.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::random_id::random_uuid;
use actors::ports::{AlertStore, HeartbeatStore, MarketSources, ReferenceStore, StoreSet, Swappable};

use crate::adapters::clickhouse::bars::ClickHouseBars;
use crate::adapters::clickhouse::factors::ClickHouseFactors;
use crate::adapters::clickhouse::reports::ClickHouseReports;
use crate::adapters::clickhouse::ticks::ClickHouseTicks;
use crate::adapters::kafka::clients::KafkaClients;
use crate::adapters::kafka::probe::try_login;
use crate::adapters::mysql::store::MySqlReference;
use crate::adapters::redis::alerts::RedisAlerts;
use crate::adapters::redis::heartbeat::RedisHeartbeats;
use crate::adapters::redis::request_counts::{Priority, RequestCounts};
use crate::app::source_change::concerned;
use crate::config::{KafkaSaslSection, Settings, SourcesSection};
use crate::sources::shared::budget::QuotaState;
use crate::sources::{self, ConfiguredSources};

/// Maximum time that a reload waits for a server whose settings changed.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(10);

/// An adapter that cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
#[error("{part} cannot be set up: {reason}")]
pub struct ServiceError {
    /// The name of the adapter.
    pub part: &'static str,
    /// The reason.
    pub reason: String,
}

impl ServiceError {
    pub(super) fn of<E: std::fmt::Display>(part: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self { part, reason: error.to_string() }
    }
}

/// The backends of a running worker that a reload may exchange.
#[derive(Clone)]
pub struct Services {
    pub(super) stores: Arc<Swappable<StoreSet>>,
    pub(super) sources: Arc<Swappable<dyn MarketSources>>,
    /// Request counts of vendors. New sources continue from these counts.
    quotas: Arc<QuotaState>,
    /// The name of this process in the common counts of requests.
    member: Arc<str>,
    priority: Priority,
    pub(super) reference: Arc<Swappable<dyn ReferenceStore>>,
    pub(super) heartbeats: Arc<Swappable<dyn HeartbeatStore>>,
    pub(super) alerts: Arc<Swappable<dyn AlertStore>>,
    /// The clients stay; a reload gives them a new login.
    pub(super) kafka: Arc<KafkaClients>,
}

impl Services {
    /// Builds all backends. Their requests to vendors are counted together with those of other workers; `priority` says
    /// whose come first.
    pub(super) fn build(settings: &Settings, priority: Priority) -> Result<Self, ServiceError> {
        let quotas = Arc::new(QuotaState::default());
        let member = member_of_counts(settings);
        quotas.share(RequestCounts::new(&settings.redis, &member, priority));
        let sources = build_sources(settings, &quotas)?;
        let heartbeats = RedisHeartbeats::new(&settings.redis, &settings.worker.node_id);
        Ok(Self {
            stores: Swappable::new(Arc::new(build_stores(settings))),
            sources: Swappable::new(sources),
            quotas,
            member,
            priority,
            reference: Swappable::new(Arc::new(MySqlReference::new(&settings.mysql))),
            heartbeats: Swappable::new(Arc::new(heartbeats)),
            alerts: Swappable::new(Arc::new(RedisAlerts::new(&settings.redis, &settings.kafka.group_id))),
            kafka: KafkaClients::new(&settings.kafka),
        })
    }

    /// Builds the backends that the changed settings affect and probes their connections. The error contains the
    /// reasons of all failed backends.
    pub async fn rebuild(
        &self,
        before: &Settings,
        settings: &Settings,
        changed: &[String],
    ) -> Result<Exchange, Vec<String>> {
        let is_changed = |section: &str| {
            changed.iter().any(|path| path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
        };
        // Only the tables of bars and factors are checked here. The tables of ticks and reports are checked at their
        // first use.
        let stores = probed(is_changed("clickhouse"), "clickhouse", async {
            let stores = build_stores(settings);
            stores.bars.prepare().await.map_err(|error| error.to_string())?;
            stores.factors.prepare().await.map_err(|error| error.to_string())?;
            Ok(Arc::new(stores))
        });
        let sources = async {
            if !is_changed("sources") {
                return Ok(None);
            }
            let sources = self.rebuild_sources(&before.sources, &settings.sources, changed).await;
            sources.map(Some).map_err(|reason| format!("sources: {reason}"))
        };
        let reference = probed(is_changed("mysql"), "mysql", async {
            let reference = MySqlReference::new(&settings.mysql);
            reference.probe().await.map(|_| Arc::new(reference) as Arc<dyn ReferenceStore>)
        });
        let heartbeats = probed(is_changed("redis"), "redis", async {
            let heartbeats = RedisHeartbeats::new(&settings.redis, &settings.worker.node_id);
            heartbeats.probe().await.map(|_| Arc::new(heartbeats) as Arc<dyn HeartbeatStore>)
        });
        // All other settings of Kafka need a restart.
        let has_login = settings.kafka.security.protocol.has_login();
        let login = probed(is_changed("kafka") && has_login, "kafka", async {
            try_login(&settings.kafka, CONNECTION_DEADLINE).await.map(|()| Arc::new(settings.kafka.sasl.clone()))
        });
        match tokio::join!(stores, sources, reference, heartbeats, login) {
            (Ok(stores), Ok(sources), Ok(reference), Ok(heartbeats), Ok(login)) => {
                // Counts in another Redis are others, and the members must be known there.
                let counts = || RequestCounts::new(&settings.redis, &self.member, self.priority);
                let counts = heartbeats.is_some().then(counts);
                let alerts =
                    || Arc::new(RedisAlerts::new(&settings.redis, &settings.kafka.group_id)) as Arc<dyn AlertStore>;
                let alerts = heartbeats.is_some().then(alerts);
                let services = self.clone();
                Ok(Exchange { services, stores, sources, reference, heartbeats, alerts, counts, login })
            }
            (stores, sources, reference, heartbeats, login) => {
                let reasons = [stores.err(), sources.err(), reference.err(), heartbeats.err(), login.err()];
                Err(reasons.into_iter().flatten().collect())
            }
        }
    }

    /// Builds all sources and tries those that the change concerns. Only a source that the configuration prefers must
    /// answer.
    async fn rebuild_sources(
        &self,
        before: &SourcesSection,
        after: &SourcesSection,
        changed: &[String],
    ) -> Result<Arc<dyn MarketSources>, String> {
        let built = ConfiguredSources::build(after, &self.quotas).map_err(|error| error.to_string())?;
        let probes = concerned(before, after, changed).into_iter().map(|source| async move {
            let answer = tokio::time::timeout(CONNECTION_DEADLINE, sources::probe(after, source.name)).await;
            (source, answer.unwrap_or_else(|_| Err(format!("no answer within {CONNECTION_DEADLINE:?}"))))
        });
        let mut refusals = Vec::new();
        for (source, answer) in futures_util::future::join_all(probes).await {
            let Err(reason) = answer else { continue };
            // Not every reason names its source.
            let name = format!("source {}: ", source.name.as_str());
            let reason = format!("{name}{}", reason.trim_start_matches(&name));
            if source.must_answer {
                refusals.push(reason);
            } else {
                tracing::warn!(reason, "a further source does not answer; the configuration is applied without it");
            }
        }
        if refusals.is_empty() { Ok(Arc::new(built)) } else { Err(refusals.join("; ")) }
    }
}

/// The stores of the configured ClickHouse. They do not connect yet.
fn build_stores(settings: &Settings) -> StoreSet {
    let section = &settings.clickhouse;
    StoreSet {
        bars: Arc::new(ClickHouseBars::new(section)),
        factors: Arc::new(ClickHouseFactors::new(section)),
        ticks: Arc::new(ClickHouseTicks::new(section)),
        reports: Arc::new(ClickHouseReports::new(section)),
    }
}

/// The name of this process in the common counts of requests. Two processes may have the same `worker.node_id`.
fn member_of_counts(settings: &Settings) -> Arc<str> {
    format!("{}-{}", settings.worker.node_id, random_uuid().simple()).into()
}

/// The configured sources of a command-line tool. Its requests are counted together with those of the workers, which
/// come first.
pub(super) fn build_tool_sources(settings: &Settings) -> Result<Arc<dyn MarketSources>, ServiceError> {
    let quotas = QuotaState::default();
    quotas.share(RequestCounts::new(&settings.redis, &member_of_counts(settings), Priority::Background));
    build_sources(settings, &quotas)
}

/// The configured sources. `quotas` contains the request counts so far.
pub(super) fn build_sources(settings: &Settings, quotas: &QuotaState) -> Result<Arc<dyn MarketSources>, ServiceError> {
    let sources = ConfiguredSources::build(&settings.sources, quotas).map_err(ServiceError::of("market sources"))?;
    Ok(Arc::new(sources))
}

/// Builds and probes one backend, if `wanted`.
async fn probed<T: ?Sized>(
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

/// Backends that were built and probed, but are not active yet.
pub struct Exchange {
    services: Services,
    stores: Option<Arc<StoreSet>>,
    sources: Option<Arc<dyn MarketSources>>,
    reference: Option<Arc<dyn ReferenceStore>>,
    heartbeats: Option<Arc<dyn HeartbeatStore>>,
    alerts: Option<Arc<dyn AlertStore>>,
    counts: Option<Arc<RequestCounts>>,
    login: Option<Arc<KafkaSaslSection>>,
}

impl Exchange {
    /// Makes the new backends active.
    pub fn install(self) {
        let Self { services, stores, sources, reference, heartbeats, alerts, counts, login } = self;
        if let Some(counts) = counts {
            services.quotas.share(counts);
        }
        if let Some(stores) = stores {
            services.stores.exchange(stores);
        }
        if let Some(sources) = sources {
            // The old sources are retired after the exchange, so that their waiting requests find the new sources.
            services.sources.exchange(sources).retire();
        }
        if let Some(reference) = reference {
            services.reference.exchange(reference);
        }
        if let Some(heartbeats) = heartbeats {
            services.heartbeats.exchange(heartbeats);
        }
        if let Some(alerts) = alerts {
            services.alerts.exchange(alerts);
        }
        if let Some(login) = login {
            services.kafka.set_login(&login);
        }
    }
}
