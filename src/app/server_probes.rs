// Upstream: service_hub
// Downstream: many
// Role: Builds the connection test of each configured server, with what it presents by TLS.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join};

use crate::adapters::clickhouse::probe as clickhouse_probe;
use crate::adapters::kafka;
use crate::adapters::mysql::store::MySqlReference;
use crate::adapters::probe::{Answer, Probe};
use crate::adapters::redis::heartbeat::RedisHeartbeats;
use crate::adapters::tls::inspect::{Begin, Inspection};
use crate::app::tls_places::TlsPlace;
use crate::config::{
    ClickHouseSection, KafkaSection, MySqlSection, RedisSection, Settings, SourceName, SourcesSection,
};
use crate::sources;

type Asking = BoxFuture<'static, Result<Answer, String>>;

/// How a server is reached: the addresses, TLS and the login.
struct Access {
    place: TlsPlace,
    /// What to set if the server uses TLS and the settings do not.
    switch: Option<&'static str>,
    login: Option<String>,
}

/// Time after which a silent server without TLS in the settings is asked whether it uses TLS.
const PATIENCE: Duration = Duration::from_secs(1);

/// A probe of each configured server, in the order of the settings.
pub fn probes(settings: &Settings) -> Vec<Probe> {
    let Settings { kafka, redis, clickhouse, mysql, sources, worker, .. } = settings;
    let mut probes = vec![
        Probe { target: format!("Kafka {}", kafka.address()), run: of_kafka(kafka.clone()) },
        Probe { target: redis_name(redis), run: of_redis(redis.clone(), worker.node_id.clone()) },
    ];
    // Each host by itself: the worker would not notice one that is wrong before it needs it.
    probes.extend(
        each_host(clickhouse)
            .into_iter()
            .map(|section| Probe { target: format!("ClickHouse {}", section.address()), run: of_clickhouse(section) }),
    );
    probes.push(Probe { target: format!("MySQL {}:{}", mysql.host, mysql.port), run: of_mysql(mysql.clone()) });
    let sources = sources
        .required()
        .into_iter()
        .map(|name| Probe { target: sources.place(name), run: of_source(sources.clone(), name) });
    probes.extend(sources);
    probes
}

fn of_kafka(section: KafkaSection) -> Asking {
    let protocol = section.security.protocol;
    let login =
        protocol.has_login().then(|| format!("login as {} by {}", section.sasl.user, section.sasl.mechanism.as_str()));
    let access = Access {
        place: TlsPlace::of_kafka(&section),
        switch: Some("kafka.security.protocol to ssl or sasl_ssl"),
        login,
    };
    async move { with_access(kafka::probe::probe(&section), access).await }.boxed()
}

fn redis_name(section: &RedisSection) -> String {
    match section.sentinel.master.as_str() {
        "" => format!("Redis {}:{}", section.host, section.port),
        master => format!("Redis {master} of {}", section.sentinel.nodes.join(",")),
    }
}

fn of_redis(section: RedisSection, node_id: String) -> Asking {
    let login = (!section.user.is_empty()).then(|| format!("login as {}", section.user));
    async move {
        let heartbeats = RedisHeartbeats::new(&section, &node_id);
        // With Sentinels the server is not known before they are asked.
        let (host, port) = heartbeats.address().await?;
        let master = format!("the master is {host}:{port}");
        let access = Access { place: TlsPlace::of_redis(&section, (host, port)), switch: Some("redis.tls"), login };
        let answer = with_access(heartbeats.probe(), access).await?;
        let by_sentinel = Some(master).filter(|_| !section.sentinel.master.is_empty());
        Ok(by_sentinel.into_iter().fold(answer, Answer::with))
    }
    .boxed()
}

/// A section for each host.
fn each_host(section: &ClickHouseSection) -> Vec<ClickHouseSection> {
    if section.hosts.is_empty() {
        return vec![section.clone()];
    }
    let of = |host: &String| ClickHouseSection { hosts: vec![host.clone()], ..section.clone() };
    section.hosts.iter().map(of).collect()
}

fn of_clickhouse(section: ClickHouseSection) -> Asking {
    let access = Access {
        place: TlsPlace::of_clickhouse(&section),
        switch: Some("clickhouse.tls"),
        login: Some(format!("login as {}", section.user)),
    };
    async move { with_access(clickhouse_probe::probe(&section), access).await }.boxed()
}

fn of_mysql(section: MySqlSection) -> Asking {
    let access = Access {
        place: TlsPlace::of_mysql(&section),
        // It says itself what it requires.
        switch: None,
        login: Some(format!("login as {}", section.user)),
    };
    async move { with_access(MySqlReference::new(&section).probe(), access).await }.boxed()
}

fn of_source(sources: SourcesSection, name: SourceName) -> Asking {
    let Some(place) = TlsPlace::of_source(&sources, name) else {
        return async move { sources::probe(&sources, name).await }.boxed();
    };
    let access = Access { place, switch: None, login: None };
    async move { with_access(sources::probe(&sources, name), access).await }.boxed()
}

/// The answer of a server, or the reason why there is none, with its login and with what it presents by TLS.
async fn with_access(asking: impl Future<Output = Result<Answer, String>>, access: Access) -> Result<Answer, String> {
    let Access { place, switch, login } = access;
    let looks = place.inspect();
    let (outcome, seen) = match (place.has_tls, switch) {
        (true, _) => join(asking, looks).await,
        (false, None) => (asking.await, Vec::new()),
        (false, Some(switch)) => {
            let (outcome, seen) = look_at_failure(asking, looks).await;
            let is_wrong = seen.iter().any(|seen| seen.has_tls);
            let advice =
                |reason| if is_wrong { format!("the server uses TLS there: set {switch} ({reason})") } else { reason };
            (outcome.map_err(advice), Vec::new())
        }
    };
    let facts = seen.iter().flat_map(|seen| seen.facts.iter().cloned());
    match outcome {
        Ok(answer) => Ok(facts.chain(login).fold(answer, Answer::with)),
        Err(reason) => {
            // A client of MySQL may verify less than all; its own error says what it has verified.
            let verifies = place.begin == Begin::AtOnce;
            let problems = seen.iter().filter_map(|seen| seen.problem.clone().filter(|_| verifies));
            Err(problems.chain([reason]).chain(facts).collect::<Vec<_>>().join("; "))
        }
    }
}

/// The outcome of `asking`, and that of `looks` unless the server answers soon.
async fn look_at_failure(
    asking: impl Future<Output = Result<Answer, String>>,
    looks: impl Future<Output = Vec<Inspection>>,
) -> (Result<Answer, String>, Vec<Inspection>) {
    let mut asking = pin!(asking);
    match tokio::time::timeout(PATIENCE, &mut asking).await {
        Ok(Ok(answer)) => (Ok(answer), Vec::new()),
        Ok(Err(reason)) => (Err(reason), looks.await),
        Err(_) => join(asking, looks).await,
    }
}
