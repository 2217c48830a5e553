// Upstream: none
// Downstream: kit, main_job
// Role: Tests command topics that are deleted and created again, or lose records to retention.

use kit::scene::{PARTITIONS, Scene, TIMEOUT};
use kit::wait::wait_until;

use crate::main_job::{Market, PROGRAM, market};

/// Sends commands without counting them: the offsets of a new topic begin at 0 again.
fn send(scene: &Scene, codes: &[String]) {
    let command = |code: &String| format!(r#"{{"command":"bar_snapshot","params":{{"code":"{code}"}}}}"#).into_bytes();
    scene.broker.send(&scene.topic(), &codes.iter().map(command).collect::<Vec<_>>(), PARTITIONS);
}

fn wait_for_rows_of(scene: &Scene, codes: &[String]) {
    let expected = scene.expected(codes).len() as u64;
    wait_until("the rows of all commands", TIMEOUT, || scene.database.count() == expected);
    scene.assert_exact(codes);
}

fn breaks(scene: &Scene) -> Vec<String> {
    let alerts = scene.notifications_with("alert_type", "command_log");
    alerts.iter().map(|alert| alert["data"]["reason"].to_string()).collect()
}

#[test]
fn commands_of_a_topic_created_again_before_a_restart_are_done() {
    let Market { codes, data, .. } = market(40, 5);
    let mut scene = Scene::new("again1", PROGRAM, data);
    let mut first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..20], "");
    scene.wait_until_committed();
    scene.broker.create_again(&scene.topic(), PARTITIONS);
    send(&scene, &codes[20..30]);
    first.terminate();
    first.wait(TIMEOUT);
    send(&scene, &codes[30..]);
    let _second = scene.start("n1");
    wait_for_rows_of(&scene, &codes);
    wait_until("the alert", TIMEOUT, || !breaks(&scene).is_empty());
}

#[test]
fn commands_of_a_topic_created_again_while_it_is_read_are_done() {
    let Market { codes, data, .. } = market(40, 5);
    let mut scene = Scene::new("again2", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..20], "");
    scene.wait_until_committed();
    scene.broker.create_again(&scene.topic(), PARTITIONS);
    send(&scene, &codes[20..30]);
    wait_for_rows_of(&scene, &codes[..30]);
    // More than before, so the new log passes the old positions.
    send(&scene, &codes[30..]);
    wait_for_rows_of(&scene, &codes);
    wait_until("the alert", TIMEOUT, || !breaks(&scene).is_empty());
}

#[test]
fn records_that_retention_deleted_unread_are_reported() {
    let Market { codes, data, .. } = market(24, 5);
    let mut scene = Scene::new("retention", PROGRAM, data);
    let mut first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..8], "");
    scene.wait_until_committed();
    first.terminate();
    first.wait(TIMEOUT);
    scene.send_snapshots(&codes[8..], "");
    // Each partition has two commands that are done and four that are not.
    scene.broker.delete_records(&scene.topic(), 1, 4);
    let _second = scene.start("n1");
    scene.wait_until_committed();
    wait_until("the alert", TIMEOUT, || !breaks(&scene).is_empty());
    let reasons = breaks(&scene);
    assert!(reasons.len() == 1 && reasons[0].contains("[1]: the broker deleted the records 2 to 3"), "{reasons:?}");
}
