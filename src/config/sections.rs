// Upstream: many
// Downstream: actors, masked, source_sections
// Role: Every setting of the worker outside the actors: its default, its unit in its name, what it means.

use crate::config::masked::masked;
use std::path::PathBuf;

use actors::settings::{
    ActorSettings, BatchSettings, EventSettings, FetchSettings, HeartbeatSettings, QualitySettings,
};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use super::source_sections::SourcesSection;

/// All settings of a worker, as `data_worker.yml` may give them.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Identity and life of this worker.
    pub worker: WorkerSection,
    /// Commands in, dead letters and notifications out.
    pub kafka: KafkaSection,
    /// Heartbeats, in Redis.
    pub redis: RedisSection,
    /// Bars, ticks, adjustment factors and kept quality reports, in ClickHouse.
    pub clickhouse: ClickHouseSection,
    /// The list of securities, the calendar and the records of ended tasks, in MySQL or MariaDB.
    pub mysql: MySqlSection,
    /// Where market data comes from.
    pub sources: SourcesSection,
    /// How market data is fetched, and how often a failed fetch is tried again.
    pub fetch: FetchSettings,
    /// How rows are gathered and written.
    pub batch: BatchSettings,
    /// When the worker beats, and when it counts as stalled.
    pub heartbeat: HeartbeatSettings,
    /// Quality summaries.
    pub quality: QualitySettings,
    /// What is told to other components.
    pub events: EventSettings,
    /// What can be asked over HTTP: `/healthz`, `/readyz`, `/metrics`, `/status`.
    pub http: HttpSection,
    /// Log lines.
    pub log: LogSection,
}

impl Settings {
    /// The actors' part.
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

/// Identity and life of this worker.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerSection {
    /// The instance's name, unique in the group, without a colon; empty: `data_worker_` and the host's name.
    pub node_id: String,
    /// How long a stop may take until what is begun is written and committed.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub drain_deadline_ms: u64,
}

impl Default for WorkerSection {
    fn default() -> Self {
        Self { node_id: String::new(), drain_deadline_ms: 25_000 }
    }
}

/// Commands in, dead letters and notifications out.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaSection {
    /// Host of a Kafka broker.
    pub host: String,
    /// Port of the broker.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The consumer group; workers of one group share the commands.
    pub group_id: String,
    /// Topics commands come from.
    pub command_topics: Vec<String>,
    /// The topic on which every instance hears operators' orders (reload, stop, pause, resume, heartbeat_test).
    pub control_topic: String,
    /// Where a command for many codes is published anew in parts, so that the whole group works on it; one of
    /// `command_topics`; empty: the last of them.
    pub parts_topic: String,
    /// Where commands end that cannot be carried out.
    pub dead_letter_topic: String,
    /// Where messages for people go.
    pub notification_topic: String,
    /// Where price updates go, for strategies and risk managers; see `events.price_update`.
    pub market_data_topic: String,
    /// Commands taken and not resolved at once; consumption pauses there. Bounds the memory of a worker and what is
    /// done again after a crash.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_unresolved: usize,
    /// Whether the group knows a worker by its node id. Then a restart within the session keeps its partitions and
    /// moves nobody else's; but those of a worker that is gone for good wait until the session is over.
    pub static_membership: bool,
    /// After which the group takes a silent worker's partitions away. The broker has limits of its own for it, 6 s to
    /// 30 min unless it is set up otherwise.
    #[schemars(range(min = 1_000, max = 1_800_000))]
    pub session_timeout_ms: u64,
    /// How long a rebalance waits for begun work of the partitions that go; must be below `session_timeout_ms`.
    pub rebalance_drain_ms: u64,
    /// Time between two commits of resolved offsets.
    #[schemars(range(min = 10, max = 60_000))]
    pub commit_interval_ms: u64,
    /// A consumer that gets nothing for so long although its partitions hold more is rebuilt.
    #[schemars(range(min = 1_000, max = 86_400_000))]
    pub stall_after_ms: u64,
}

