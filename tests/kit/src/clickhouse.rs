// Upstream: benches::pipeline, scene, tests::it
// Downstream: services, wait
// Role: Queries the real ClickHouse engine with plain SQL, counts statements, injects faults, starts private engines.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crate::services::{host_and_port, required};
use crate::wait::wait_until;

/// A database on a ClickHouse server.
#[derive(Debug, Clone)]
pub struct Database {
    /// `http://host:port`.
    pub url: String,
    /// The database name.
    pub name: String,
}

/// A stored bar as text, exactly as SQL returns it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoredBar {
    /// Security code, such as `600000.SH`.
    pub code: String,
    /// `YYYY-MM-DD hh:mm:ss`, as readers see it.
    pub timestamp: String,
    /// Open, high, low, close, volume, amount as text.
    pub values: [String; 6],
}

impl Database {
    /// A database on the shared server.
    pub fn shared(name: &str) -> Self {
        Self { url: required("TEST_CLICKHOUSE_URL"), name: name.to_owned() }
    }

    /// Creates a table with the columns of Ginkgo's `bar` and this engine, such as `MergeTree ORDER BY code`.
    pub fn create_bar(&self, table: &str, engine: &str) {
        self.query(&format!(
            "CREATE TABLE {table} (code String, open Decimal(16,2), high Decimal(16,2), low Decimal(16,2), \
             close Decimal(16,2), volume Int32, amount Decimal(16,2), frequency Int8, uuid String, meta String, \
             `desc` String, timestamp DateTime, source Int8) ENGINE = {engine}"
        ));
    }

    /// Creates a table of adjustment factors with the columns of Ginkgo's, which deduplicates no INSERT.
    pub fn create_factors(&self) {
        self.query(
            "CREATE TABLE adjustfactor (code String, foreadjustfactor Decimal(16,6), backadjustfactor Decimal(16,6), \
             adjustfactor Decimal(16,6), uuid String, meta String, `desc` String, timestamp DateTime, source Int8) \
             ENGINE = MergeTree ORDER BY (code, timestamp)",
        );
    }

    /// Runs a statement and returns the answer as tab-separated text.
    pub fn try_query(&self, sql: &str) -> Result<String, String> {
        let url = format!("{}/?database={}", self.url, self.name);
        let answer = block_on(async {
            let answer = CLIENT.post(&url).body(sql.to_owned()).send().await.map_err(|error| error.to_string())?;
            let ok = answer.status().is_success();
            let text = answer.text().await.map_err(|error| error.to_string())?;
            if ok { Ok(text) } else { Err(text) }
        });
        answer.map_err(|error| format!("{sql}: {error}"))
    }

    /// Runs a statement that must succeed.
    pub fn query(&self, sql: &str) -> String {
        self.try_query(sql).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Creates the database.
    pub fn create(&self) {
        let system = Self { url: self.url.clone(), name: "default".to_owned() };
        system.query(&format!("CREATE DATABASE IF NOT EXISTS `{}`", self.name));
    }

    /// Every physical row of `bar`, sorted; a duplicate row appears twice.
    pub fn bars(&self) -> Vec<StoredBar> {
        self.bars_where("1")
    }

    /// The physical rows of one security.
    pub fn bars_of(&self, code: &str) -> Vec<StoredBar> {
        self.bars_where(&format!("code = '{code}'"))
    }

    fn bars_where(&self, condition: &str) -> Vec<StoredBar> {
        let sql = format!(
            "SELECT code, toString(timestamp), toString(open), toString(high), toString(low), toString(close), \
             toString(volume), toString(amount) FROM bar WHERE {condition} ORDER BY code, timestamp, uuid"
        );
        self.query(&sql).lines().map(parse_bar).collect()
    }

    /// Number of physical rows in `bar`; 0 if the query fails.
    pub fn count(&self) -> u64 {
        self.try_query("SELECT count() FROM bar").ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Number of statements on this database, by kind.
    pub fn statements(&self) -> BTreeMap<String, u64> {
        let url = format!("{}/_log?database={}", self.url, self.name);
        let text = block_on(async { CLIENT.get(&url).send().await?.text().await }).expect("the statement log");
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Injects a fault into the next `count` INSERTs (or DELETEs with `kind=delete`): `mode=refuse&code=252&text=…`,
    /// `mode=lost_answer` or `mode=delay&ms=…`.
    pub fn fault(&self, fault: &str, count: u32) {
        let url = format!("{}/_fault?{fault}&count={count}&database={}", self.url, self.name);
        let ok = block_on(async { CLIENT.post(&url).send().await.map(|a| a.status().is_success()) });
        assert!(ok.expect("an answer to the fault request"), "{fault}");
    }
}

fn parse_bar(line: &str) -> StoredBar {
    let mut cells = line.split('\t').map(str::to_owned);
    let mut next = || cells.next().unwrap_or_else(|| panic!("too few cells: {line}"));
    StoredBar { code: next(), timestamp: next(), values: std::array::from_fn(|_| next()) }
}

/// The environment variable that passes the password to the engine.
const PASSWORD_VARIABLE: &str = "OWN_CLICKHOUSE_PASSWORD";

/// A private ClickHouse engine that a test can kill.
pub struct PrivateClickHouse {
    child: Child,
    /// The port that it listens on.
    pub port: u16,
}

impl PrivateClickHouse {
    /// Starts an engine on a data folder; `port` 0 picks a free one.
    pub fn start(folder: &Path, port: u16) -> Self {
        Self::start_as(folder, port, None)
    }

    /// Like [`Self::start`], but only this user with this password can log in.
    pub fn start_as(folder: &Path, port: u16, login: Option<(&str, &str)>) -> Self {
        let command = required("TEST_CLICKHOUSE_COMMAND");
        let mut words = command.split(' ');
        let program = words.next().expect("a program");
        let mut child = Command::new(program)
            .args(words)
            .args(["--port", &port.to_string(), "--path"])
            .arg(folder)
            .args(login.iter().flat_map(|(user, _)| ["--user", user, "--password-env", PASSWORD_VARIABLE]))
            .envs(login.map(|(_, password)| (PASSWORD_VARIABLE, password)))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        let out = child.stdout.take().expect("its standard output");
        let first = BufReader::new(out).lines().next().expect("a first line of output").expect("text");
        let address = first.rsplit(' ').next().unwrap_or_default();
        let (_, port) = host_and_port(address);
        Self { child, port }
    }

    /// Kills it with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("its exit status");
    }
}

impl Drop for PrivateClickHouse {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}

/// Waits until `bar` holds at least `rows` physical rows.
pub fn wait_for_rows(database: &Database, rows: u64, deadline: Duration) {
    wait_until(&format!("{rows} rows in {}", database.name), deadline, || database.count() >= rows);
}

/// Made once: a client takes longer to make than a statement to run. It keeps no connection, so that each runtime opens
/// its own.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
    // The client needs a crypto provider even for plain HTTP. A second installation fails, which is harmless.
    let _already_there = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("an HTTP client")
});

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
