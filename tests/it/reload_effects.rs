// Upstream: reload_servers
// Downstream: failover, kit, main_job, reload
// Role: Tests that a reload changes the worker's behaviour immediately, also for tasks in flight.

use std::time::{Duration, Instant};

use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::Dataset;
use kit::tushare_server::{Fault, FaultDuration, TushareServer};
use kit::wait::{wait_for, wait_until};
use serde_json::{Value, json};

use crate::failover::{by_source, write_files};
use crate::main_job::{Market, PROGRAM, market};
use crate::reload::reload;

/// Longer than any test: only a reload ends a wait of this length.
const FOREVER_MS: u64 = 600_000;

/// Writes the configuration file and reloads it. The file watch may reload it before the command arrives.
pub fn change(scene: &Scene, id: &str) {
    scene.write_config("n1");
    let answer = reload(scene, id);
    assert_ne!(answer["data"]["event"], "RELOAD_REFUSED", "{answer}");
}

/// Waits for an answer of the worker; work that was due before the request is done by then.
fn await_heartbeat_test(scene: &Scene, id: &str) -> Value {
    scene.order("heartbeat_test", None, id);
    wait_for("the answer to heartbeat_test", TIMEOUT, || scene.notifications_with("correlation_id", id).pop())
}

/// Codes without the one that a reload probes Tushare with, and settings by which each task sends one request.
fn plain_tasks(name: &str, num_codes: usize) -> (Vec<String>, Scene) {
    let Market { mut codes, data, .. } = market(num_codes + 1, 3);
    codes.retain(|code| code != "000001.SZ");
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("fetch.whole_days_from_tasks", 0).set("quality.ask_suspensions", false);
    (codes, scene)
}

/// Number of requests for exactly one of these securities.
fn requests(server: &TushareServer, codes: &[String]) -> u64 {
    codes.iter().map(|code| server.requests_of(code)).sum()
}

/// Asserts that every command is committed, every row is stored once and there are no dead letters.
pub fn assert_nothing_lost(scene: &Scene, codes: &[String]) {
    scene.wait_until_committed();
    scene.assert_exact(codes);
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn the_log_level_shows_lines_and_hides_them() {
    let Market { codes, data, .. } = market(2, 2);
    let mut scene = Scene::new("level", PROGRAM, data);
    scene.set("log.level", "debug");
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let begun = |id: &str| {
        worker.log_text().lines().filter(|line| line.contains(id) && line.contains("command begins")).count()
    };
    let command = |code: &str, id: &str| {
        json!({"command": "bar_snapshot", "params": {"code": code}, "correlation_id": id}).to_string().into_bytes()
    };
    scene.send(&[command(&codes[0], "shown-command")]);
    scene.wait_until_committed();
    assert_eq!(begun("shown-command"), 1);
    scene.set("log.level", "error");
    change(&scene, "level");
    scene.send(&[command(&codes[1], "hidden-command")]);
    assert_nothing_lost(&scene, &codes);
    assert_eq!(begun("hidden-command"), 0);
}

#[test]
fn reload_applies_flush_interval_and_batch_size() {
    let Market { codes, data, .. } = market(19, 10);
    let mut scene = Scene::new("batches", PROGRAM, data);
    let interval = |scene: &mut Scene, ms: u64| {
        let names = ["batch.flush_interval_ms", "batch.idle_flush_ms", "batch.max_wait_ms"];
        for name in names {
            scene.set(name, ms);
        }
    };
    interval(&mut scene, FOREVER_MS);
    scene.set("quality.keep_reports", false); // their INSERTs would be counted
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..10], "");
    wait_until("all codes are fetched", TIMEOUT, || requests(&scene.source, &codes[..10]) == 10);
    let waiting = wait_for("rows in memory", TIMEOUT, || {
        Some(await_heartbeat_test(&scene, "waiting")).filter(|_| scene.source.requests() >= 10)
    });
    assert_eq!(waiting["data"]["bars_written"], 0, "{waiting}");
    assert_eq!((scene.database.count(), scene.committed()), (0, vec![0; 4]));
    interval(&mut scene, 100);
    change(&scene, "interval");
    assert_nothing_lost(&scene, &codes[..10]);
    let before = scene.database.statements()["insert"];

    // With an endless interval only full batches are written: ninety rows in batches of thirty.
    interval(&mut scene, FOREVER_MS);
    scene.set("batch.due_rows", 30).set("batch.max_rows", 30).set("batch.min_rows", 30);
    change(&scene, "size");
    scene.send_snapshots(&codes[10..], "");
    assert_nothing_lost(&scene, &codes);
    assert_eq!(scene.database.statements()["insert"] - before, 3);
}

