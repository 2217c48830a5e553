// Upstream: none
// Downstream: kit, main_job
// Role: Several workers in one group, joining, leaving and dying in mid-run: exact in the end.

use std::time::Duration;

use kit::scene::{Scene, TIMEOUT};
use kit::tushare_server::{Fault, Lasting};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

fn scene_of_slow_work(name: &str, num_codes: usize) -> (Scene, Vec<String>) {
    let Market { codes, data, .. } = market(num_codes, 10);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("fetch.max_in_flight", 4).set("batch.max_rows", 400).set("batch.min_rows", 100);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(100)), Lasting::UntilCleared);
    (scene, codes)
}

fn stats(scene: &Scene, node: &str, field: &str) -> u64 {
    scene.heartbeat(node).and_then(|(value, _)| value["stats"][field].as_u64()).unwrap_or(0)
}

#[test]
fn a_worker_that_joins_and_leaves_in_mid_run_takes_its_part_and_doubles_nothing() {
    let (mut scene, codes) = scene_of_slow_work("joins", 600);
    scene.set("heartbeat.interval_ms", 200);
    let first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("the first has begun", TIMEOUT, || scene.database.count() >= 400);
    let mut second = scene.start("n2");
    wait_until("the second works", TIMEOUT, || stats(&scene, "n2", "bars_written") > 0);
    second.terminate();
    assert_eq!(second.wait(Duration::from_secs(25)).code(), Some(0));
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    drop(first);
}

#[test]
fn a_worker_that_dies_is_replaced_by_the_others() {
    let (mut scene, codes) = scene_of_slow_work("dies", 400);
    scene.set("heartbeat.interval_ms", 200);
    let _first = scene.start("n1");
    let mut second = scene.start("n2");
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");
    scene.send_snapshots(&codes, "");
    wait_until("both work", TIMEOUT, || {
        stats(&scene, "n1", "bars_written") > 0 && stats(&scene, "n2", "bars_written") > 0
    });
    second.kill();
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn two_workers_on_the_same_codes_at_once_store_every_row_once() {
    let (mut scene, codes) = scene_of_slow_work("same", 60);
    scene.source.clear_fault();
    let _first = scene.start("n1");
    let _second = scene.start("n2");
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");
    for _ in 0..4 {
        scene.send_snapshots(&codes, "");
    }
    scene.wait_until_committed();
    let keys = "SELECT count() FROM (SELECT DISTINCT code, timestamp FROM bar)";
    assert_eq!(scene.database.query(keys).trim(), "600", "nothing is missing");
    let seen_by_readers = scene.database.query("SELECT count() FROM bar FINAL");
    assert_eq!(seen_by_readers.trim(), "600", "nothing is doubled");
}

#[test]
fn a_command_for_two_thousand_codes_is_split_and_every_worker_does_a_part() {
    let Market { codes, data, .. } = market(2_000, 3);
    let mut scene = Scene::new("split", PROGRAM, data);
    scene.list_codes(&codes);
    let workers = ["n1", "n2", "n3"].map(|node| scene.start(node));
    for node in ["n1", "n2", "n3"] {
        scene.wait_for_status(node, "running");
    }
    scene.send(&[br#"{"command":"update_data","params":{"days":5},"correlation_id":"evening"}"#.to_vec()]);
    scene.wait_until_all_is_committed();
    scene.assert_exact(&codes);
    scene.order("heartbeat_test", None, "counts");
    let written = |node: &str| stats(&scene, node, "bars_written");
    wait_until("all rows are counted", TIMEOUT, || {
        ["n1", "n2", "n3"].iter().map(|node| written(node)).sum::<u64>() >= 6_000
    });
    for node in ["n1", "n2", "n3"] {
        assert!(written(node) > 0, "{node} has done nothing");
    }
    let parts = scene.broker.records(&scene.topic(), 4);
    assert_eq!(parts.len(), 41, "the command and forty parts of fifty codes");
    assert!(parts.iter().all(|part| String::from_utf8_lossy(&part.value).contains("evening")), "all with its id");
    drop(workers);
}
