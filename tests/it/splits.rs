// Upstream: none
// Downstream: kit, main_job
// Role: Tests a split command whose worker dies or is taken for dead between two parts: each part is published once.

use std::collections::BTreeMap;

use kit::scene::{PARTITIONS, Scene, TIMEOUT, needs_apache_kafka};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

/// Parts of a command in these tests.
const PARTS: usize = 200;

/// A fail point that makes a worker publish a part in 20 ms, so that it stops between two parts.
const SLOWLY: &[(&str, &str)] = &[("FAILPOINTS", "kafka::part=sleep(20)")];

fn scene(name: &str) -> (Scene, Vec<String>) {
    let Market { codes, data, .. } = market(2 * PARTS, 3);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("fetch.max_codes_per_command", 2);
    scene.list_codes(&codes);
    (scene, codes)
}

fn send_command_for_all(scene: &mut Scene) {
    scene.send(&[br#"{"command":"bar_snapshot","params":{"full":true},"correlation_id":"evening"}"#.to_vec()]);
}

/// Waits until a worker has written this many parts more, and has not yet written all.
fn wait_for_parts(scene: &Scene, since: i64, more: i64) {
    let written = || scene.broker.written(&scene.topic(), PARTITIONS);
    wait_until("some of the parts are written", TIMEOUT, || written() >= since + more);
    assert!(written() < since + PARTS as i64, "the worker has more to write");
}

/// The records of the topic: the command and each part once.
fn assert_each_part_is_there_once(scene: &Scene, codes: &[String]) {
    let mut parts = BTreeMap::<Vec<u8>, usize>::new();
    for record in scene.broker.records(&scene.topic(), PARTITIONS) {
        *parts.entry(record.value).or_default() += 1;
    }
    let more: Vec<_> = parts.values().filter(|count| **count != 1).collect();
    assert!(more.is_empty(), "{} parts more than once: {more:?}", more.len());
    assert_eq!(parts.len(), PARTS + 1);
    scene.assert_exact(codes);
}

#[test]
fn a_worker_killed_between_two_parts_publishes_none_twice() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    let (mut scene, codes) = scene("splitkill");
    let mut worker = scene.start_with("n1", SLOWLY);
    scene.wait_for_status("n1", "running");
    send_command_for_all(&mut scene);
    // The second kill hits the second delivery of the command.
    for more in [20, 60] {
        let before = scene.broker.written(&scene.topic(), PARTITIONS);
        wait_for_parts(&scene, before, more);
        worker.kill();
        worker = scene.start_with("n1", SLOWLY);
    }
    worker.kill();
    let _worker = scene.start("n1");
    scene.wait_until_all_is_committed();
    assert_each_part_is_there_once(&scene, &codes);
}

/// The worker is killed after it has published all parts, and before the offset of the command is committed.
fn assert_delivered_again_adds_none(name: &str, in_transaction: bool) {
    let (mut scene, codes) = scene(name);
    scene.set("kafka.parts_in_transaction", in_transaction);
    scene.set("kafka.commit_interval_ms", 60_000);
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    send_command_for_all(&mut scene);
    wait_until("all parts are written", TIMEOUT, || {
        scene.broker.records(&scene.topic(), PARTITIONS).len() == PARTS + 1
    });
    worker.kill();
    assert_eq!(scene.committed(), [0; 4], "the command is delivered again");
    scene.set("kafka.commit_interval_ms", 200);
    let worker = scene.start("n1");
    scene.wait_until_all_is_committed();
    assert_each_part_is_there_once(&scene, &codes);
    assert!(worker.log_text().contains("the parts of this command are in the topic already"));
}

#[test]
fn a_command_delivered_again_after_its_parts_adds_none() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    assert_delivered_again_adds_none("splitagain", true);
}

#[test]
fn without_transactions_parts_that_are_there_are_not_added() {
    assert_delivered_again_adds_none("splitplain", false);
}

#[test]
fn without_transactions_only_missing_parts_are_added() {
    let (mut scene, codes) = scene("splitrest");
    scene.set("kafka.parts_in_transaction", false);
    let mut worker = scene.start_with("n1", SLOWLY);
    scene.wait_for_status("n1", "running");
    send_command_for_all(&mut scene);
    wait_for_parts(&scene, 1, 20);
    worker.kill();
    let _worker = scene.start("n1");
    scene.wait_until_all_is_committed();
    assert_each_part_is_there_once(&scene, &codes);
}

#[test]
fn a_worker_that_was_taken_for_dead_adds_no_part() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    let (mut scene, codes) = scene("splitzombie");
    let first = scene.start_with("n1", SLOWLY);
    scene.wait_for_status("n1", "running");
    send_command_for_all(&mut scene);
    wait_for_parts(&scene, 1, 20);
    first.signal("STOP");
    // The session of the first ends meanwhile, and the second publishes all parts.
    let _second = scene.start("n2");
    wait_until("the second worker has committed the command", TIMEOUT, || scene.committed()[0] > 0);
    first.signal("CONT");
    wait_until("the first has seen that it is shut out", TIMEOUT, || {
        first.log_text().contains("command parts not published yet")
    });
    scene.wait_until_all_is_committed();
    assert_each_part_is_there_once(&scene, &codes);
}