#[test]
fn reload_raises_concurrency_beside_running_fetch() {
    let (codes, mut scene) = plain_tasks("concurrency", 8);
    scene.set("fetch.max_in_flight", 1);
    scene.source.set_fault(Fault::Hang, FaultDuration::UntilCleared);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("the first fetch", TIMEOUT, || requests(&scene.source, &codes) == 1);
    await_heartbeat_test(&scene, "one");
    assert_eq!(requests(&scene.source, &codes), 1);
    scene.set("fetch.max_in_flight", 5);
    change(&scene, "five");
    wait_until("five fetches", TIMEOUT, || requests(&scene.source, &codes) >= 5);
    await_heartbeat_test(&scene, "still five");
    assert_eq!(requests(&scene.source, &codes), 5);
    scene.source.clear_fault();
    assert_nothing_lost(&scene, &codes);
}

#[test]
fn reload_applies_retry_delay_and_attempts() {
    let (codes, mut scene) = plain_tasks("retries", 3);
    let delay = |scene: &mut Scene, ms: u64| {
        scene.set("fetch.first_retry_delay_ms", ms).set("fetch.max_retry_delay_ms", ms);
    };
    delay(&mut scene, FOREVER_MS);
    scene.source.set_fault(Fault::Status(500, None), FaultDuration::Next(1));
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..1], "");
    wait_until("the first attempt", TIMEOUT, || scene.source.rejected() == 1);
    await_heartbeat_test(&scene, "waiting");
    assert_eq!((scene.source.requests(), scene.committed()), (1, vec![0; 4]));
    delay(&mut scene, 50);
    change(&scene, "delays");
    assert_nothing_lost(&scene, &codes[..1]);
    assert_eq!(scene.source.requests(), 2);

    // Fewer attempts: the pending attempt is the last one.
    delay(&mut scene, FOREVER_MS);
    change(&scene, "long again");
    scene.source.set_fault(Fault::Status(500, None), FaultDuration::UntilCleared);
    scene.send_snapshots(&codes[1..2], "");
    wait_until("its first attempt", TIMEOUT, || scene.source.rejected() == 2);
    scene.set("fetch.max_attempts", 2);
    change(&scene, "two attempts");
    scene.wait_until_committed();
    scene.set("fetch.max_attempts", 1);
    change(&scene, "one attempt");
    scene.send_snapshots(&codes[2..], "");
    scene.wait_until_committed();
    let attempts: Vec<_> = scene.dead_letters().iter().map(|letter| letter.headers["dlq.attempts"].clone()).collect();
    assert_eq!((attempts, scene.source.rejected()), (vec!["2".to_owned(), "1".to_owned()], 4));
}

#[test]
fn tasks_that_wait_for_a_limit_go_on_by_the_new_one() {
    let (codes, mut scene) = plain_tasks("raised", 12);
    // One request immediately, the next one after 80 s.
    scene.set("sources.tushare.requests_per_minute", 1);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..6], "");
    wait_until("the first request", TIMEOUT, || scene.source.requests() == 1);
    await_heartbeat_test(&scene, "slow");
    assert_eq!(scene.source.requests(), 1);
    let begun = Instant::now();
    scene.set("sources.tushare.requests_per_minute", 0);
    change(&scene, "no limit");
    assert_nothing_lost(&scene, &codes[..6]);
    assert!(begun.elapsed() < Duration::from_secs(60), "the old limit is 80 s per request: {:?}", begun.elapsed());
    assert_eq!(requests(&scene.source, &codes), 6, "each task sends one request");

    // The limit of concurrent requests behaves the same. The slow request is not aborted.
    scene.set("sources.tushare.max_concurrent", 1);
    change(&scene, "one at once");
    scene.source.set_fault(Fault::Slow(Duration::from_secs(5)), FaultDuration::Next(1));
    scene.send_snapshots(&codes[6..], "");
    wait_until("the slow request", TIMEOUT, || requests(&scene.source, &codes) == 7);
    scene.set("sources.tushare.max_concurrent", 8);
    change(&scene, "eight at once");
    wait_until("the other requests overtake it", TIMEOUT, || requests(&scene.source, &codes) == 12);
    assert_nothing_lost(&scene, &codes);
    assert_eq!((requests(&scene.source, &codes), scene.source.rejected()), (12, 0));
}

#[test]
fn reload_keeps_used_daily_quota() {
    let (codes, mut scene) = plain_tasks("day", 12);
    scene.set("sources.tushare.requests_per_day", 5);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("the requests of the daily quota", TIMEOUT, || requests(&scene.source, &codes) == 5);
    scene.set("sources.pause_ms", 4_000);
    change(&scene, "another setting");
    await_heartbeat_test(&scene, "waits");
    scene.set("sources.tushare.requests_per_day", 7);
    change(&scene, "two more");
    wait_until("two more requests", TIMEOUT, || requests(&scene.source, &codes) >= 7);
    await_heartbeat_test(&scene, "waits again");
    assert_eq!(requests(&scene.source, &codes), 7);
    scene.set("sources.tushare.requests_per_day", 0);
    change(&scene, "no limit");
    assert_nothing_lost(&scene, &codes);
    assert_eq!((requests(&scene.source, &codes), scene.source.rejected()), (12, 0));
}

