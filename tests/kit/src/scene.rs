// Upstream: benches::pipeline, tests::it
// Downstream: many
// Role: One test's own world on the real servers: topics, group, database, source, configuration, workers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::clickhouse::{Database, StoredBar};
use crate::kafka::{Broker, Record};
use crate::mysql::create_stock_list;
use crate::services::{host_and_port, required, unique};
use crate::tushare_data::{DailyRow, Dataset};
use crate::tushare_server::TushareServer;
use crate::wait::wait_until;
use crate::worker::Worker;

/// Partitions of a scene's command topic.
pub const PARTITIONS: i32 = 4;

/// Longest wait for what should take seconds.
pub const TIMEOUT: Duration = Duration::from_secs(90);

/// One test's own world.
pub struct Scene {
    /// Unique to the test; part of every name below.
    pub name: String,
    /// Where bars go.
    pub database: Database,
    /// The broker.
    pub broker: Broker,
    /// Where bars come from.
    pub source: TushareServer,
    /// Where heartbeats go, `redis://host:port/0`.
    pub redis_url: String,
    /// Commands sent, by partition.
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

    /// The same with a server of one's own.
    pub fn with_source(name: &str, program: &str, source: TushareServer) -> Self {
        let name = unique(name);
        let broker = Broker::connect(&required("TEST_KAFKA_BROKER"));
        broker.create_topics(&[
            (&format!("{name}.commands"), PARTITIONS),
            (&format!("{name}.control"), 2),
            (&format!("{name}.dlq"), 1),
            (&format!("{name}.notifications"), 1),
            (&format!("{name}.market"), 3),
        ]);
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

    /// Creates the stock list that a command without codes is about.
    pub fn list_codes(&self, codes: &[String]) {
        create_stock_list(&self.name, codes);
    }

    /// The scene's own folder.
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

    /// The configuration of a node as it stands in its file.
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

    /// Writes the configuration file of a node, as an editor does: another file in the place of the old one.
    pub fn write_config(&self, node: &str) -> PathBuf {
        self.write_raw_config(node, &self.config_text(node));
        self.config_file(node)
    }

    /// Puts any text into the configuration file of a node.
    pub fn write_raw_config(&self, node: &str, text: &str) {
        let new = self.folder().join(format!(".{node}.yml.new"));
        std::fs::write(&new, text).expect("the new configuration file");
        std::fs::rename(&new, self.config_file(node)).expect("in the place of the old one");
    }

    /// Removes the configuration file of a node.
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

    /// Starts a worker with further environment, such as `FAILPOINTS`.
    pub fn start_with(&self, node: &str, environment: &[(&str, &str)]) -> Worker {
        let config = self.write_config(node);
        let log = self.folder().join(format!("{node}.log"));
        // Whoever runs the tests may have a Ginkgo of their own, whose files would count.
        let folder = self.folder().display().to_string();
        Worker::start(&self.program, &config, &log, &[&[("GINKGO_DIR", folder.as_str())], environment].concat())
    }

    /// Sends raw values, spread over the partitions.
    pub fn send(&mut self, values: &[Vec<u8>]) {
        self.broker.send(&self.topic(), values, PARTITIONS);
        for n in 0..values.len() {
            self.sent[n % PARTITIONS as usize] += 1;
        }
    }

    /// Sends an operator's order, to all workers or to one.
    pub fn order(&self, command: &str, node: Option<&str>, id: &str) {
        let params = node.map_or(serde_json::json!({}), |node| serde_json::json!({"node_id": node}));
        let order = serde_json::json!({"command": command, "params": params, "correlation_id": id});
        self.broker.send(&format!("{}.control", self.name), &[order.to_string().into_bytes()], 1);
    }

    /// Sends one `bar_snapshot` a code, with further params as JSON text such as `"full":true`.
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

    /// The group's committed offsets.
    pub fn committed(&self) -> Vec<i64> {
        self.broker.committed(&format!("{}.group", self.name), &self.topic(), PARTITIONS)
    }

    /// Commands sent, by partition.
    pub fn sent(&self) -> &[i64] {
        &self.sent
    }

    /// Waits until the group has committed everything in the command topic, parts of split commands included.
    pub fn wait_until_all_is_committed(&self) {
        wait_until(&format!("the end of {}", self.topic()), TIMEOUT, || {
            // In this order: the parts of a command are published before it is committed.
            let num_committed = self.committed().iter().sum::<i64>();
            num_committed > 0 && self.broker.records(&self.topic(), PARTITIONS).len() as i64 == num_committed
        });
    }

    /// Waits until the group has committed everything that was sent.
    pub fn wait_until_committed(&self) {
        wait_until(&format!("offsets of {} at the end {:?}", self.name, self.sent), TIMEOUT, || {
            self.committed() == self.sent
        });
    }

    /// Dead letters so far.
    pub fn dead_letters(&self) -> Vec<Record> {
        self.broker.records(&format!("{}.dlq", self.name), 1)
    }

    /// Notifications so far, as JSON.
    pub fn notifications(&self) -> Vec<serde_json::Value> {
        let records = self.broker.records(&format!("{}.notifications", self.name), 1);
        records.iter().map(|record| serde_json::from_slice(&record.value).expect("JSON")).collect()
    }

    /// Notifications so far with a given value at `data.<field>`.
    pub fn notifications_with(&self, field: &str, value: &str) -> Vec<serde_json::Value> {
        self.notifications().into_iter().filter(|message| message["data"][field] == value).collect()
    }

    /// What the store must hold when it holds exactly what the source has for these codes.
    pub fn expected(&self, codes: &[String]) -> Vec<StoredBar> {
        let mut bars: Vec<StoredBar> =
            codes.iter().flat_map(|code| self.source.rows(code).into_iter().map(|row| stored(code, &row))).collect();
        bars.sort();
        bars
    }

    /// Fails unless the store holds exactly what the source has, every row once.
    pub fn assert_exact(&self, codes: &[String]) {
        let (found, expected) = (self.database.bars(), self.expected(codes));
        assert_eq!(found.len(), expected.len(), "rows in the store");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected);
        }
    }

    /// The heartbeat of a node and its TTL in seconds, if it is there.
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

/// Whether the broker of this run is Apache's. The fallback knows no static members and never takes a dead one's partitions
/// away; it takes records of any length, and of topics that it does not have.
pub fn has_apache_kafka() -> bool {
    required("TEST_KAFKA_KIND") == "apache"
}

/// A served row as the store must show it: rounded half up to two decimals, lots cut to whole ones.
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
