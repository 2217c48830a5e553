// Upstream: benches::pipeline, secure_stack, tests::it
// Downstream: many
// Role: The environment of one test on the real servers: topics, group, database, source, configuration, workers.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::clickhouse::{Database, StoredBar};
use crate::kafka::{Broker, Record};
use crate::mysql::{Tables, create_stock_list};
use crate::services::{host_and_port, required, unique};
use crate::tushare_data::{DailyRow, Dataset};
use crate::tushare_server::TushareServer;
use crate::wait::wait_until;
use crate::worker::Worker;

/// Partitions of a scene's command topic.
pub const PARTITIONS: i32 = 4;

/// The topics of a scene, after its name, with their partitions.
const TOPICS: [(&str, i32); 5] =
    [("commands", PARTITIONS), ("control", 2), ("dlq", 1), ("notifications", 1), ("market", 3)];

/// Timeout of waits that normally take seconds.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// The environment of one test.
pub struct Scene {
    /// A name unique to the test; topics, group, database and Redis keys contain it.
    pub name: String,
    /// The database that receives bars.
    pub database: Database,
    /// The broker.
    pub broker: Broker,
    /// The server that provides bars.
    pub source: TushareServer,
    /// The Redis server that receives heartbeats, `redis://host:port/0`.
    pub redis_url: String,
    /// Number of commands sent, by partition.
    sent: Vec<i64>,
    folder: TempDir,
    overrides: BTreeMap<String, String>,
    program: PathBuf,
}

impl Scene {
    /// Creates topics and an empty database; starts a Tushare-protocol server with this data.
    pub fn new(name: &str, program: &str, data: Dataset) -> Self {
        Self::with_source(name, program, TushareServer::start(data).expect("a Tushare server"))
    }

    /// Like [`Self::new`], with an existing server as the source.
    pub fn with_source(name: &str, program: &str, source: TushareServer) -> Self {
        Self::on_broker(name, program, source, &required("TEST_KAFKA_BROKER"))
    }

    /// Like [`Self::with_source`], on another broker.
    pub fn on_broker(name: &str, program: &str, source: TushareServer, broker: &str) -> Self {
        let name = unique(name);
        let broker = Broker::connect(broker);
        let topics = TOPICS.map(|(topic, partitions)| (format!("{name}.{topic}"), partitions));
        broker.create_topics(&topics.each_ref().map(|(topic, partitions)| (topic.as_str(), *partitions)));
        let database = Database::shared(&name);
        database.create();
        Self {
            database,
            broker,
            source,
            redis_url: required("TEST_REDIS_URL"),
            sent: vec![0; PARTITIONS as usize],
            folder: tempfile::tempdir().expect("a folder"),
            overrides: BTreeMap::new(),
            program: PathBuf::from(program),
            name,
        }
    }

    /// Sets a configuration value, as `section.field`, for workers started from now on.
    pub fn set(&mut self, key: &str, value: impl ToString) -> &mut Self {
        self.overrides.insert(key.to_owned(), value.to_string());
        self
    }

    /// Creates the stock list, which a command without codes covers, or adds to it.
    pub fn list_codes(&self, codes: &[String]) {
        create_stock_list(&self.name, codes);
    }

    /// The scene's temporary folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The command topic.
    pub fn topic(&self) -> String {
        format!("{}.commands", self.name)
    }