impl Default for KafkaSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 9092,
            group_id: "data_worker_group".into(),
            command_topics: vec!["ginkgo.live.control.commands".into(), "ginkgo.data.commands".into()],
            control_topic: "ginkgo.live.control.commands".into(),
            parts_topic: String::new(),
            dead_letter_topic: "ginkgo.data.commands.dlq".into(),
            notification_topic: "ginkgo.notifications".into(),
            market_data_topic: "ginkgo.live.market.data".into(),
            // An evening of all A-shares, so that rows of many commands share an INSERT; about 2 MB of payloads.
            max_unresolved: 6_000,
            static_membership: true,
            session_timeout_ms: 30_000,
            rebalance_drain_ms: 10_000,
            commit_interval_ms: 1_000,
            stall_after_ms: 60_000,
        }
    }
}

impl KafkaSection {
    /// Where the parts of a command for many codes go.
    pub fn topic_of_parts(&self) -> &str {
        match (self.parts_topic.as_str(), self.command_topics.last()) {
            ("", Some(last)) => last,
            (named, _) => named,
        }
    }
}

/// Heartbeats.
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
    /// Password, if the server wants one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Start of the heartbeat's key; `:` and the node id follow.
    pub key_prefix: String,
}

impl Default for RedisSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 6379,
            database: 0,
            password: None,
            key_prefix: "heartbeat:data_worker".into(),
        }
    }
}

/// Bars, ticks, adjustment factors and kept quality reports.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClickHouseSection {
    /// Host of the ClickHouse server.
    pub host: String,
    /// Port of its HTTP interface.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User; it reads, writes, and creates the database and the table where they are missing.
    pub user: String,
    /// Password, if the server wants one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Database with the tables `bar`, `adjustfactor`, `data_quality_report` and those of ticks.
    pub database: String,
    /// How bytes travel between worker and server: `none` is faster on one machine or in one data centre, `lz4` spares a
    /// slow line.
    pub compression: Compression,
    /// Longest wait for the answer to one statement.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub timeout_ms: u64,
}

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// As they are.
    None,
    /// Compressed by LZ4.
    Lz4,
}

impl Default for ClickHouseSection {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 8123,
            user: "default".into(),
            password: None,
            database: "ginkgo".into(),
            compression: Compression::None,
            timeout_ms: 60_000,
        }
    }
}

/// The list of securities, the calendar and the records of ended tasks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MySqlSection {
    /// Host of the MySQL or MariaDB server.
    pub host: String,
    /// Port of the MySQL or MariaDB server.
    #[schemars(range(min = 1))]
    pub port: u16,
    /// User; it reads the list and the calendar, and writes them where commands ask for it, and `data_sync_record`.
    pub user: String,
    /// Password, if the server wants one.
    #[serde(serialize_with = "masked")]
    #[schemars(with = "Option<String>")]
    pub password: Option<SecretString>,
    /// Database with the tables `stock_info`, `trade_day` and `data_sync_record`.
    pub database: String,
    /// Longest wait for the answer to one statement.
    #[schemars(range(min = 100, max = 3_600_000))]
    pub timeout_ms: u64,
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
        }
    }
}

/// What can be asked over HTTP.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSection {
    /// Whether the worker answers over HTTP at all.
    pub enabled: bool,
    /// The address to listen on; `0.0.0.0` listens on all, as a container must. Nobody is asked for a password there.
    pub host: String,
    /// The port to listen on; 0 takes a free one, which the heartbeat tells.
    pub port: u16,
}

impl Default for HttpSection {
    fn default() -> Self {
        Self { enabled: true, host: "127.0.0.1".into(), port: 9464 }
    }
}

/// How log lines look.
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

/// Logs.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// The least level shown, or a filter such as `info,data_worker::kafka=debug`.
    pub level: String,
    /// How lines look. Text goes to the error stream, JSON to the output.
    pub format: LogFormat,
    /// A folder into which the lines are written as JSON, too, for a collector that reads files: one file a day,
    /// `data_worker.2026-08-10.log`, seven of them kept. Workers may share it. Empty: none.
    pub folder: PathBuf,
}

impl Default for LogSection {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Auto, folder: PathBuf::new() }
    }
}
