// Upstream: none
// Downstream: http, kit, main_job
// Role: Tests topics that cannot be read: the worker names topic, partition and offset until they can.

use std::process::{Command, Output};

use kit::http::get;
use kit::kafka::Broker;
use kit::scene::{PARTITIONS, Scene, TIMEOUT, needs_apache_kafka};
use kit::segment::DamagedBatch;
use kit::wait::wait_until;
use serde_json::Value;

use crate::http::address;
use crate::main_job::{Market, PROGRAM, market};

fn commands(codes: &[String]) -> Vec<Vec<u8>> {
    let command = |code: &String| format!(r#"{{"command":"bar_snapshot","params":{{"code":"{code}"}}}}"#).into_bytes();
    codes.iter().map(command).collect()
}

/// Whether the worker is not ready for a reason with this text, and its heartbeat says error.
fn is_at_fault(scene: &Scene, address: &str, reason: &str) -> bool {
    let answer = get(address, "/readyz");
    let reasons = answer.json()["reasons"].to_string();
    answer.status == 503 && reasons.contains(reason) && scene.status("n1").as_deref() == Some("error")
}

fn is_well(scene: &Scene, address: &str) -> bool {
    get(address, "/readyz").status == 200 && scene.status("n1").as_deref() == Some("running")
}

/// States and reasons of the alerts on this worker.
fn alerts(scene: &Scene) -> Vec<(Value, String)> {
    let alerts = scene.notifications_with("alert_type", "worker_error");
    alerts.iter().map(|alert| (alert["data"]["state"].clone(), alert["data"]["reason"].to_string())).collect()
}

fn wait_until_alerted(scene: &Scene, reason: &str) {
    wait_until("the alert", TIMEOUT, || {
        alerts(scene).first().is_some_and(|(state, text)| state == "raised" && text.contains(reason))
    });
}

fn wait_until_resolved(scene: &Scene) {
    wait_until("the alert is resolved", TIMEOUT, || {
        let alerts = alerts(scene);
        alerts.len() == 2 && alerts[1].0 == "resolved"
    });
}

#[test]
fn commands_that_cannot_be_read_are_named_until_they_can() {
    if !needs_apache_kafka("files that hold its records") {
        return;
    }
    let Market { codes, data, .. } = market(40, 3);
    let mut scene = Scene::new("damaged", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 200);
    let compressing = Broker::compressing(&scene.broker.address, "gzip");
    compressing.send(&scene.topic(), &commands(&codes[..20]), 1);
    let damaged = DamagedBatch::damage(&scene.topic(), 0);
    scene.broker.send(&scene.topic(), &commands(&codes[20..]), PARTITIONS);
    let _worker = scene.start("n1");
    let address = address(&scene, "n1");
    let reason = format!("{}[0] cannot be read from offset 0 on: ", scene.topic());
    wait_until("the worker names what it cannot read", TIMEOUT, || is_at_fault(&scene, &address, &reason));
    wait_until_alerted(&scene, &reason);
    wait_until("the other partitions are done", TIMEOUT, || scene.committed() == [0, 5, 5, 5]);
    damaged.mend();
    wait_until("all is done", TIMEOUT, || scene.committed() == [25, 5, 5, 5]);
    scene.assert_exact(&codes);
    wait_until("the worker is well", TIMEOUT, || is_well(&scene, &address));
    wait_until_resolved(&scene);
}

#[test]
fn orders_that_cannot_be_read_are_named_until_they_can() {
    if !needs_apache_kafka("files that hold its records") {
        return;
    }
    let Market { data, .. } = market(1, 3);
    let mut scene = Scene::new("unheard", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 200);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    let topic = format!("{}.control", scene.name);
    worker.signal("STOP");
    let order = br#"{"command":"heartbeat_test","params":{},"correlation_id":"late"}"#.to_vec();
    Broker::compressing(&scene.broker.address, "gzip").send(&topic, &vec![order; 9], 1);
    let damaged = DamagedBatch::damage(&topic, 0);
    worker.signal("CONT");
    let reason = format!("operator orders are not heard: topic {topic}: partition 0 cannot be read from offset 0 on: ");
    wait_until("the worker names what it cannot read", TIMEOUT, || is_at_fault(&scene, &address, &reason));
    damaged.mend();
    wait_until("the orders are heard", TIMEOUT, || scene.notifications_with("correlation_id", "late").len() == 9);
    wait_until("the worker is well", TIMEOUT, || is_well(&scene, &address));
}

#[test]
fn a_deleted_command_topic_is_named_until_it_is_there_again() {
    if !needs_apache_kafka("an error for a topic that does not exist") {
        return;
    }
    let Market { codes, data, .. } = market(8, 3);
    let mut scene = Scene::new("deleted", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 200);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    scene.broker.delete_topics(&[&scene.topic()]);
    let reason = format!("commands cannot be read: topic {}: ", scene.topic());
    wait_until("the worker names the topic", TIMEOUT, || is_at_fault(&scene, &address, &reason));
    wait_until_alerted(&scene, &reason);
    scene.broker.create_topics(&[(&scene.topic(), PARTITIONS)]);
    scene.broker.send(&scene.topic(), &commands(&codes), PARTITIONS);
    let expected = scene.expected(&codes).len() as u64;
    wait_until("the new topic is read", TIMEOUT, || scene.database.count() == expected);
    wait_until("the worker is well", TIMEOUT, || is_well(&scene, &address));
    wait_until_resolved(&scene);
}

#[test]
fn a_deleted_topic_of_orders_is_named_until_it_is_there_again() {
    if !needs_apache_kafka("an error for a topic that does not exist") {
        return;
    }
    let Market { data, .. } = market(1, 3);
    let mut scene = Scene::new("noorders", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 200);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    let topic = format!("{}.control", scene.name);
    scene.broker.delete_topics(&[&topic]);
    let reason =
        format!("the topic {topic} does not exist; create it, or see kafka.command_topics and kafka.control_topic");
    wait_until("the worker names the topic", TIMEOUT, || is_at_fault(&scene, &address, &reason));
    wait_until_alerted(&scene, &reason);
    scene.broker.create_topics(&[(&topic, 2)]);
    // Sent before the worker has seen that the topic is there again.
    scene.order("heartbeat_test", None, "again");
    wait_until("the order is heard", TIMEOUT, || scene.notifications_with("correlation_id", "again").len() == 1);
    wait_until("the worker is well", TIMEOUT, || is_well(&scene, &address));
    wait_until_resolved(&scene);
}

#[test]
fn orders_of_a_topic_created_again_at_once_are_heard() {
    if !needs_apache_kafka("ids of topics") {
        return;
    }
    let Market { data, .. } = market(1, 3);
    let scene = Scene::new("neworders", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let topic = format!("{}.control", scene.name);
    for number in 0..3 {
        scene.order("heartbeat_test", None, &format!("before{number}"));
    }
    wait_until("all are heard", TIMEOUT, || scene.notifications_with("correlation_id", "before2").len() == 1);
    scene.broker.create_again(&topic, 2);
    scene.order("heartbeat_test", None, "after");
    wait_until("the order is heard", TIMEOUT, || scene.notifications_with("correlation_id", "after").len() == 1);
}

#[test]
fn reports_name_what_they_cannot_read() {
    if !needs_apache_kafka("files that hold its records") {
        return;
    }
    let Market { data, .. } = market(1, 3);
    let scene = Scene::new("unshown", PROGRAM, data);
    let topic = format!("{}.notifications", scene.name);
    let message = |number: i32| {
        format!(
            r#"{{"type":"data_collection_alert","severity":"ERROR","source":"n1","content":"number {number}","timestamp":"2026-08-10T01:02:03Z"}}"#
        )
        .into_bytes()
    };
    scene.broker.send(&topic, &[message(0)], 1);
    Broker::compressing(&scene.broker.address, "gzip").send(&topic, &(1..20).map(message).collect::<Vec<_>>(), 1);
    let damaged = DamagedBatch::damage(&topic, 0);
    let config = scene.write_config("reader");
    let shown = || -> Output {
        let mut program = Command::new(PROGRAM);
        program.args(["reports", "--config"]).arg(&config).env("GINKGO_DIR", scene.folder());
        program.output().expect("the program runs")
    };
    let output = shown();
    assert!(String::from_utf8_lossy(&output.stdout).contains("number 0"), "{output:?}");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains(&format!("{topic}[0] cannot be read from offset 1 on: ")), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
    damaged.mend();
    let output = shown();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).lines().count() == 20, "{output:?}");
}
