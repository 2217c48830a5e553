// Upstream: none
// Downstream: kit, main_job
// Role: Tests that a worker's memory does not grow with what is stored.

use std::process::Command;

use chrono::NaiveDate;
use kit::mysql::Tables;
use kit::scene::Scene;
use kit::tushare_data::{Dataset, codes, trading_days};
use kit::worker::Worker;

use crate::main_job::PROGRAM;

/// Peak memory of a worker in KiB.
const MAX_MEMORY: u64 = 128 * 1024;

/// Stores rows of Ginkgo's Python worker: these codes at each of these times, where `condition` holds.
fn store(scene: &Scene, codes: &[String], times: &str, frequency: u8, condition: &str) {
    let list = codes.iter().map(|code| format!("'{code}'")).collect::<Vec<_>>().join(",");
    scene.database.query(&format!(
        "INSERT INTO bar SELECT code, 10, 10, 10, 10, 1, 1, {frequency}, toString(generateUUIDv4()), '', '', time, 0 \
         FROM (SELECT arrayJoin([{list}]) AS code, arrayJoin({times}) AS time) WHERE {condition}"
    ));
}

fn day_list(days: &[NaiveDate]) -> String {
    format!("[{}]", days.iter().map(|day| format!("toDateTime('{day} 00:00:00')")).collect::<Vec<_>>().join(","))
}

fn assert_small(worker: &Worker) {
    let peak = worker.peak_memory_kib();
    assert!((1..MAX_MEMORY).contains(&peak), "peak memory {peak} KiB");
    eprintln!("peak memory {} MiB", peak / 1024);
}

#[test]
fn filling_one_day_of_a_thousand_codes_stays_small() {
    let day = |y, m, d| NaiveDate::from_ymd_opt(y, m, d).unwrap();
    let mut codes = codes(1_000);
    codes.sort_unstable();
    let days = trading_days(day(2015, 1, 5), day(2024, 1, 31));
    let (history, recent) = days.split_at(days.len() - 100);
    // Each code lacks one of the last days; the vendor has these alone.
    let mut scene = Scene::new("fill", PROGRAM, Dataset::generated(&codes, recent));
    scene.database.create_bar("bar", "MergeTree ORDER BY (code, timestamp)");
    scene.list_codes(&codes);
    Tables::of(&scene.name).run("UPDATE stock_info SET list_date = '2014-01-01'");
    for chunk in history.chunks(500) {
        store(&scene, &codes, &day_list(chunk), 1, "1");
    }
    let list = codes.iter().map(|code| format!("'{code}'")).collect::<Vec<_>>().join(",");
    let times = day_list(recent);
    store(&scene, &codes, &times, 1, &format!("indexOf([{list}], code) % 100 != indexOf({times}, time) - 1"));
    let worker = scene.set("fetch.whole_days_from_tasks", 100_000).start("n1");
    let missing = |text: &str| {
        let config = scene.write_config("reader");
        let mut program = Command::new(PROGRAM);
        program.args(["gaps", "--config"]).arg(config).args(["--start", "2015-01-05", "--end", "2024-01-31"]);
        let output = program.args(text.split_whitespace()).env("GINKGO_DIR", scene.folder()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, text) = missing("");
    assert_eq!(code, Some(3));
    assert!(text.contains("1000 with gaps: 1000 days missing"), "{}", text.lines().last().unwrap_or_default());
    assert_eq!(missing("--fill --wait").0, Some(0));
    assert_eq!(missing("").0, Some(0), "every day is there");
    assert_small(&worker);
}

#[test]
fn two_hundred_commands_on_minutes_stay_small() {
    let day = |m, d| NaiveDate::from_ymd_opt(2024, m, d).unwrap();
    let codes = codes(200);
    let days = trading_days(day(1, 2), day(3, 29));
    let offered: Vec<NaiveDate> = days.iter().rev().take(20).rev().copied().collect();
    let mut scene = Scene::new("minutesmemory", PROGRAM, Dataset::generated(&codes, &offered));
    scene.database.create_bar("bar", "MergeTree ORDER BY (code, timestamp)");
    // More rows than a look-up may hold: all days, also those that the vendor has, have other rows already.
    for day in &days {
        let times = format!("arrayMap(n -> toDateTime('{day} 09:30:00') + 300 * n, range(1, 49))");
        store(&scene, &codes, &times, 3, "1");
    }
    let worker = scene.start("n1");
    let (from, to) = (offered[0].format("%Y%m%d"), day(3, 29).format("%Y%m%d"));
    scene.send_snapshots(&codes, &format!(r#""start_date":"{from}","end_date":"{to}","force":true,"frequency":"5m""#));
    scene.wait_until_committed();
    let own = format!("SELECT count() FROM bar WHERE timestamp >= '{} 00:00:00' AND source != 0", offered[0]);
    assert_eq!(scene.database.query(&own).trim(), (200 * 20 * 48).to_string());
    assert_small(&worker);
}
