// Upstream: faults, round
// Downstream: kit
// Role: The four servers of a worker, each behind a proxy.

use kit::proxy::Proxy;
use kit::scene::{Scene, has_apache_kafka};
use kit::services::{host_and_port, required};

/// A server that workers reach through a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Kafka,
    ClickHouse,
    MySql,
    Redis,
}

/// The proxies of a scene.
pub struct Proxies {
    kafka: Proxy,
    clickhouse: Proxy,
    mysql: Proxy,
    redis: Proxy,
}

fn address(url: &str) -> String {
    let (host, port) = host_and_port(url);
    format!("{host}:{port}")
}

impl Proxies {
    /// Starts the proxies and leads the scene's workers through them. The fallback broker advertises one address alone,
    /// so connections to it do not break.
    pub fn before(scene: &mut Scene) -> Self {
        let (kafka_port, kafka) = if has_apache_kafka() {
            (required("TEST_KAFKA_PROXY_PORT").parse().unwrap(), required("TEST_KAFKA_PROXIED_BROKER"))
        } else {
            (0, scene.broker.address.clone())
        };
        let proxies = Self {
            kafka: Proxy::on(kafka_port, &kafka),
            clickhouse: Proxy::on(0, &address(&scene.database.url)),
            mysql: Proxy::on(0, &format!("{}:{}", required("TEST_MYSQL_HOST"), required("TEST_MYSQL_PORT"))),
            redis: Proxy::on(0, &address(&scene.redis_url)),
        };
        for (section, proxy) in [
            ("kafka", &proxies.kafka),
            ("clickhouse", &proxies.clickhouse),
            ("mysql", &proxies.mysql),
            ("redis", &proxies.redis),
        ] {
            if section != "kafka" || has_apache_kafka() {
                scene
                    .set(&format!("{section}.host"), "127.0.0.1")
                    .set(&format!("{section}.port"), proxy.address().port());
            }
        }
        proxies
    }

    /// The proxy of a server.
    pub fn of(&self, server: Server) -> &Proxy {
        match server {
            Server::Kafka => &self.kafka,
            Server::ClickHouse => &self.clickhouse,
            Server::MySql => &self.mysql,
            Server::Redis => &self.redis,
        }
    }

    /// Ends every fault.
    pub fn heal(&self) {
        self.all().into_iter().for_each(Proxy::heal);
    }

    /// Number of connections that were broken.
    pub fn num_broken(&self) -> u64 {
        self.all().into_iter().map(Proxy::num_broken).sum()
    }

    fn all(&self) -> [&Proxy; 4] {
        [&self.kafka, &self.clickhouse, &self.mysql, &self.redis]
    }
}
