// Upstream: none
// Downstream: http, kit, main_job
// Role: Tests a worker that has lost its share of the partitions: it says so, and it gets them back.

use kit::http::get;
use kit::scene::{PARTITIONS, Scene, TIMEOUT, needs_apache_kafka};
use kit::wait::wait_until;
use serde_json::Value;

use crate::http::address;
use crate::main_job::{Market, PROGRAM, market};

/// Whether the worker answers that it is not ready, with a reason that contains this text.
fn is_unready(address: &str, reason: &str) -> bool {
    let answer = get(address, "/readyz");
    answer.status == 503 && answer.json()["reasons"].to_string().contains(reason)
}

fn states_of_alert(scene: &Scene) -> Vec<Value> {
    let alerts = scene.notifications_with("alert_type", "worker_error");
    alerts.iter().map(|alert| alert["data"]["state"].clone()).collect()
}

/// The client leaves the group without a word, as librdkafka does after some losses of all brokers. `setting` makes the
/// worker a static or a dynamic member.
fn assert_returns(name: &str, is_static: bool) {
    let Market { codes, data, .. } = market(40, 5);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("kafka.static_membership", is_static).set("heartbeat.interval_ms", 200);
    let worker = scene.start_with("n1", &[("FAILPOINTS", "kafka::leaves=250*off->1*return")]);
    let address = address(&scene, "n1");
    wait_until("the worker says that it is no member", TIMEOUT, || is_unready(&address, "does not list this worker"));
    scene.wait_for_status("n1", "error");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    scene.wait_for_status("n1", "running");
    wait_until("the worker is ready", TIMEOUT, || get(&address, "/readyz").status == 200);
    wait_until("the alert is resolved", TIMEOUT, || states_of_alert(&scene) == ["raised", "resolved"]);
    assert!(worker.log_text().contains("subscribed again"), "it joined again");
}

#[test]
fn static_member_that_left_unnoticed_says_so_and_returns() {
    if !needs_apache_kafka("a description of the group") {
        return;
    }
    assert_returns("leftstatic", true);
}

#[test]
fn dynamic_member_that_left_unnoticed_says_so_and_returns() {
    if !needs_apache_kafka("a description of the group") {
        return;
    }
    assert_returns("leftdynamic", false);
}

#[test]
fn partitions_added_while_a_static_member_restarts_are_read() {
    if !needs_apache_kafka("static membership") {
        return;
    }
    let Market { codes, data, .. } = market(48, 5);
    let mut scene = Scene::new("added", PROGRAM, data);
    scene.set("kafka.static_membership", true);
    let mut first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    first.terminate();
    first.wait(TIMEOUT);
    let all = PARTITIONS + 4;
    scene.broker.add_partitions(&scene.topic(), all);
    let _second = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let commands = codes
        .iter()
        .map(|code| format!(r#"{{"command":"bar_snapshot","params":{{"code":"{code}","full":true}}}}"#).into_bytes());
    let commands: Vec<Vec<u8>> = commands.collect();
    scene.broker.send(&scene.topic(), &commands, all);
    let group = format!("{}.group", scene.name);
    wait_until("the commands of the new partitions are committed", TIMEOUT, || {
        scene.broker.committed(&group, &scene.topic(), all)[PARTITIONS as usize..] == [6; 4]
    });
    scene.assert_exact(&codes);
}
