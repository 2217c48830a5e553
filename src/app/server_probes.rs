// Upstream: service_hub
// Downstream: many
// Role: Builds the connection test of each configured server, with what it presents by TLS.

use std::path::Path;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join, join_all};

use crate::adapters::clickhouse::probe as clickhouse_probe;
use crate::adapters::kafka;
use crate::adapters::mysql::store::MySqlReference;
use crate::adapters::probe::{Answer, Probe};
use crate::adapters::redis::heartbeat::RedisHeartbeats;
use crate::adapters::tls::files::TlsFiles;
use crate::adapters::tls::inspect::{Begin, inspect};
use crate::config::{
    ClickHouseSection, KafkaSection, MySqlSection, MySqlTls, RedisSection, Settings, SourceName, SourcesSection,
    split_address,
};
use crate::sources;

/// Maximum number of servers of one section whose certificates are asked for.
const MAX_INSPECTED: usize = 3;

type Asking = BoxFuture<'static, Result<Answer, String>>;

/// A probe of each configured server, in the order of the settings.
pub fn probes(settings: &Settings) -> Vec<Probe> {
    let Settings { kafka, redis, clickhouse, mysql, sources, worker, .. } = settings;
    let servers = vec![
        Probe { target: format!("Kafka {}", kafka.address()), run: of_kafka(kafka.clone()) },
        Probe { target: of_redis_name(redis), run: of_redis(redis.clone(), worker.node_id.clone()) },
        Probe { target: format!("ClickHouse {}", clickhouse.address()), run: of_clickhouse(clickhouse.clone()) },
        Probe { target: format!("MySQL {}:{}", mysql.host, mysql.port), run: of_mysql(mysql.clone()) },
    ];
    let sources = sources
        .required()
        .into_iter()
        .map(|name| Probe { target: sources.place(name), run: of_source(sources.clone(), name) });
    servers.into_iter().chain(sources).collect()
}

fn of_kafka(section: KafkaSection) -> Asking {
    let tls = section
        .security
        .protocol
        .has_tls()
        .then(|| files("kafka", [&section.ca_file, &section.certificate_file, &section.key_file]));
    let address = section.address();
    let servers = addresses(address.split(','));
    async move { with_tls(kafka::probe::probe(&section), servers, tls, Begin::AtOnce).await }.boxed()
}

fn of_redis_name(section: &RedisSection) -> String {
    match section.sentinel.master.as_str() {
        "" => format!("Redis {}:{}", section.host, section.port),
        master => format!("Redis {master} of {}", section.sentinel.nodes.join(",")),
    }
}

fn of_redis(section: RedisSection, node_id: String) -> Asking {
    let tls = section.tls.then(|| files("redis", [&section.ca_file, &section.certificate_file, &section.key_file]));
    async move {
        let heartbeats = RedisHeartbeats::new(&section, &node_id);
        // With Sentinels the server is not known before they are asked.
        let server = heartbeats.address().await?;
        with_tls(heartbeats.probe(), vec![server], tls, Begin::AtOnce).await
    }
    .boxed()
}

fn of_clickhouse(section: ClickHouseSection) -> Asking {
    let tls =
        section.tls.then(|| files("clickhouse", [&section.ca_file, &section.certificate_file, &section.key_file]));
    let address = section.address();
    let servers = addresses(address.split(','));
    async move { with_tls(clickhouse_probe::probe(&section), servers, tls, Begin::AtOnce).await }.boxed()
}

fn of_mysql(section: MySqlSection) -> Asking {
    let files = files("mysql", [&section.ca_file, &section.certificate_file, &section.key_file]);
    let tls = (section.tls != MySqlTls::Off).then_some(files);
    let servers = vec![(section.host.clone(), section.port)];
    async move {
        let reference = MySqlReference::new(&section);
        with_tls(reference.probe(), servers, tls, Begin::AfterMySqlGreeting).await
    }
    .boxed()
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
    let (servers, tls) = tls.map_or((Vec::new(), None), |(servers, tls)| (servers, Some(tls)));
    async move { with_tls(sources::probe(&sources, name), servers, tls, begin).await }.boxed()
}

fn files(section: &'static str, [ca, certificate, key]: [&Path; 3]) -> TlsFiles {
    TlsFiles::new(section, ca, certificate, key)
}

fn addresses<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<(String, u16)> {
    texts.filter_map(split_address).map(|(host, port)| (host.to_owned(), port)).collect()
}

/// The answer of a server, or the reason why there is none, with what it presents by TLS.
async fn with_tls(
    asking: impl Future<Output = Result<Answer, String>>,
    servers: Vec<(String, u16)>,
    tls: Option<TlsFiles>,
    begin: Begin,
) -> Result<Answer, String> {
    let Some(files) = tls else { return asking.await };
    let looks = servers.iter().take(MAX_INSPECTED).map(|(host, port)| inspect(host, *port, &files, begin));
    let (outcome, facts) = join(asking, join_all(looks)).await;
    let facts = facts.into_iter().flatten();
    match outcome {
        Ok(answer) => Ok(facts.fold(answer, Answer::with)),
        Err(reason) => Err(std::iter::once(reason).chain(facts).collect::<Vec<_>>().join("; ")),
    }
}
