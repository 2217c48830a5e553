// Upstream: certificate_watch, server_probes
// Downstream: adapters::redis, adapters::tls, config, observability
// Role: The servers that are reached by TLS, and when their certificates and those of the worker end.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use crate::adapters::redis::heartbeat::RedisHeartbeats;
use crate::adapters::tls::files::TlsFiles;
use crate::adapters::tls::inspect::{Begin, Inspection, inspect};
use crate::config::{
    ClickHouseSection, KafkaSection, MySqlSection, MySqlTls, RedisSection, Settings, SourceName, SourcesSection,
    split_address,
};
use crate::observability::certificates::Owner;

/// Maximum number of servers of one section whose certificates are asked for.
const MAX_INSPECTED: usize = 3;

/// The servers of a section of the settings.
pub struct TlsPlace {
    /// Host and port of each.
    pub servers: Vec<(String, u16)>,
    /// The files of the section.
    pub files: TlsFiles,
    /// Whether the settings use TLS.
    pub has_tls: bool,
    /// How TLS begins.
    pub begin: Begin,
}

/// The ends of certificates by section and owner. Of several servers of a section the earliest.
pub type Ends = BTreeMap<(&'static str, Owner), DateTime<Utc>>;

impl TlsPlace {
    /// The brokers.
    pub fn of_kafka(section: &KafkaSection) -> Self {
        Self {
            servers: section.address().split(',').filter_map(owned_address).collect(),
            files: files("kafka", [&section.ca_file, &section.certificate_file, &section.key_file]),
            has_tls: section.security.protocol.has_tls(),
            begin: Begin::AtOnce,
        }
    }

    /// The hosts of ClickHouse.
    pub fn of_clickhouse(section: &ClickHouseSection) -> Self {
        Self {
            servers: section.address().split(',').filter_map(owned_address).collect(),
            files: files("clickhouse", [&section.ca_file, &section.certificate_file, &section.key_file]),
            has_tls: section.tls,
            begin: Begin::AtOnce,
        }
    }

    /// MySQL.
    pub fn of_mysql(section: &MySqlSection) -> Self {
        Self {
            servers: vec![(section.host.clone(), section.port)],
            files: files("mysql", [&section.ca_file, &section.certificate_file, &section.key_file]),
            has_tls: section.tls != MySqlTls::Off,
            begin: Begin::AfterMySqlGreeting,
        }
    }

    /// Redis at this address: with Sentinels it is not known before they are asked.
    pub fn of_redis(section: &RedisSection, address: (String, u16)) -> Self {
        Self {
            servers: vec![address],
            files: files("redis", [&section.ca_file, &section.certificate_file, &section.key_file]),
            has_tls: section.tls,
            begin: Begin::AtOnce,
        }
    }

    /// The server of a source, if it is reached by TLS with files of its own.
    pub fn of_source(sources: &SourcesSection, name: SourceName) -> Option<Self> {
        let place = |section, begin, (host, port): (&String, u16), paths: [&Path; 3]| {
            let servers = vec![(host.clone(), port)];
            Some(Self { servers, files: files(section, paths), has_tls: true, begin })
        };
        let SourcesSection { clickhouse, mysql, mongodb, redis, .. } = sources;
        match name {
            SourceName::ClickHouse if clickhouse.tls => {
                let paths = [&*clickhouse.ca_file, &clickhouse.certificate_file, &clickhouse.key_file];
                place("sources.clickhouse", Begin::AtOnce, (&clickhouse.host, clickhouse.port), paths)
            }
            SourceName::MySql if mysql.tls != MySqlTls::Off => {
                let paths = [&*mysql.ca_file, &mysql.certificate_file, &mysql.key_file];
                place("sources.mysql", Begin::AfterMySqlGreeting, (&mysql.host, mysql.port), paths)
            }
            SourceName::MongoDb if mongodb.tls => {
                let paths = [&*mongodb.ca_file, &mongodb.certificate_file, &mongodb.certificate_file];
                place("sources.mongodb", Begin::AtOnce, (&mongodb.host, mongodb.port), paths)
            }
            SourceName::Redis if redis.tls && redis.sentinel.master.is_empty() => {
                let paths = [&*redis.ca_file, &redis.certificate_file, &redis.key_file];
                place("sources.redis", Begin::AtOnce, (&redis.host, redis.port), paths)
            }
            _ => None,
        }
    }

    /// What the servers present, at most three of them.
    pub async fn inspect(&self) -> Vec<Inspection> {
        let servers = self.servers.iter().take(MAX_INSPECTED);
        join_all(servers.map(|(host, port)| inspect(host, *port, &self.files, self.begin))).await
    }
}

/// The sections of the settings that use TLS, and the ends of certificates as far as they can be seen now.
pub async fn certificate_ends(settings: &Settings) -> (Vec<&'static str>, Ends) {
    let Settings { kafka, redis, clickhouse, mysql, sources, worker, .. } = settings;
    let mut places = vec![TlsPlace::of_kafka(kafka), TlsPlace::of_clickhouse(clickhouse), TlsPlace::of_mysql(mysql)];
    if redis.tls {
        let address = RedisHeartbeats::new(redis, &worker.node_id).address().await;
        let nowhere = TlsPlace { servers: Vec::new(), ..TlsPlace::of_redis(redis, (String::new(), 0)) };
        places.push(address.map_or(nowhere, |address| TlsPlace::of_redis(redis, address)));
    }
    places.extend(sources.required().into_iter().filter_map(|name| TlsPlace::of_source(sources, name)));
    places.retain(|place| place.has_tls);
    let mut ends = Ends::new();
    for (place, seen) in join_all(places.iter().map(async |place| (place, place.inspect().await))).await {
        for inspection in seen {
            let Inspection { server_end, client_end, .. } = inspection;
            for (owner, end) in [(Owner::Server, server_end), (Owner::Client, client_end)] {
                let Some(end) = end else { continue };
                let earliest = ends.entry((place.files.section(), owner)).or_insert(end);
                *earliest = end.min(*earliest);
            }
        }
    }
    (places.iter().map(|place| place.files.section()).collect(), ends)
}

fn files(section: &'static str, [ca, certificate, key]: [&Path; 3]) -> TlsFiles {
    TlsFiles::new(section, ca, certificate, key)
}

fn owned_address(text: &str) -> Option<(String, u16)> {
    split_address(text).map(|(host, port)| (host.to_owned(), port))
}
