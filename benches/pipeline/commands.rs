// Upstream: backfill, encrypted, group, latency, main
// Downstream: figure, kit
// Role: Measures whole runs: from commands in Kafka to stored rows and committed offsets.

use std::time::{Duration, Instant};

use chrono::NaiveDate;
use kit::clickhouse::Database;
use kit::mysql::Tables;
use kit::scene::Scene;
use kit::tushare_data::{Dataset, codes, last_closed_day, last_trading_days};

use crate::figure::Figure;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_data-worker");

/// Timeout of a run, far above the duration of any run.
const LONGEST: Duration = Duration::from_secs(300);

/// The last `count + 1` trading days: all but the last day, and the last day.
pub fn days(count: usize) -> (Vec<NaiveDate>, NaiveDate) {
    let mut days = last_trading_days(last_closed_day(), count + 1);
    let last = days.pop().unwrap();
    (days, last)
}

/// A scene with the default settings of a worker, except for the log level, the rate limit and a short commit interval.
/// The latter makes the end of a run visible early. Other scenes use shorter flush and retry intervals.
pub fn scene(name: &str, num_codes: usize, num_days: usize) -> (Scene, Vec<String>, NaiveDate) {
    let codes = codes(num_codes);
    let (days, last) = days(num_days);
    let mut scene = Scene::new(name, PROGRAM, Dataset::generated(&codes, &days));
    scene.set("batch.flush_interval_ms", 1000).set("fetch.first_retry_delay_ms", 500);
    scene.set("log.level", "warn").set("kafka.commit_interval_ms", 100);
    // The source answers immediately. The tables are for the records of completed tasks.
    scene.set("sources.tushare.requests_per_minute", 0);
    Tables::create(&scene.name);
    (scene, codes, last)
}

pub fn measure() -> Vec<Figure> {
    [a_year_of_three_hundred_codes(), an_evening()].into_iter().flatten().collect()
}

/// Sends a command for each code and waits until this many rows are stored; returns the seconds.
pub fn run(scene: &mut Scene, codes: &[String], rows: u64) -> f64 {
    // Poll from another database, so that the polls do not count as statements of the worker.
    let outside = Database { url: scene.database.url.clone(), name: "default".to_owned() };
    let sql = format!("SELECT count() FROM `{}`.bar", scene.name);
    let begun = Instant::now();
    scene.send_snapshots(codes, "");
    while outside.try_query(&sql).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0_u64) < rows {
        assert!(begun.elapsed() < LONGEST, "{rows} rows are not stored within {LONGEST:?}");
        // Poll rarely, because each poll uses the same two or four cores.
        std::thread::park_timeout(Duration::from_millis(50));
    }
    scene.wait_until_committed();
    begun.elapsed().as_secs_f64()
}

fn a_year_of_three_hundred_codes() -> Vec<Figure> {
    let (mut scene, codes, _) = scene("bench_year", 300, 243);
    let worker = scene.start("bench");
    scene.wait_for_status("bench", "running");
    let seconds = run(&mut scene, &codes, 300 * 243);
    scene.assert_exact(&codes);
    let value = format!("{:.0} commands/s, {:.0} rows/s ({seconds:.2} s)", 300.0 / seconds, 300.0 * 243.0 / seconds);
    vec![
        Figure::new("300 commands x 243 new rows", value, "1,000 commands/s"),
        Figure::new("peak memory of that", format!("{} MB", worker.peak_memory_kib() / 1024), "64 MB"),
    ]
}

fn an_evening() -> Vec<Figure> {
    let (mut scene, codes, last) = scene("bench_evening", 5_500, 2);
    let worker = scene.start("bench");
    scene.wait_for_status("bench", "running");
    run(&mut scene, &codes, 5_500 * 2);
    scene.source.append_day(last);
    let before = scene.database.statements();
    let seconds = run(&mut scene, &codes, 5_500 * 3);
    let after = scene.database.statements();
    scene.assert_exact(&codes);
    let made = |kind: &str| after[kind] - before[kind];
    let value = format!("{seconds:.2} s, {:.0} commands/s", 5_500.0 / seconds);
    vec![
        Figure::new("5,500 commands x 1 new row", value, "5 s"),
        Figure::new(
            "its INSERT, DELETE, SELECT",
            format!("{}, {}, {}", made("insert"), made("delete"), made("select")),
            "at most 10, none, at most 10",
        ),
        Figure::new("peak memory of that", format!("{} MB", worker.peak_memory_kib() / 1024), "64 MB"),
    ]
}
