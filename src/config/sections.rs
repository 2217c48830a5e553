// Upstream: many
// Downstream: actors, masked, security_sections, source_sections
// Role: Declares every setting outside the actors with its default and meaning; the name includes the unit.

use crate::config::masked::masked;
use std::path::PathBuf;

use actors::settings::{
    ActorSettings, BatchSettings, EventSettings, FetchSettings, HeartbeatSettings, QualitySettings,
};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::security_sections::{KafkaSaslSection, KafkaSecuritySection, MySqlTls, SentinelSection};
use super::source_sections::SourcesSection;

/// All settings of a worker, in the structure of `data_worker.yml`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Name of this worker, and how it stops.
    pub worker: WorkerSection,
    /// Kafka: source of the commands, target of dead letters, notifications and price updates.
    pub kafka: KafkaSection,
    /// Redis: heartbeats.
    pub redis: RedisSection,
    /// ClickHouse: bars, ticks, adjustment factors and quality reports.
    pub clickhouse: ClickHouseSection,
    /// MySQL or MariaDB: the list of securities, the trading calendar and the records of completed tasks.
    pub mysql: MySqlSection,
    /// Sources of market data.
    pub sources: SourcesSection,
    /// Fetching of market data, and retries of failed fetches.
    pub fetch: FetchSettings,
    /// Batching and writing of rows.
    pub batch: BatchSettings,
    /// Interval of the heartbeats, and when the worker counts as stalled.
    pub heartbeat: HeartbeatSettings,
    /// Quality reports and alerts.
    pub quality: QualitySettings,
    /// Events for other components.
    pub events: EventSettings,
    /// HTTP server with `/healthz`, `/readyz`, `/metrics` and `/status`.
    pub http: HttpSection,
    /// Logging.
    pub log: LogSection,
}

impl Settings {
    /// The settings of the actors.
    pub fn actor_settings(&self) -> ActorSettings {
        ActorSettings {
            fetch: self.fetch.clone(),
            batch: self.batch.clone(),
            heartbeat: self.heartbeat.clone(),
            quality: self.quality.clone(),
            events: self.events.clone(),
        }
    }
}

/// Name of this worker, and how it stops.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSection {
    /// Name of this instance: unique in the consumer group, without a colon. Empty: `data_worker_` and the host name.
    pub node_id: String,
    /// Deadline of a graceful stop: the time to finish started work, write its rows and commit its offsets.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub drain_deadline_ms: u64,
}

impl Default for WorkerSection {
    fn default() -> Self {
        Self { node_id: String::new(), drain_deadline_ms: 25_000 }
    }
}

/// Kafka: source of the commands, target of dead letters, notifications and price updates.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSection {
    /// Host of a Kafka broker.
    pub host: String,
    /// Port of the broker.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Brokers to begin with, as `host:port`; one that answers is enough. Empty: `host` and `port`.
    pub brokers: Vec<String>,
    /// Consumer group; the workers of one group share the commands.
    pub group_id: String,
    /// Topics with commands.
    pub command_topics: Vec<String>,
    /// Topic with operators' orders (reload, stop, pause, resume, heartbeat_test). Every instance reads it outside the
    /// consumer group, from the newest offset on.
    pub control_topic: String,
    /// Topic to which a worker publishes the parts of a command for many codes, so that the group shares the work. Must
    /// be one of `command_topics`. Empty: the last of them.
    pub parts_topic: String,
    /// Whether the parts of a command are published in one transaction, so that each is published once also when a
    /// worker dies or is taken for dead meanwhile; likewise the commands of `dlq replay` with the records that they were
    /// replayed. Switch it off for a broker without transactions.
    pub parts_in_transaction: bool,
    /// Topic for dead letters: commands that cannot be executed.
    pub dead_letter_topic: String,
    /// Whether the worker creates the topics that are its own, if they are missing: `dead_letter_topic` (one partition,
    /// kept for 7 days) and `notification_topic` (three partitions). Both have the broker's default number of replicas.
    pub create_topics: bool,
    /// Topic for notifications to people.
    pub notification_topic: String,
    /// Topic for price updates, for strategies and risk managers; see `events.price_update`.
    pub market_data_topic: String,
    /// Maximum number of commands that are received and not resolved, or resolved behind one of their partition that is
    /// not; at this number the worker pauses consumption. It bounds the memory of a worker and the work that is
    /// repeated after a crash.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_unresolved: usize,
    /// Whether the worker is a static member of the group, with its node id as `group.instance.id`. After a restart
    /// within the session timeout it keeps its partitions without a rebalance. The partitions of a worker that is gone
    /// permanently wait for the session timeout.
    pub static_membership: bool,
    /// Session timeout: the group reassigns the partitions of a worker that is silent for this long. The broker limits
    /// the value, by default to 6 s to 30 min.
    #[schemars(range(min = 1_000, max = 1_800_000))]
    pub session_timeout_ms: u64,
    /// How long a rebalance waits for started work of revoked partitions; must be below `session_timeout_ms`.
    pub rebalance_drain_ms: u64,
    /// Interval between commits of resolved offsets.
    #[schemars(range(min = 10, max = 60_000))]
    pub commit_interval_ms: u64,
    /// The worker rebuilds a consumer that receives nothing for this long although its partitions hold more records.
    #[schemars(range(min = 1_000, max = 86_400_000))]
    pub stall_after_ms: u64,
    /// File with the CA certificates (PEM) that the brokers' certificates are verified by. Empty: those of the system.
    pub ca_file: PathBuf,
    /// File with the client certificate and its chain (PEM), if the brokers ask for one.
    pub certificate_file: PathBuf,
    /// File with the private key (PEM) of the client certificate.
    pub key_file: PathBuf,
    /// Password of the private key, if it is encrypted.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub key_password: Option<SecretString>,
    /// Further properties of librdkafka, as `name=value`, such as `client.rack=eu-1a`; they take precedence over what
    /// the worker chooses. Those on which its guarantees depend are refused.
    pub properties: Vec<String>,
    /// Encryption and login.
    pub security: KafkaSecuritySection,
    /// Login, for the protocols `sasl_plaintext` and `sasl_ssl`.
    pub sasl: KafkaSaslSection,
}