    fn settings(&self) -> BTreeMap<String, String> {
        let (kafka_host, kafka_port) = host_and_port(&self.broker.address);
        let (redis_host, redis_port) = host_and_port(&self.redis_url);
        let (clickhouse_host, clickhouse_port) = host_and_port(&self.database.url);
        let name = &self.name;
        let mut settings: BTreeMap<String, String> = [
            ("worker.drain_deadline_ms", "20000".to_owned()),
            ("kafka.host", kafka_host),
            ("kafka.port", kafka_port.to_string()),
            ("kafka.group_id", format!("{name}.group")),
            ("kafka.command_topics", format!("[{name}.commands]")),
            ("kafka.parts_topic", format!("{name}.commands")),
            ("kafka.control_topic", format!("{name}.control")),
            ("kafka.dead_letter_topic", format!("{name}.dlq")),
            ("kafka.notification_topic", format!("{name}.notifications")),
            ("kafka.market_data_topic", format!("{name}.market")),
            ("kafka.static_membership", has_apache_kafka().to_string()),
            ("kafka.parts_in_transaction", has_apache_kafka().to_string()),
            ("kafka.session_timeout_ms", "6000".to_owned()),
            ("kafka.rebalance_drain_ms", "4000".to_owned()),
            ("kafka.commit_interval_ms", "200".to_owned()),
            ("redis.host", redis_host),
            ("redis.port", redis_port.to_string()),
            ("redis.key_prefix", format!("\"heartbeat:{name}\"")),
            ("clickhouse.host", clickhouse_host),
            ("clickhouse.port", clickhouse_port.to_string()),
            ("clickhouse.database", name.clone()),
            ("clickhouse.timeout_ms", "20000".to_owned()),
            ("mysql.host", required("TEST_MYSQL_HOST")),
            ("mysql.port", required("TEST_MYSQL_PORT")),
            ("mysql.user", required("TEST_MYSQL_USER")),
            ("mysql.password", format!("\"{}\"", required("TEST_MYSQL_PASSWORD"))),
            ("mysql.database", name.clone()),
            ("sources.bars", "tushare".to_owned()),
            ("sources.tushare.url", self.source.url()),
            ("sources.tushare.token", TushareServer::TOKEN.to_owned()),
            ("fetch.first_retry_delay_ms", "50".to_owned()),
            // A worker sends no command of its own accord, or counts of commands would depend on the date.
            ("fetch.extend_calendar", "false".to_owned()),
            ("batch.flush_interval_ms", "200".to_owned()),
            ("http.port", "0".to_owned()),
            ("log.level", "info".to_owned()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into_iter()
        .collect();
        settings.extend(self.overrides.clone());
        settings
    }

    /// The same settings as environment variables of the worker.
    pub fn variables(&self) -> Vec<(String, String)> {
        let name = |key: &str| format!("GINKGO_DATA_WORKER__{}", key.replace('.', "__").to_uppercase());
        let bare = |value: &str| value.trim_matches(['"', '[', ']']).to_owned();
        self.settings().iter().map(|(key, value)| (name(key), bare(value))).collect()
    }

    /// The text of a node's configuration file.
    pub fn config_text(&self, node: &str) -> String {
        let mut settings = self.settings();
        settings.insert("worker.node_id".to_owned(), node.to_owned());
        let mut lines: BTreeMap<Vec<String>, String> = BTreeMap::new();
        for (key, value) in settings {
            lines.insert(key.split('.').map(str::to_owned).collect(), value);
        }
        let mut text = String::new();
        let mut open: Vec<String> = Vec::new();
        for (path, value) in lines {
            let sections = &path[..path.len() - 1];
            let common = open.iter().zip(sections).take_while(|(a, b)| a == b).count();
            for (depth, section) in sections.iter().enumerate().skip(common) {
                text.push_str(&format!("{}{section}:\n", "  ".repeat(depth)));
            }
            open = sections.to_vec();
            text.push_str(&format!("{}{}: {value}\n", "  ".repeat(sections.len()), path[path.len() - 1]));
        }
        text
    }

    /// Writes a node's configuration file as an editor does: a new file replaces the old one.
    pub fn write_config(&self, node: &str) -> PathBuf {
        self.write_raw_config(node, &self.config_text(node));
        self.config_file(node)
    }

    /// Replaces a node's configuration file by one with this text.
    pub fn write_raw_config(&self, node: &str, text: &str) {
        let new = self.folder().join(format!(".{node}.yml.new"));
        std::fs::write(&new, text).expect("the new configuration file");
        std::fs::rename(&new, self.config_file(node)).expect("the new file replaces the old one");
    }

    /// Removes a node's configuration file.
    pub fn remove_config(&self, node: &str) {
        std::fs::remove_file(self.config_file(node)).expect("the configuration file");
    }

    fn config_file(&self, node: &str) -> PathBuf {
        self.folder().join(format!("{node}.yml"))
    }

    /// Starts a worker.
    pub fn start(&self, node: &str) -> Worker {
        self.start_with(node, &[])
    }

    /// Starts a worker with extra environment variables, such as `FAILPOINTS`.
    pub fn start_with(&self, node: &str, environment: &[(&str, &str)]) -> Worker {
        let config = self.write_config(node);
        let log = self.folder().join(format!("{node}.log"));
        // Without this the worker would read the Ginkgo configuration of the user who runs the tests.
        let folder = self.folder().display().to_string();
        Worker::start(&self.program, &config, &log, &[&[("GINKGO_DIR", folder.as_str())], environment].concat())
    }

    /// Sends raw values round-robin over the partitions.
    pub fn send(&mut self, values: &[Vec<u8>]) {
        self.broker.send(&self.topic(), values, PARTITIONS);
        for n in 0..values.len() {
            self.sent[n % PARTITIONS as usize] += 1;
        }
    }

    /// Compresses the records that are sent from now on: gzip, snappy, lz4 or zstd.
    pub fn compress(&mut self, codec: &str) {
        self.broker = Broker::compressing(&self.broker.address, codec);
    }

    /// Sends a control command to all workers or to one.
    pub fn order(&self, command: &str, node: Option<&str>, id: &str) {
        let params = node.map_or(serde_json::json!({}), |node| serde_json::json!({"node_id": node}));
        let order = serde_json::json!({"command": command, "params": params, "correlation_id": id});
        self.broker.send(&format!("{}.control", self.name), &[order.to_string().into_bytes()], 1);
    }

    /// Sends one `bar_snapshot` per code, with extra params as JSON text such as `"full":true`.
    pub fn send_snapshots(&mut self, codes: &[String], params: &str) {
        let comma = if params.is_empty() { "" } else { "," };
        let command = |code: &String| {
            format!(
                r#"{{"command":"bar_snapshot","timestamp":"{}","params":{{"code":"{code}"{comma}{params}}},"source":"task_timer"}}"#,
                now()
            )
        };
        let values: Vec<Vec<u8>> = codes.iter().map(|code| command(code).into_bytes()).collect();
        self.send(&values);
    }

    /// Deletes topics and databases, so that a long run of many scenes does not fill the servers.
    pub fn remove(&self) {
        let topics = TOPICS.map(|(topic, _)| format!("{}.{topic}", self.name));
        self.broker.delete_topics(&topics.each_ref().map(String::as_str));
        self.database.query(&format!("DROP DATABASE `{}`", self.name));
        Tables::of(&self.name).run(&format!("DROP DATABASE `{}`", self.name));
    }

    /// The group's committed offsets.
    pub fn committed(&self) -> Vec<i64> {
        self.broker.committed(&format!("{}.group", self.name), &self.topic(), PARTITIONS)
    }

    /// Number of commands sent, by partition.
    pub fn sent(&self) -> &[i64] {
        &self.sent
    }

    /// Waits until the group has committed every record of the command topic, including the parts of split commands.
    pub fn wait_until_all_is_committed(&self) {
        wait_until(&format!("all records of {} are committed", self.topic()), TIMEOUT, || {
            // The order matters: the worker publishes the parts of a command before it commits the command.
            let committed = self.committed();
            committed.iter().sum::<i64>() >= self.sent.iter().sum::<i64>().max(1)
                && self.broker.ends(&self.topic(), PARTITIONS) == committed
        });
    }

    /// Waits until the group has committed every sent command.
    pub fn wait_until_committed(&self) {
        wait_until(&format!("committed offsets of {} are {:?}", self.name, self.sent), TIMEOUT, || {
            self.committed() == self.sent
        });
    }

    /// The topic of dead letters.
    pub fn dead_letter_topic(&self) -> String {
        format!("{}.dlq", self.name)
    }

    /// Dead letters so far, without the records of replays.
    pub fn dead_letters(&self) -> Vec<Record> {
        let mut records = self.broker.records(&self.dead_letter_topic(), 1);
        records.retain(|record| record.headers.contains_key("dlq.topic"));
        records
    }

    /// Notifications so far, as JSON.
    pub fn notifications(&self) -> Vec<serde_json::Value> {
        let records = self.broker.records(&format!("{}.notifications", self.name), 1);
        records.iter().map(|record| serde_json::from_slice(&record.value).expect("JSON")).collect()
    }

    /// Notifications so far with this value at `data.<field>`.
    pub fn notifications_with(&self, field: &str, value: &str) -> Vec<serde_json::Value> {
        self.notifications().into_iter().filter(|message| message["data"][field] == value).collect()
    }

    /// The bars that the store must hold to match the source for these codes.
    pub fn expected(&self, codes: &[String]) -> Vec<StoredBar> {
        Self::expected_of(&self.source, codes)
    }

    /// The bars that the store must hold to match a vendor for these codes.
    pub fn expected_of(vendor: &TushareServer, codes: &[String]) -> Vec<StoredBar> {
        let mut bars: Vec<StoredBar> =
            codes.iter().flat_map(|code| vendor.rows(code).into_iter().map(|row| stored(code, &row))).collect();
        bars.sort();
        bars
    }

    /// Asserts that the store holds exactly the bars that the source has for these codes, each once.
    pub fn assert_exact(&self, codes: &[String]) {
        let (found, expected) = (self.database.bars(), self.expected(codes));
        assert_eq!(found.len(), expected.len(), "rows in the store");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
    }

    /// A node's heartbeat and its TTL in seconds, if it exists.
    pub fn heartbeat(&self, node: &str) -> Option<(serde_json::Value, i64)> {
        let client = redis::Client::open(self.redis_url.as_str()).expect("a Redis address");
        let mut connection = client.get_connection().ok()?;
        let key = format!("heartbeat:{}:{node}", self.name);
        let value: Option<String> = redis::cmd("GET").arg(&key).query(&mut connection).ok()?;
        let ttl: i64 = redis::cmd("TTL").arg(&key).query(&mut connection).ok()?;
        Some((serde_json::from_str(&value?).expect("JSON"), ttl))
    }

    /// The status in a node's heartbeat.
    pub fn status(&self, node: &str) -> Option<String> {
        self.heartbeat(node).and_then(|(value, _)| value["status"].as_str().map(str::to_owned))
    }

    /// Waits until a node's heartbeat has this status.
    pub fn wait_for_status(&self, node: &str, status: &str) {
        wait_until(&format!("status {status} of {node}"), TIMEOUT, || self.status(node).as_deref() == Some(status));
    }
}

/// Whether the broker of this run is Apache Kafka. The fallback broker has no static membership and never revokes the
/// partitions of a dead member. It accepts records of any length, also for topics that do not exist.
pub fn has_apache_kafka() -> bool {
    required("TEST_KAFKA_KIND") == "apache"
}

/// Whether the broker of this run is Apache Kafka. If it is not, the caller's test cannot run: `lacks` names what the
/// fallback broker lacks, and the run lists the test with it at its end.
pub fn needs_apache_kafka(lacks: &str) -> bool {
    let is_there = has_apache_kafka();
    if !is_there {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let list = std::fs::OpenOptions::new().create(true).append(true).open(required("TEST_NOT_RUN"));
        list.and_then(|mut list| list.write_all(format!("{test}: {lacks}\n").as_bytes())).expect("the list is written");
    }
    is_there
}

/// A served row as the store must hold it: numbers rounded half up to two decimals, volume truncated to whole lots.
fn stored(code: &str, row: &DailyRow) -> StoredBar {
    let [open, high, low, close, _pre_close, volume, amount] = row.cells();
    let rounded = |text: &str| {
        let value: rust_decimal::Decimal = text.parse().expect("a number");
        let value = value.round_dp_with_strategy(2, rust_decimal::RoundingStrategy::MidpointAwayFromZero);
        value.normalize().to_string()
    };
    let lots = volume.split('.').next().unwrap_or_default().to_owned();
    let values = [rounded(open), rounded(high), rounded(low), rounded(close), lots, rounded(amount)];
    StoredBar { code: code.to_owned(), timestamp: format!("{} 00:00:00", row.date), values }
}

fn now() -> String {
    (chrono::Utc::now() + chrono::Duration::hours(8)).format("%Y-%m-%dT%H:%M:%S%.6f").to_string()
}
