// Upstream: service_hub
// Downstream: many
// Role: Builds the connection test of each configured server, with what it presents by TLS.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, join_all};

use crate::adapters::clickhouse::probe as clickhouse_probe;
use crate::adapters::kafka;
use crate::adapters::mysql::store::MySqlReference;
use crate::adapters::probe::{Answer, Probe};
use crate::adapters::redis::heartbeat::RedisHeartbeats;
use crate::adapters::tls::files::TlsFiles;
use crate::adapters::tls::inspect::{Begin, Inspection, inspect};
use crate::config::{
    ClickHouseSection, KafkaSection, MySqlSection, MySqlTls, RedisSection, Settings, SourceName, SourcesSection,
    split_address,
};
use crate::sources;

/// Maximum number of servers of one section whose certificates are asked for.
const MAX_INSPECTED: usize = 3;

type Asking = BoxFuture<'static, Result<Answer, String>>;

/// How a server is reached: the addresses, TLS and the login.
struct Access {
    servers: Vec<(String, u16)>,
    files: TlsFiles,
    has_tls: bool,
    begin: Begin,
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
    let files = files("kafka", [&section.ca_file, &section.certificate_file, &section.key_file]);
    let login =
        protocol.has_login().then(|| format!("login as {} by {}", section.sasl.user, section.sasl.mechanism.as_str()));
    let access = Access {
        servers: section.address().split(',').filter_map(owned_address).collect(),
        files,
        has_tls: protocol.has_tls(),
        begin: Begin::AtOnce,
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
    let files = files("redis", [&section.ca_file, &section.certificate_file, &section.key_file]);
    let has_tls = section.tls;
    let login = (!section.user.is_empty()).then(|| format!("login as {}", section.user));
    async move {
        let heartbeats = RedisHeartbeats::new(&section, &node_id);
        // With Sentinels the server is not known before they are asked.
        let servers = vec![heartbeats.address().await?];
        let master = servers.first().map(|(host, port)| format!("the master is {host}:{port}"));
        let access = Access { servers, files, has_tls, begin: Begin::AtOnce, switch: Some("redis.tls"), login };
        let answer = with_access(heartbeats.probe(), access).await?;
        let by_sentinel = master.filter(|_| !section.sentinel.master.is_empty());
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
    let files = files("clickhouse", [&section.ca_file, &section.certificate_file, &section.key_file]);
    let access = Access {
        servers: section.address().split(',').filter_map(owned_address).collect(),
        files,
        has_tls: section.tls,
        begin: Begin::AtOnce,
        switch: Some("clickhouse.tls"),
        login: Some(format!("login as {}", section.user)),
    };
    async move { with_access(clickhouse_probe::probe(&section), access).await }.boxed()
}

fn of_mysql(section: MySqlSection) -> Asking {
    let files = files("mysql", [&section.ca_file, &section.certificate_file, &section.key_file]);
    let access = Access {
        servers: vec![(section.host.clone(), section.port)],
        files,
        has_tls: section.tls != MySqlTls::Off,
        begin: Begin::AfterMySqlGreeting,
        // It says itself what it requires.
        switch: None,
        login: Some(format!("login as {}", section.user)),
    };
    async move { with_access(MySqlReference::new(&section).probe(), access).await }.boxed()
}

fn of_source(sources: SourcesSection, name: SourceName) -> Asking {
    let tls = |section, server: (&String, u16), paths: [&Path; 3]| {
        Some((vec![(server.0.clone(), server.1)], files(section, paths)))
    };
    let SourcesSection { clickhouse, mysql, mongodb, redis, .. } = &sources;
    let (begin, tls) = match name {
        SourceName::ClickHouse if clickhouse.tls => {
            let paths = [&*clickhouse.ca_file, &clickhouse.certificate_file, &clickhouse.key_file];
            (Begin::AtOnce, tls("sources.clickhouse", (&clickhouse.host, clickhouse.port), paths))
        }
        SourceName::MySql if mysql.tls != MySqlTls::Off => {
            let paths = [&*mysql.ca_file, &mysql.certificate_file, &mysql.key_file];
            (Begin::AfterMySqlGreeting, tls("sources.mysql", (&mysql.host, mysql.port), paths))
        }
        SourceName::MongoDb if mongodb.tls => {
            let paths = [&*mongodb.ca_file, &mongodb.certificate_file, &mongodb.certificate_file];
            (Begin::AtOnce, tls("sources.mongodb", (&mongodb.host, mongodb.port), paths))
        }
        SourceName::Redis if redis.tls && redis.sentinel.master.is_empty() => {
            let paths = [&*redis.ca_file, &redis.certificate_file, &redis.key_file];
            (Begin::AtOnce, tls("sources.redis", (&redis.host, redis.port), paths))
        }
        _ => (Begin::AtOnce, None),
    };
    let Some((servers, files)) = tls else { return async move { sources::probe(&sources, name).await }.boxed() };
    let access = Access { servers, files, has_tls: true, begin, switch: None, login: None };
    async move { with_access(sources::probe(&sources, name), access).await }.boxed()
}

fn files(section: &'static str, [ca, certificate, key]: [&Path; 3]) -> TlsFiles {
    TlsFiles::new(section, ca, certificate, key)
}

fn owned_address(text: &str) -> Option<(String, u16)> {
    split_address(text).map(|(host, port)| (host.to_owned(), port))
}

/// The answer of a server, or the reason why there is none, with its login and with what it presents by TLS.
async fn with_access(asking: impl Future<Output = Result<Answer, String>>, access: Access) -> Result<Answer, String> {
    let Access { servers, files, has_tls, begin, switch, login } = access;
    let looks = servers.iter().take(MAX_INSPECTED).map(|(host, port)| inspect(host, *port, &files, begin));
    let looks = join_all(looks);
    let (outcome, seen) = match (has_tls, switch) {
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
            let verifies = begin == Begin::AtOnce;
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
