// Upstream: main
// Downstream: actors, adapters::redis, ask, cli, config, fold
// Role: Implements `data-worker status`, which shows all workers by their heartbeats and their HTTP status.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use actors::domain::shanghai_clock;
use chrono::NaiveDateTime;
use clap::Args;
use futures_util::{StreamExt, stream};
use reqwest::Client;
use serde_json::{Value, json};

use super::ask;
use super::fold::{WIDTH, fold};
use crate::adapters::redis::fleet::{FoundHeartbeat, heartbeats};
use crate::config::RedisSection;

/// Refresh interval of `--watch`.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Timeout of the HTTP request to one worker.
const DEADLINE: Duration = Duration::from_secs(2);

/// Maximum number of concurrent HTTP requests.
const ASKED_AT_ONCE: usize = 32;

/// Options of `data-worker status`.
#[derive(Debug, Args)]
pub struct StatusOptions {
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Refreshes every two seconds until Ctrl-C, also while Redis is unavailable.
    #[arg(long)]
    watch: bool,
    /// Prints JSON with all details instead of a table.
    #[arg(long)]
    json: bool,
    /// Asks the one worker at this address over HTTP, such as 127.0.0.1:9464, and not Redis.
    #[arg(long)]
    address: Option<String>,
}

impl StatusOptions {
    /// Shows the workers. Exit code 1 if there are none or Redis cannot be read.
    pub fn run(self) -> ExitCode {
        let loaded = match super::load(self.config.as_deref()) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let outcome = runtime
            .map_err(|error| error.to_string())
            .and_then(|runtime| runtime.block_on(self.show(&loaded.settings.redis)));
        outcome.unwrap_or_else(|reason| {
            eprintln!("{reason}");
            ExitCode::FAILURE
        })
    }

