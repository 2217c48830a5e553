// Upstream: none
// Downstream: kit, main_job
// Role: Tests command topics that are deleted and created again, or lose records to retention.

use kit::scene::{PARTITIONS, Scene, TIMEOUT, needs_apache_kafka};
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
    if !needs_apache_kafka("ids of topics") {
        return;
    }
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
    if !needs_apache_kafka("ids of topics") {
        return;
    }
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
    if !needs_apache_kafka("deletion of records") {
        return;
    }
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

#[test]
fn records_deleted_before_a_running_worker_reads_them_are_named() {
    if !needs_apache_kafka("deletion of records") {
        return;
    }
    let Market { codes, data, .. } = market(24, 5);
    let mut scene = Scene::new("retained", PROGRAM, data);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..8], "");
    scene.wait_until_committed();
    scene.order("pause", None, "pause");
    wait_until("the consumer is paused", TIMEOUT, || worker.log_text().contains("consumption paused or resumed"));
    scene.send_snapshots(&codes[8..], "");
    // Each partition has two commands that are done and four that are not.
    scene.broker.delete_records(&scene.topic(), 1, 4);
    scene.broker.delete_records(&scene.topic(), 2, 6);
    scene.order("resume", None, "resume");
    scene.wait_until_committed();
    wait_until("both alerts", TIMEOUT, || breaks(&scene).len() == 2);
    let reasons = breaks(&scene).concat();
    assert!(reasons.contains("[1]: the broker deleted the records 2 to 3 before they were read"), "{reasons}");
    assert!(reasons.contains("[2]: the broker deleted the records 2 to 5 before they were read"), "{reasons}");
    let kept = |index: usize| index < 8 || !matches!((index % 4, index / 4), (1, 2 | 3) | (2, 2..));
    let kept: Vec<String> =
        codes.iter().enumerate().filter(|(index, _)| kept(*index)).map(|(_, code)| code.clone()).collect();
    scene.assert_exact(&kept);
}

#[test]
fn a_position_behind_the_end_of_the_log_is_dropped_and_named() {
    if !needs_apache_kafka("commits without a member") {
        return;
    }
    let Market { codes, data, .. } = market(24, 5);
    let mut scene = Scene::new("truncated", PROGRAM, data);
    scene.send_snapshots(&codes[..8], "");
    // As after the loss of records that were committed: each partition ends at 2.
    scene.broker.commit(&format!("{}.group", scene.name), &scene.topic(), 1, 5);
    let _worker = scene.start("n1");
    scene.wait_until_committed();
    scene.assert_exact(&codes[..8]);
    wait_until("the alert", TIMEOUT, || !breaks(&scene).is_empty());
    let reasons = breaks(&scene);
    let expected = "[1]: the log ends at 2, before the committed offset 5: it was truncated";
    assert!(reasons.len() == 1 && reasons[0].contains(expected), "{reasons:?}");
    // The log passes the old position.
    scene.send_snapshots(&codes[8..], "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}
