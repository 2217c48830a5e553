// Upstream: none
// Downstream: kit, main_job
// Role: Tests several workers in one group that join, leave and die during a run: the stored rows are exact.

use std::time::Duration;

use kit::scene::{Scene, TIMEOUT};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

fn scene_of_slow_work(name: &str, num_codes: usize) -> (Scene, Vec<String>) {
    let Market { codes, data, .. } = market(num_codes, 10);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("fetch.max_in_flight", 4).set("batch.max_rows", 400).set("batch.min_rows", 100);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(100)), FaultDuration::UntilCleared);
    (scene, codes)
}

fn stats(scene: &Scene, node: &str, field: &str) -> u64 {
    scene.heartbeat(node).and_then(|(value, _)| value["stats"][field].as_u64()).unwrap_or(0)
}

#[test]
fn second_worker_joins_and_leaves_without_duplicates() {
    let (mut scene, codes) = scene_of_slow_work("joins", 600);
    scene.set("heartbeat.interval_ms", 200);
    let first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("the first worker has written rows", TIMEOUT, || scene.database.count() >= 400);
    let mut second = scene.start("n2");
    wait_until("the second worker has written rows", TIMEOUT, || stats(&scene, "n2", "bars_written") > 0);
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
    wait_until("both workers work", TIMEOUT, || {
        stats(&scene, "n1", "bars_written") > 0 && stats(&scene, "n2", "bars_written") > 0
    });
    second.kill();
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn two_workers_on_same_codes_store_rows_once() {
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
    scene.assert_exact(&codes);
}

#[test]
fn large_command_is_split_across_workers() {
    let Market { codes, data, .. } = market(2_000, 3);
    let mut scene = Scene::new("split", PROGRAM, data);
    scene.set("sources.tushare.requests_per_minute", 0);
    scene.list_codes(&codes);
    let workers = ["n1", "n2", "n3"].map(|node| scene.start(node));
    for node in ["n1", "n2", "n3"] {
        scene.wait_for_status(node, "running");
    }
    scene.send(&[br#"{"command":"update_data","params":{"days":5,"full":true},"correlation_id":"evening"}"#.to_vec()]);
    scene.wait_until_all_is_committed();
    scene.assert_exact(&codes);
    scene.order("heartbeat_test", None, "counts");
    let written = |node: &str| stats(&scene, node, "bars_written");
    wait_until("all rows in the heartbeats' counters", TIMEOUT, || {
        ["n1", "n2", "n3"].iter().map(|node| written(node)).sum::<u64>() >= 6_000
    });
    for node in ["n1", "n2", "n3"] {
        assert!(written(node) > 0, "{node} has written nothing");
    }
    let parts = scene.broker.records(&scene.topic(), 4);
    assert_eq!(parts.len(), 41, "the command and forty parts of fifty codes each");
    assert!(parts.iter().all(|part| String::from_utf8_lossy(&part.value).contains("evening")), "all carry the id");
    drop(workers);
}