    async fn show(&self, redis: &RedisSection) -> Result<ExitCode, String> {
        let client = ask::client()?;
        loop {
            let found = match &self.address {
                Some(address) => look_at(&client, address).await.map(|worker| vec![worker]),
                None => look(redis, &client).await,
            };
            match found {
                Ok(workers) => {
                    let printed = self.tell(&workers, redis);
                    if !self.watch || printed != ExitCode::SUCCESS {
                        return Ok(if workers.is_empty() { ExitCode::FAILURE } else { printed });
                    }
                }
                // Continue, so that the user sees when Redis is available again.
                Err(reason) if self.watch => eprintln!("{reason}"),
                Err(reason) => return Err(reason),
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Prints the workers. Returns a failure if stdout is closed.
    fn tell(&self, workers: &[SeenWorker], redis: &RedisSection) -> ExitCode {
        let text = if self.json { format!("{}\n", json_of(workers)) } else { table(workers, shanghai_clock::now()) };
        let clear = if self.watch && !self.json && std::io::stdout().is_terminal() { "\x1b[H\x1b[2J" } else { "" };
        let printed = super::print(&format!("{clear}{text}"));
        if workers.is_empty() {
            eprintln!("no heartbeats found at redis://{}:{}, key {}:*", redis.host, redis.port, redis.key_prefix);
        }
        printed
    }
}

/// A worker with its heartbeat and its HTTP status.
struct SeenWorker {
    heartbeat: FoundHeartbeat,
    beat: Value,
    /// The response of its `/status`, or why there is none.
    own: Result<Value, String>,
}

async fn look(redis: &RedisSection, client: &Client) -> Result<Vec<SeenWorker>, String> {
    let found = heartbeats(redis).await?;
    let asked = stream::iter(found).map(|heartbeat| async move {
        let beat: Value = serde_json::from_str(&heartbeat.value).unwrap_or_default();
        let own = match beat.pointer("/stats/http_address").and_then(Value::as_str) {
            Some(address) => own_word(client, address).await,
            None => Err("the heartbeat contains no HTTP address".to_owned()),
        };
        SeenWorker { heartbeat, beat, own }
    });
    Ok(asked.buffered(ASKED_AT_ONCE).collect().await)
}

/// The one worker at an address. What a heartbeat would contain is taken from its answer.
async fn look_at(client: &Client, address: &str) -> Result<SeenWorker, String> {
    let base = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let own = own_word(client, base.trim_end_matches('/')).await?;
    let age = own.get("heartbeat_age_seconds").and_then(Value::as_f64).unwrap_or(0.0);
    let beat_at = shanghai_clock::now() - chrono::Duration::milliseconds((age * 1_000.0) as i64);
    let of = |pointer: &str| own.pointer(pointer).cloned().unwrap_or_default();
    let beat = json!({
        "status": of("/status"),
        "timestamp": beat_at.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
        "node_id": of("/node_id"),
        "stats": {
            "host": of("/host"),
            "http_address": base,
            "uptime_seconds": of("/uptime_seconds"),
            "commands_unresolved": of("/commands/unresolved"),
            "messages_processed": of("/commands/resolved"),
            "bars_written": of("/rows/written"),
            "errors": of("/errors/count"),
            "actor_restarts": of("/supervision/restarts"),
            "last_error": of("/errors/last"),
            "last_error_age_seconds": of("/errors/last_age_seconds"),
        },
    });
    let node_id = own.get("node_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    let heartbeat = FoundHeartbeat { node_id, value: beat.to_string(), ttl: Duration::ZERO };
    Ok(SeenWorker { heartbeat, beat, own: Ok(own) })
}

async fn own_word(client: &Client, address: &str) -> Result<Value, String> {
    let (_, body) = ask::get(client, &format!("{address}/status"), DEADLINE).await?;
    serde_json::from_str(&body).map_err(|error| format!("{address}: {error}"))
}

fn json_of(workers: &[SeenWorker]) -> Value {
    let one = |worker: &SeenWorker| {
        json!({
            "node_id": worker.heartbeat.node_id,
            "heartbeat": worker.beat,
            "ttl_seconds": worker.heartbeat.ttl.as_secs_f64(),
            "status": worker.own.as_ref().ok(),
            "status_problem": worker.own.as_ref().err(),
        })
    };
    workers.iter().map(one).collect()
}

const HEAD: [&str; 10] = ["STATE", "UP", "BEAT", "PARTS", "LAG", "OPEN", "DONE", "ROWS", "ERRORS", "RESTARTS"];

/// Indent of the lines below a worker's name.
const INDENT: usize = 2;

/// A block per worker: its name, a line of figures in the columns of all workers, and what is wrong. It is as wide as a
/// terminal, and no error is cut.
fn table(workers: &[SeenWorker], now: NaiveDateTime) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(workers.iter().map(|worker| figures(worker, now)));
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let line = |row: &[String; 10]| {
        let cells = row.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = width(column)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        format!("{:INDENT$}{}\n", "", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    let mut text = rows.first().map(line).unwrap_or_default();
    for (worker, row) in workers.iter().zip(rows.iter().skip(1)) {
        text.push_str(&fold(&worker.heartbeat.node_id, WIDTH, INDENT));
        text.push_str(&line(row));
        for note in notes(worker) {
            text.push_str(&fold(&format!("{:INDENT$}{note}", ""), WIDTH, 2 * INDENT));
        }
    }
    text
}

/// What an operator must know beside the figures.
fn notes(SeenWorker { beat, own, .. }: &SeenWorker) -> Vec<String> {
    let mut notes = Vec::new();
    if let Err(reason) = own {
        notes.push(format!("no status over HTTP: {reason}"));
    }
    if let Some(error) = beat.pointer("/stats/last_error").and_then(Value::as_str) {
        let age = beat.pointer("/stats/last_error_age_seconds").and_then(Value::as_u64);
        let age = age.map_or_else(String::new, |seconds| format!(", {} ago", duration(seconds)));
        notes.push(format!("last error{age}: {error}"));
    }
    notes
}

fn figures(worker: &SeenWorker, now: NaiveDateTime) -> [String; 10] {
    let SeenWorker { beat, own, .. } = worker;
    let own = own.as_ref().ok();
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.as_u64().map_or_else(|| other.to_string(), short_number),
    };
    let stat = |name: &str| text(beat.pointer(&format!("/stats/{name}")));
    let of_own = |pointer: &str| text(own.and_then(|own| own.pointer(pointer)));
    let seconds = beat.pointer("/stats/uptime_seconds").and_then(Value::as_u64);
    let age = beat.get("timestamp").and_then(Value::as_str).and_then(|text| text.parse::<NaiveDateTime>().ok());
    let num_partitions = own.and_then(|own| own.get("partitions")?.as_array()).map(Vec::len);
    [
        text(beat.get("status")),
        seconds.map_or("-".to_owned(), duration),
        age.map_or("-".to_owned(), |at| duration(u64::try_from((now - at).num_seconds()).unwrap_or(0))),
        num_partitions.map_or("-".to_owned(), |count| count.to_string()),
        of_own("/feed/lag"),
        stat("commands_unresolved"),
        stat("messages_processed"),
        stat("bars_written"),
        stat("errors"),
        stat("actor_restarts"),
    ]
}

/// A number in at most six characters; `--json` has all digits.
fn short_number(number: u64) -> String {
    match number {
        0..=99_999 => number.to_string(),
        100_000..=9_999_999 => format!("{}k", number / 1_000),
        10_000_000..=9_999_999_999 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// Formats a duration with its two largest units.
fn duration(seconds: u64) -> String {
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m{s}s"),
        (0, h, m, _) => format!("{h}h{m}m"),
        (d, h, ..) => format!("{d}d{h}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    fn seen(node_id: &str, beat: &Value, own: Result<Value, String>) -> SeenWorker {
        let ttl = Duration::from_secs(30);
        let heartbeat = FoundHeartbeat { node_id: node_id.to_owned(), value: String::new(), ttl };
        SeenWorker { heartbeat, beat: beat.clone(), own }
    }

    const REASON: &str = "ClickHouse localhost:8123 table ginkgo.bar: cannot insert 50000 rows: Code: 241. DB::Exception: \
                          Memory limit (total) exceeded: would use 7.21 GiB";

    #[test]
    fn figures_fit_a_terminal_and_errors_are_whole() {
        let beat = json!({
            "status": "running",
            "timestamp": "2026-08-10T21:10:00.123456",
            "node_id": "a",
            "stats": {"messages_processed": 5_499, "bars_written": 13_120_000, "errors": 1, "uptime_seconds": 3725,
                "commands_unresolved": 2, "actor_restarts": 0, "last_error": REASON, "last_error_age_seconds": 185},
        });
        let own = json!({"feed": {"lag": 7}, "partitions": [{}, {}]});
        let now = NaiveDate::from_ymd_opt(2026, 8, 10).unwrap().and_hms_opt(21, 10, 4).unwrap();
        let away = Err("http://h2:9464 does not answer within 2s".to_owned());
        let long = "data_worker_4f2a9c1e77b0";
        let text = table(&[seen(long, &beat, Ok(own)), seen("b", &beat, away)], now);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(words(lines[0]), HEAD);
        assert_eq!(lines[1], long);
        assert_eq!(words(lines[2]), ["running", "1h2m", "3s", "2", "7", "2", "5499", "13M", "1", "0"]);
        let whole = words(&text).join(" ");
        assert!(whole.contains(&format!("last error, 3m5s ago: {REASON}")), "the error is not cut: {text}");
        assert!(whole.contains("no status over HTTP: http://h2:9464 does not answer"), "{text}");
        let of_b = lines.iter().position(|line| *line == "b").unwrap();
        assert_eq!(words(lines[of_b + 1])[3..5], ["-", "-"], "what is unknown is a dash");
    }

    #[test]
    fn a_duration_has_its_two_largest_units() {
        assert_eq!([0, 61, 3_600, 90_000].map(duration), ["0s", "1m1s", "1h0m", "1d1h"]);
    }
}