impl Default for KafkaSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 9092,
            brokers: Vec::new(),
            group_id: "data_worker_group".into(),
            command_topics: vec!["ginkgo.live.control.commands".into(), "ginkgo.data.commands".into()],
            control_topic: "ginkgo.live.control.commands".into(),
            parts_topic: String::new(),
            parts_in_transaction: true,
            dead_letter_topic: "ginkgo.data.commands.dlq".into(),
            create_topics: true,
            notification_topic: "ginkgo.notifications".into(),
            market_data_topic: "ginkgo.live.market.data".into(),
            // One evening's commands for all A-shares, so that their rows share INSERTs; about 2 MB of payloads.
            max_unresolved: 6_000,
            static_membership: true,
            session_timeout_ms: 30_000,
            rebalance_drain_ms: 10_000,
            commit_interval_ms: 1_000,
            stall_after_ms: 60_000,
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            key_password: None,
            properties: Vec::new(),
            security: KafkaSecuritySection::default(),
            sasl: KafkaSaslSection::default(),
        }
    }
}

impl KafkaSection {
    /// The addresses of the brokers to begin with, `host:port`, separated by commas, as librdkafka expects them.
    pub fn address(&self) -> String {
        if self.brokers.is_empty() { format!("{}:{}", self.host, self.port) } else { self.brokers.join(",") }
    }

    /// The topic to which the parts of a command for many codes are published.
    pub fn topic_of_parts(&self) -> &str {
        match (self.parts_topic.as_str(), self.command_topics.last()) {
            ("", Some(last)) => last,
            (named, _) => named,
        }
    }
}

/// Redis: heartbeats.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedisSection {
    /// Host of the Redis server.
    pub host: String,
    /// Port of the Redis server.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Number of the Redis database.
    pub database: u8,
    /// ACL user. Empty: the default user.
    pub user: String,
    /// Password, if the server requires one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Prefix of the heartbeat's key; `:` and the node id follow.
    pub key_prefix: String,
    /// Whether connections use TLS, those to Sentinels too.
    pub tls: bool,
    /// File with the CA certificates (PEM) that the server's certificate is verified by. Empty: those of the system.
    pub ca_file: PathBuf,
    /// File with the client certificate and its chain (PEM), if the server asks for one.
    pub certificate_file: PathBuf,
    /// File with the private key (PEM) of the client certificate.
    pub key_file: PathBuf,
    /// Sentinels that name the master.
    pub sentinel: SentinelSection,
}

impl Default for RedisSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 6379,
            database: 0,
            user: String::new(),
            password: None,
            key_prefix: "heartbeat:data_worker".into(),
            tls: false,
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            sentinel: SentinelSection::default(),
        }
    }
}