#[test]
fn another_order_of_sources_asks_the_new_first_one() {
    let Market { codes, data, last_day } = market(5, 4);
    let mut scene = Scene::new("order", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    assert_eq!(by_source(&scene), "7\t20");
    scene.source.append_day(last_day);
    let folder = write_files(&scene, &codes[..4]);
    scene
        .set("sources.bars", "[files, tushare]")
        .set("sources.files.folder", folder.display())
        .set("sources.files.volume_unit", "lots")
        .set("sources.files.amount_unit", "thousand_yuan");
    change(&scene, "files first");
    let before = requests(&scene.source, &codes);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    // Files serve four codes; the fifth file does not exist.
    assert_eq!(by_source(&scene), "0\t4\n7\t21");
    assert_eq!(requests(&scene.source, &codes), before + 1);
    scene.set("sources.bars", "[tushare]");
    change(&scene, "tushare again");
    scene.send_snapshots(&codes, r#""full":true"#);
    assert_nothing_lost(&scene, &codes);
    assert_eq!(by_source(&scene), "7\t25");
}

#[test]
fn reload_retries_failed_tasks_at_new_address() {
    let (codes, mut scene) = plain_tasks("address", 10);
    let days: Vec<_> = scene.source.rows(&codes[0]).iter().map(|row| row.date).collect();
    let other = TushareServer::start(Dataset::generated(&codes, &days)).unwrap();
    // Only the reload ends the wait for the second attempt.
    scene.set("fetch.first_retry_delay_ms", FOREVER_MS).set("fetch.max_retry_delay_ms", FOREVER_MS);
    scene.source.set_fault(Fault::Down, FaultDuration::UntilCleared);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("all have failed once", TIMEOUT, || scene.source.rejected() == 10);
    scene.set("sources.tushare.url", other.url());
    change(&scene, "address");
    assert_nothing_lost(&scene, &codes);
    assert_eq!((requests(&other, &codes), scene.source.rejected()), (10, 10));
}

#[test]
fn a_new_threshold_makes_an_alert_of_the_same_figures() {
    let Market { codes, data, .. } = market(10, 10);
    let mut scene = Scene::new("threshold", PROGRAM, data);
    for code in &codes {
        let mut rows = scene.source.rows(code);
        rows.remove(4);
        scene.source.set_rows(code, rows);
    }
    scene.set("quality.report_interval_ms", 1_000).set("quality.ask_suspensions", false);
    scene.set("quality.alerts.missing_warning_percent", 90).set("quality.alerts.missing_error_percent", 95);
    let _worker = scene.start("n1");
    let (first, last) = (scene.source.rows(&codes[0])[0].date, scene.source.rows(&codes[0])[8].date);
    let days =
        format!(r#""full":true,"start_date":"{}","end_date":"{}""#, first.format("%Y%m%d"), last.format("%Y%m%d"));
    let missing = |scene: &Scene| -> u64 {
        let reports = scene.notifications_with("report_kind", "interval");
        reports.iter().filter_map(|report| report["data"]["records_missing"].as_u64()).sum()
    };
    scene.send_snapshots(&codes, &days);
    scene.wait_until_committed();
    wait_until("the missing days in reports", TIMEOUT, || missing(&scene) == 10);
    assert_eq!(scene.notifications_with("alert_type", "data_missing").len(), 0);
    scene.set("quality.alerts.missing_warning_percent", 5);
    change(&scene, "threshold");
    scene.send_snapshots(&codes, &days);
    wait_until("the missing days in reports", TIMEOUT, || missing(&scene) == 20);
    wait_until("the alert", TIMEOUT, || !scene.notifications_with("alert_type", "data_missing").is_empty());
    let alert = scene.notifications_with("alert_type", "data_missing").remove(0);
    assert_eq!((&alert["level"], &alert["data"]["threshold"]), (&json!("WARNING"), &json!(5.0)), "{alert}");
    assert_nothing_lost(&scene, &codes);
}

#[test]
fn stop_uses_newest_drain_deadline() {
    let Market { codes, data, .. } = market(2, 2);
    let mut scene = Scene::new("deadline", PROGRAM, data);
    scene.set("worker.drain_deadline_ms", FOREVER_MS);
    scene.source.set_fault(Fault::Hang, FaultDuration::UntilCleared);
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("the fetches", TIMEOUT, || requests(&scene.source, &codes) == 2);
    scene.set("worker.drain_deadline_ms", 300);
    change(&scene, "deadline");
    worker.terminate();
    assert_eq!(worker.wait(Duration::from_secs(20)).code(), Some(2), "exit code 2: not drained in time");
    scene.source.clear_fault();
    let _next = scene.start("n1");
    assert_nothing_lost(&scene, &codes);
}
