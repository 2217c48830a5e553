// Upstream: main
// Downstream: actors, data_worker, figure, kit
// Role: Compares the write rate of the worker's store adapter with curl sending prepared bytes to the same server.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use actors::domain::bar_identity::bar_uuid;
use actors::domain::{Bar, Frequency, Hundredths, Price, SourceId};
use actors::ports::{BarBatch, BarStore, IdentifiedBar};
use chrono::{Days, NaiveDate, NaiveTime};
use data_worker::adapters::clickhouse::bars::ClickHouseBars;
use data_worker::config::ClickHouseSection;
use kit::clickhouse::Database;
use kit::services::{host_and_port, unique};

use crate::figure::{Figure, median};

/// Rows per measured run, whatever the batch size, and the number of runs whose median counts.
const ROWS_PER_RUN: usize = 200_000;
const RUNS: usize = 5;

pub fn measure() -> Vec<Figure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut figures = Vec::new();
    for batch_rows in [1_000, 10_000, 100_000] {
        let (mut ours, mut row_binary, mut native) = (Vec::new(), Vec::new(), Vec::new());
        // Each run measures all three one after the other, so that a slowing machine affects all of them.
        for run in 0..RUNS {
            ours.push(through_the_worker(&runtime, batch_rows, run));
            let (rows, blocks) = through_curl(&runtime, batch_rows, run);
            row_binary.push(rows);
            native.push(blocks);
        }
        let (ours, row_binary, native) = (median(ours), median(row_binary), median(native));
        let rate = |rows: f64| format!("{:.2} M rows/s", rows / 1e6);
        let name = format!("write path, batches of {batch_rows}");
        let value = format!("{} = {:.2} of RowBinary by curl", rate(ours), ours / row_binary);
        figures.push(Figure::new(name, value, "0.8 of RowBinary"));
        figures.push(Figure::new(format!("curl, RowBinary, {batch_rows}"), rate(row_binary), ""));
        figures.push(Figure::new(format!("curl, Native, {batch_rows}"), rate(native), ""));
    }
    figures
}

fn store(database: &str) -> ClickHouseBars {
    let (host, port) = host_and_port(&kit::services::required("TEST_CLICKHOUSE_URL"));
    let section = ClickHouseSection { host, port, database: database.to_owned(), ..ClickHouseSection::default() };
    ClickHouseBars::new(&section)
}

/// Rows of many codes on consecutive days.
fn batch(rows: usize, salt: usize) -> BarBatch {
    let first = NaiveDate::from_ymd_opt(2024, 1, 1).unwrap();
    let rows: Vec<IdentifiedBar> = (0..rows)
        .map(|n| {
            let price = Price::fen(1_000 + (n * 7 + salt) as i64 % 5_000);
            let bar = Bar {
                code: format!("{:06}.SZ", n / 250).parse().unwrap(),
                frequency: Frequency::Day,
                timestamp: (first + Days::new(n as u64 % 250)).and_time(NaiveTime::MIN),
                open: price,
                high: price,
                low: price,
                close: price,
                volume: (n + salt) as i32,
                amount: Hundredths(n as i64 * 31),
                source: SourceId::TUSHARE,
            };
            IdentifiedBar { uuid: bar_uuid(&bar), bar }
        })
        .collect();
    BarBatch { token: unique("token"), rows: Arc::new(rows) }
}

fn through_the_worker(runtime: &tokio::runtime::Runtime, batch_rows: usize, run: usize) -> f64 {
    let name = unique("bench_worker");
    let store = store(&name);
    runtime.block_on(store.prepare()).unwrap();
    let mut batches: Vec<BarBatch> = vec![batch(batch_rows, run)];
    // The same rows with different tokens, so that the run measures encoding and sending, not the creation of test
    // rows.
    let rows = batches[0].rows.clone();
    batches.extend((1..ROWS_PER_RUN / batch_rows).map(|_| BarBatch { token: unique("token"), rows: rows.clone() }));
    let begun = Instant::now();
    for batch in &batches {
        runtime.block_on(store.insert(batch)).unwrap();
    }
    let rate = ROWS_PER_RUN as f64 / begun.elapsed().as_secs_f64();
    Database::shared(&name).query("DROP TABLE bar");
    rate
}

/// Measures the upper bounds: one curl process sends the same bytes repeatedly over one connection.
fn through_curl(runtime: &tokio::runtime::Runtime, batch_rows: usize, run: usize) -> (f64, f64) {
    let name = unique("bench_curl");
    let store = store(&name);
    runtime.block_on(store.prepare()).unwrap();
    runtime.block_on(store.insert(&batch(batch_rows, run))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let database = Database::shared(&name);
    let files = ["RowBinary", "Native"].map(|format| {
        let file = folder.path().join(format);
        let select = format!("SELECT * FROM bar FORMAT {format}");
        let answer = curl(&database, &select, None, 1, Stdio::from(std::fs::File::create(&file).unwrap()));
        assert!(answer.success(), "{select}");
        (format, file)
    });
    let rates = files.map(|(format, file)| {
        database.query("TRUNCATE TABLE bar");
        let repeats = ROWS_PER_RUN / batch_rows;
        let begun = Instant::now();
        let sent = curl(&database, &format!("INSERT INTO bar FORMAT {format}"), Some(&file), repeats, Stdio::null());
        let rate = ROWS_PER_RUN as f64 / begun.elapsed().as_secs_f64();
        assert!(sent.success(), "curl");
        database.query("OPTIMIZE TABLE bar FINAL");
        assert_eq!(database.count(), batch_rows as u64, "the rows sent by curl are stored");
        rate
    });
    database.query("DROP TABLE bar");
    (rates[0], rates[1])
}

fn curl(
    database: &Database,
    statement: &str,
    body: Option<&Path>,
    repeats: usize,
    out: Stdio,
) -> std::process::ExitStatus {
    let query: String = statement.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let url = format!("{}/?database={}&async_insert=0&query={query}", database.url, database.name);
    // Each request has its own deduplication token, because the bytes are the same.
    let urls = (0..repeats).map(|_| format!("{url}&insert_deduplication_token={}", unique("token")));
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail", "--globoff", "-H", "Expect:", "-X", "POST"]);
    match body {
        Some(file) => command.arg("--data-binary").arg(format!("@{}", file.display())),
        None => command.args(["-d", ""]),
    };
    command.args(urls).stdout(out).status().expect("curl")
}