/// ClickHouse: bars, ticks, adjustment factors and quality reports.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouseSection {
    /// Host of the ClickHouse server.
    pub host: String,
    /// Port of the server's HTTP interface; with TLS usually 8443.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// Servers with the same data, as `host:port`, tried in turn; one that answers is kept to. Empty: `host` and `port`.
    pub hosts: Vec<String>,
    /// User. Must be allowed to read, to write, and to create the database and the tables if they are missing.
    pub user: String,
    /// Password, if the server requires one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Database with the tables `bar`, `adjustfactor`, `data_quality_report` and the tables of ticks.
    pub database: String,
    /// Compression between worker and server: `none` is faster on one machine or in one data centre, `lz4` saves
    /// bandwidth on a slow network.
    pub compression: Compression,
    /// Timeout of one statement.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub timeout_ms: u64,
    /// Whether connections use TLS (HTTPS).
    pub tls: bool,
    /// File with the CA certificates (PEM) that the server's certificate is verified by. Empty: those of the system.
    pub ca_file: PathBuf,
    /// File with the client certificate and its chain (PEM), if the server asks for one.
    pub certificate_file: PathBuf,
    /// File with the private key (PEM) of the client certificate.
    pub key_file: PathBuf,
    /// Further settings of each statement, as `name=value`, such as `insert_quorum=2`. Those on which the worker's
    /// guarantees depend are refused.
    pub settings: Vec<String>,
}

/// Compression between worker and ClickHouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// No compression.
    None,
    /// LZ4.
    Lz4,
}

impl Default for ClickHouseSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 8123,
            hosts: Vec::new(),
            user: "default".into(),
            password: None,
            database: "ginkgo".into(),
            compression: Compression::None,
            timeout_ms: 60_000,
            tls: false,
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
            settings: Vec::new(),
        }
    }
}

impl ClickHouseSection {
    /// The addresses of the servers, `host:port`, separated by commas.
    pub fn address(&self) -> String {
        if self.hosts.is_empty() { format!("{}:{}", self.host, self.port) } else { self.hosts.join(",") }
    }
}

/// MySQL or MariaDB: the list of securities, the trading calendar and the records of completed tasks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MySqlSection {
    /// Host of the MySQL or MariaDB server.
    pub host: String,
    /// Port of the MySQL or MariaDB server.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User. Must be allowed to read, to write and to create `stock_info`, `trade_day` and `data_sync_record`.
    pub user: String,
    /// Password, if the server requires one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Database with the tables `stock_info`, `trade_day` and `data_sync_record`.
    pub database: String,
    /// Timeout of one statement.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub timeout_ms: u64,
    /// TLS of the connections.
    pub tls: MySqlTls,
    /// File with the CA certificates (PEM) for `verify_ca` and `verify_identity`. Empty: those of the system.
    pub ca_file: PathBuf,
    /// File with the client certificate and its chain (PEM), if the server asks for one.
    pub certificate_file: PathBuf,
    /// File with the private key (PEM) of the client certificate.
    pub key_file: PathBuf,
}

impl Default for MySqlSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 3306,
            user: "root".into(),
            password: None,
            database: "ginkgo".into(),
            timeout_ms: 30_000,
            tls: MySqlTls::default(),
            ca_file: PathBuf::new(),
            certificate_file: PathBuf::new(),
            key_file: PathBuf::new(),
        }
    }
}

/// HTTP server with `/healthz`, `/readyz`, `/metrics` and `/status`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSection {
    /// Whether the HTTP server runs.
    pub enabled: bool,
    /// Address to listen on; `0.0.0.0`: all interfaces, as a container needs. The server has no authentication.
    pub host: String,
    /// Port to listen on; 0: a free port, which the heartbeat contains.
    pub port: u16,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self { enabled: true, host: "127.0.0.1".into(), port: 9464 }
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// JSON lines.
    Json,
    /// Text for people.
    Text,
    /// Text on a terminal, JSON otherwise.
    Auto,
}

/// Logging.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// Minimum level, or a filter such as `info,data_worker::adapters::kafka=debug`.
    pub level: String,
    /// Format of the lines. Text goes to stderr, JSON to stdout.
    pub format: LogFormat,
    /// Folder for additional JSON log files, for a log collector: one file per day, such as
    /// `data_worker.2026-08-10.log`; seven are kept. Several workers may share the folder. Empty: no files.
    pub folder: PathBuf,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto, folder: PathBuf::new() }
    }
}
