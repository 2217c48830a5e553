// Upstream: none
// Downstream: kit, main_job
// Role: Tests control commands for all workers or one: pause, resume, stop and heartbeat_test.

use std::time::Duration;

use kit::scene::{Scene, TIMEOUT};
use kit::wait::{wait_for, wait_until};
use serde_json::Value;

use crate::main_job::{Market, PROGRAM, market};

/// The workers' answers to a control command, by its id.
fn answers(scene: &Scene, id: &str) -> Vec<Value> {
    scene.notifications_with("correlation_id", id)
}

fn nodes(answers: &[Value]) -> Vec<&str> {
    let mut nodes: Vec<&str> = answers.iter().filter_map(|answer| answer["source"].as_str()).collect();
    nodes.sort_unstable();
    nodes
}

#[test]
fn an_order_reaches_every_worker_or_the_one_it_names() {
    let Market { codes, data, .. } = market(60, 3);
    let mut scene = Scene::new("orders", PROGRAM, data);
    let mut first = scene.start("n1");
    let mut second = scene.start("n2");
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");

    scene.order("heartbeat_test", None, "alive");
    wait_until("answers of both workers", TIMEOUT, || nodes(&answers(&scene, "alive")) == ["n1", "n2"]);
    assert!(answers(&scene, "alive").iter().all(|answer| answer["data"]["status"] == "running"));

    // Paused workers take no commands; resumed workers process all of them.
    scene.order("pause", None, "pause");
    wait_until("both answer to pause", TIMEOUT, || nodes(&answers(&scene, "pause")) == ["n1", "n2"]);
    let paused = |log: &str| log.contains("consumption paused or resumed");
    wait_until("both consumers are paused", TIMEOUT, || paused(&first.log_text()) && paused(&second.log_text()));
    scene.send_snapshots(&codes, "");
    scene.order("heartbeat_test", Some("n1"), "still");
    wait_until("the answer of the named worker", TIMEOUT, || !answers(&scene, "still").is_empty());
    assert_eq!(nodes(&answers(&scene, "still")), ["n1"], "only the named worker answers");
    assert_eq!(scene.source.requests(), 0, "a paused worker fetches nothing");
    assert_eq!(scene.committed(), [0; 4]);
    scene.order("resume", None, "resume");
    scene.wait_until_committed();
    scene.assert_exact(&codes);

    scene.order("stop", Some("n2"), "stop");
    assert_eq!(second.wait(Duration::from_secs(25)).code(), Some(0));
    assert!(first.is_running(), "only the named worker stops");
    scene.order("stop", None, "stop");
    assert_eq!(first.wait(Duration::from_secs(25)).code(), Some(0));
    assert_eq!(scene.dead_letters().len(), 0, "the consumer group ignores control commands");
}

#[test]
fn one_worker_pauses_while_the_other_works() {
    let Market { codes, data, .. } = market(40, 3);
    let mut scene = Scene::new("pause_one", PROGRAM, data);
    let first = scene.start("n1");
    let second = scene.start("n2");
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");
    scene.order("pause", Some("n1"), "pause");
    let paused = |log: &str| log.contains("consumption paused or resumed");
    wait_until("the first consumer is paused", TIMEOUT, || paused(&first.log_text()));
    scene.send_snapshots(&codes, "");
    // Each worker has two of the four partitions.
    let done = |scene: &Scene| scene.committed().iter().zip(scene.sent()).filter(|(done, sent)| done == sent).count();
    wait_until("the commands of the second worker", TIMEOUT, || done(&scene) == 2);
    assert_eq!(scene.committed().iter().filter(|offset| **offset == 0).count(), 2);
    assert!(!paused(&second.log_text()) && nodes(&answers(&scene, "pause")) == ["n1"]);
    scene.order("resume", Some("n1"), "resume");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    wait_until("the answer to resume", TIMEOUT, || nodes(&answers(&scene, "resume")) == ["n1"]);
}

#[test]
fn an_order_from_before_the_start_is_not_obeyed() {
    let Market { codes, data, .. } = market(4, 3);
    let mut scene = Scene::new("old_order", PROGRAM, data);
    scene.order("stop", None, "old");
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    scene.order("heartbeat_test", None, "alive");
    let alive = wait_for("the answer", TIMEOUT, || answers(&scene, "alive").pop());
    assert_eq!(alive["data"]["event"], "HEARTBEAT");
    assert!(worker.is_running());
}
