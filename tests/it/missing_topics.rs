// Upstream: none
// Downstream: http, kit, main_job
// Role: Tests workers whose topics do not exist: the worker creates its own, and names each missing one everywhere.

use std::process::Command;

use kit::http::get;
use kit::scene::{Scene, TIMEOUT, needs_apache_kafka};
use kit::wait::{wait_for, wait_until};

use crate::http::address;
use crate::main_job::{Market, PROGRAM, market};

fn scene(name: &str) -> Scene {
    Scene::new(name, PROGRAM, market(2, 3).data)
}

/// Exit code and output of `config check --connect`.
fn check(scene: &Scene) -> (Option<i32>, String) {
    let file = scene.write_config("checker");
    let mut program = Command::new(PROGRAM);
    program.args(["config", "check", "--connect"]).arg(file).env("GINKGO_DIR", scene.folder());
    let output = program.output().expect("the program runs");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

fn reasons(address: &str) -> String {
    get(address, "/readyz").json()["reasons"].to_string()
}

#[test]
fn a_deleted_dead_letter_topic_is_created_again() {
    if !needs_apache_kafka("deletion of topics") {
        return;
    }
    let Market { codes, data, .. } = market(2, 3);
    let mut scene = Scene::new("dlqagain", PROGRAM, data);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let topic = format!("{}.dlq", scene.name);
    scene.broker.delete_topics(&[&topic]);
    wait_until("the topic is created", TIMEOUT, || worker.log_text().contains("topic created"));
    scene.send(&[b"{".to_vec()]);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let alert = wait_for("the alert", TIMEOUT, || scene.notifications_with("alert_type", "command_error").pop());
    assert!(
        alert["content"].as_str().unwrap().starts_with("1 command rejected and recorded as dead letters"),
        "{alert}"
    );
}

#[test]
fn a_missing_dead_letter_topic_is_named_everywhere() {
    if !needs_apache_kafka("deletion of topics") {
        return;
    }
    let mut scene = scene("dlqmissing");
    scene.list_codes(&[]);
    scene.set("kafka.create_topics", false).set("heartbeat.interval_ms", 1_000);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    let topic = format!("{}.dlq", scene.name);
    scene.broker.delete_topics(&[&topic]);
    scene.broker.wait_until_gone(&topic);
    scene.send(&[b"{".to_vec()]);
    let named = format!("the topic {topic} does not exist; create it, or see kafka.dead_letter_topic");
    wait_until("it is not ready", TIMEOUT, || reasons(&address).contains(&named));
    let alert = wait_for("the alert", TIMEOUT, || scene.notifications_with("alert_type", "worker_error").pop());
    assert!(alert["content"].as_str().unwrap().contains(&named), "{alert}");
    let refused = wait_for("the refusal", TIMEOUT, || scene.notifications_with("alert_type", "command_error").pop());
    let text = refused["content"].as_str().unwrap();
    assert!(
        text.contains("1 command not recorded as dead letters yet") && !text.contains("rejected and recorded"),
        "{text}"
    );
    let (code, said) = check(&scene);
    assert_eq!(code, Some(1), "{said}");
    let kafka = said.lines().find(|line| line.contains("Kafka")).unwrap();
    assert!(kafka.starts_with("FAILED") && kafka.contains(&named), "{kafka}");
    // Where the broker allows it, the worker creates the topic.
    scene.set("kafka.create_topics", true);
    let (code, said) = check(&scene);
    assert!(said.contains(&format!("the topic {topic} does not exist; the worker creates it")), "{said}");
    assert_eq!(code, Some(0), "{said}");
    scene.broker.create_topics(&[(&topic, 1)]);
    wait_until("the refused command is a dead letter", TIMEOUT, || scene.dead_letters().len() == 1);
    wait_until("it is ready", TIMEOUT, || get(&address, "/readyz").status == 200);
}

#[test]
fn missing_command_topics_are_named_in_the_words_of_send() {
    let mut scene = scene("nocommands");
    let missing = format!("{}.nothing", scene.name);
    scene.set("kafka.command_topics", format!("[{missing}]")).set("kafka.parts_topic", &missing);
    scene.set("heartbeat.interval_ms", 1_000);
    let worker = scene.start("n1");
    let address = address(&scene, "n1");
    let named =
        format!("the topic {missing} does not exist; create it, or see kafka.command_topics and kafka.control_topic");
    wait_until("readiness names it", TIMEOUT, || reasons(&address).contains(&named));
    wait_until("the log names it", TIMEOUT, || worker.log_text().contains(&named));
    wait_until("the heartbeat names it", TIMEOUT, || {
        scene.heartbeat("n1").is_some_and(|(beat, _)| beat["stats"]["last_error"].to_string().contains(&named))
    });
    let (code, said) = check(&scene);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.lines().any(|line| line.starts_with("FAILED") && line.contains(&named)), "{said}");
}

#[test]
fn the_first_send_waits_for_topics_that_a_worker_creates() {
    if !needs_apache_kafka("creation of topics by a client") {
        return;
    }
    let Market { codes, data, .. } = market(1, 3);
    let mut scene = Scene::new("firstsend", PROGRAM, data);
    scene.set("kafka.notification_topic", format!("{}.unborn", scene.name));
    let _worker = scene.start("n1");
    let file = scene.write_config("sender");
    let mut program = Command::new(PROGRAM);
    program.args(["send", "--wait", "bar_snapshot", "--code", &codes[0], "--config"]).arg(file);
    let output = program.env("GINKGO_DIR", scene.folder()).output().expect("the program runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(said.contains("done: 3 fetched, 3 written"), "{said}");
    let alerts = scene.notifications_with("alert_type", "worker_error");
    assert!(alerts.is_empty(), "a topic that is about to be created is no fault: {alerts:?}");
}
