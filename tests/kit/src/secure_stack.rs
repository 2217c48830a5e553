// Upstream: benches::pipeline, tests::it
// Downstream: many
// Role: Private servers with TLS and logins everywhere: Kafka, Redis and MariaDB, and the engine behind a TLS front.

use std::path::Path;

use crate::certificates::{Authority, Identity, Validity};
use crate::scene::Scene;
use crate::secure_kafka::{self, SecureKafka};
use crate::secure_mariadb::{self, SecureMariaDb};
use crate::secure_redis::{self, SecureRedis};
use crate::services::required;
use crate::tls_front::TlsFront;

/// Passwords that no output may show, and what begins a private key.
pub const SECRETS: [&str; 4] =
    [secure_kafka::PASSWORD, secure_redis::PASSWORD, secure_mariadb::PASSWORD, "PRIVATE KEY"];

/// `host:port` of the shared ClickHouse engine.
pub fn clickhouse_address() -> String {
    required("TEST_CLICKHOUSE_URL").trim_start_matches("http://").to_owned()
}

/// The servers; all ask for a client certificate, except MariaDB of its ordinary user.
pub struct SecureStack {
    authority: Authority,
    client: Identity,
    /// Kafka.
    pub kafka: SecureKafka,
    redis: SecureRedis,
    mariadb: SecureMariaDb,
    /// The front of ClickHouse.
    pub front: TlsFront,
}

impl SecureStack {
    /// Starts all servers with data in `folder`. The certificate of Redis ends in five days.
    pub fn start(folder: &Path) -> Self {
        let authority = Authority::new(folder, "ca");
        let (good, soon) = (authority.server("good", Validity::NOW), authority.server("soon", Validity::for_days(5)));
        let client = authority.client("worker", Validity::NOW);
        let kafka = SecureKafka::start(folder, &authority);
        let redis = SecureRedis::start(folder, &authority, &soon, true);
        let mariadb = SecureMariaDb::start(folder, &authority, &good);
        let front = TlsFront::start(clickhouse_address(), &good, Some(&authority));
        Self { authority, client, kafka, redis, mariadb, front }
    }

    /// Makes the workers of a scene use these servers. The scene itself uses the plain listener of the broker.
    pub fn protect(&self, scene: &mut Scene) {
        self.protect_kafka(scene);
        self.protect_stores(scene);
    }

    /// The file with the certificate of the authority.
    pub fn ca_file(&self) -> &Path {
        &self.authority.ca_file
    }

    fn use_files(&self, scene: &mut Scene, section: &str) {
        scene.set(&format!("{section}.ca_file"), self.authority.ca_file.display());
        scene.set(&format!("{section}.certificate_file"), self.client.certificate.display());
        scene.set(&format!("{section}.key_file"), self.client.key.display());
    }

    /// The same for Kafka alone.
    pub fn protect_kafka(&self, scene: &mut Scene) {
        self.use_files(scene, "kafka");
        scene.set("kafka.brokers", format!("[\"127.0.0.1:{}\"]", self.kafka.sasl_ssl));
        scene.set("kafka.security.protocol", "sasl_ssl").set("kafka.sasl.mechanism", "SCRAM-SHA-512");
        scene.set("kafka.sasl.user", secure_kafka::USER).set("kafka.sasl.password", secure_kafka::PASSWORD);
    }

    /// The same for Redis, ClickHouse and MySQL.
    pub fn protect_stores(&self, scene: &mut Scene) {
        self.mariadb.create(&scene.name, &self.authority);
        for section in ["redis", "clickhouse", "mysql"] {
            self.use_files(scene, section);
        }
        scene.set("redis.port", self.redis.port()).set("redis.tls", true);
        scene.set("redis.user", secure_redis::USER).set("redis.password", secure_redis::PASSWORD);
        scene.set("clickhouse.port", self.front.address().port()).set("clickhouse.tls", true);
        scene.set("clickhouse.settings", "[max_threads=2]");
        scene.set("mysql.port", self.mariadb.port).set("mysql.tls", "verify_identity");
        scene.set("mysql.user", secure_mariadb::CERTIFIED_USER).set("mysql.password", secure_mariadb::PASSWORD);
    }
}
