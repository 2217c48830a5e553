// Upstream: tests::it::config_cli
// Downstream: kit::scene, kit::tushare_data, kit::wait
// Role: The main job, whole: commands on real Kafka become exact rows in the real engine, whatever is killed meanwhile.

use std::time::Duration;

use kit::scene::{PATIENCE, Scene};
use kit::tushare_data::{Dataset, codes, last_trading_days};
use kit::wait::wait_until;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_data-worker");

/// A market of so many codes and days, up to today.
pub fn market(num_codes: usize, num_days: usize) -> (Vec<String>, Dataset) {
    let codes = codes(num_codes);
    let days = last_trading_days(chrono::Utc::now().date_naive(), num_days);
    let data = Dataset::generated(&codes, &days);
    (codes, data)
}

#[test]
fn two_hundred_commands_become_exact_rows_in_few_inserts() {
    let (codes, data) = market(200, 3);
    let mut scene = Scene::new("exact", PROGRAM, data);
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);

    // The increment: one new row a code.
    scene.source.append_day(chrono::Utc::now().date_naive());
    let before = scene.database.statements();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let after = scene.database.statements();
    let inserts = after["insert"] - before["insert"];
    assert!((1..=12).contains(&inserts), "{inserts} INSERTs for 200 one-row increments");
    assert_eq!(after["delete"], 0, "an increment deletes nothing");

    let (heartbeat, ttl) = scene.heartbeat("n1").expect("a heartbeat");
    assert!((1..=30).contains(&ttl), "TTL {ttl}");
    assert_eq!(heartbeat["node_id"], "n1");
    assert_eq!(scene.dead_letters().len(), 0);

    worker.terminate();
    let status = worker.wait(Duration::from_secs(25));
    assert_eq!(status.code(), Some(0));
    assert!(scene.heartbeat("n1").is_none(), "the heartbeat is removed at a graceful stop");
    let events: Vec<String> = scene
        .notifications()
        .iter()
        .filter_map(|message| message["data"]["event"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(events, ["STARTED", "STOPPED"]);
    let report = scene.notifications().into_iter().find(|message| message["type"] == "data_quality_report");
    let report = report.expect("one summary");
    assert_eq!(report["data"]["records_written"], 800);
    assert_eq!(report["message_type"], "custom_fields");
}

#[test]
fn a_worker_killed_in_mid_run_loses_nothing_and_doubles_nothing() {
    let (codes, data) = market(300, 60);
    let mut scene = Scene::new("killed", PROGRAM, data);
    scene.set("batch.max_rows", 1000).set("fetch.max_in_flight", 4);
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    for round in 1..=3 {
        let enough = round * 4000;
        wait_until("some rows", PATIENCE, || scene.database.count() >= enough);
        worker.kill();
        worker = scene.start("n1");
    }
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert!(worker.is_running());
}
