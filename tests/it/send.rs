// Upstream: none
// Downstream: kit, main_job
// Role: Tests `data-worker send`: commands and control commands from a shell, followed to their outcome.

use std::process::{Command, Output};
use std::time::Duration;

use kit::scene::Scene;
use kit::tushare_server::{Fault, FaultDuration};

use crate::main_job::{Market, PROGRAM, market};

/// Runs `data-worker send` with the configuration of a node.
fn send(scene: &Scene, arguments: &[&str]) -> (Option<i32>, String) {
    let config = scene.write_config("sender");
    let Output { status, stdout, stderr } = Command::new(PROGRAM)
        .args(["send", "--config"])
        .arg(&config)
        .args(arguments)
        .env("GINKGO_DIR", scene.folder())
        .output()
        .expect("the program runs");
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

#[test]
fn wait_ends_when_done_or_dead_letter() {
    let Market { codes, data, .. } = market(3, 5);
    let scene = Scene::new("send", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let list = codes.join(",");
    let (code, said) = send(&scene, &["--wait", "bar_snapshot", "--code", &list, "--full"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches(": done").count(), 3, "one command per code, each done: {said}");
    scene.assert_exact(&codes);
    // What the worker would refuse is not sent.
    let sent = scene.broker.written(&scene.topic(), kit::scene::PARTITIONS);
    for (arguments, part) in [
        (["bar_snapshot", "--param", "start_date=20240230"], "params.start_date"),
        (["bar_snapshot", "--param", "startdate=20240102"], "no parameter `startdate`; is `start_date` meant?"),
        (["barsnapshot", "--param", "days=5"], "unknown command `barsnapshot`; is `bar_snapshot` meant?"),
        (["bar_snapshot", "--code", "coffee"], "is not a stock code"),
    ] {
        let (code, said) = send(&scene, &[&["--wait"], arguments.as_slice()].concat());
        assert_eq!((code, said.contains(part)), (Some(1), true), "{said}");
    }
    assert_eq!(scene.broker.written(&scene.topic(), kit::scene::PARTITIONS), sent);
    // A command without codes needs the list, which this scene does not have.
    scene.list_codes(&[]);
    let (code, said) = send(&scene, &["--wait", "bar_snapshot"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("dead letter") && said.contains("stock_info) is empty"), "{said}");
}

/// A scene in which a command for all codes becomes ten parts.
fn many_parts(name: &str) -> (Scene, Vec<String>) {
    let Market { codes, data, .. } = market(40, 5);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("fetch.max_codes_per_command", 4);
    scene.list_codes(&codes);
    (scene, codes)
}

#[test]
fn wait_follows_parts_to_their_ends() {
    let (scene, codes) = many_parts("sendparts");
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.source.set_fault(Fault::Slow(Duration::from_millis(20)), FaultDuration::UntilCleared);
    let (code, said) = send(&scene, &["--wait", "bar_snapshot"]);
    assert_eq!(code, Some(0), "{said}");
    // At the moment of the answer, not some time after it.
    scene.assert_exact(&codes);
    assert!(said.contains("split into 10 parts"), "{said}");
    assert!(said.contains("done: 200 fetched, 200 written, 0 unchanged, 0 skipped"), "{said}");
    let (code, said) = send(&scene, &["--wait", "bar_snapshot", "--full"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("done: 200 fetched, 0 written, 200 unchanged, 0 skipped"), "{said}");
    let (code, said) = send(&scene, &["--wait", "bar_snapshot", "--full", "--code", &codes[..2].join(",")]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("{}: done: 5 fetched, 0 written, 5 unchanged, 0 skipped", codes[0])), "{said}");
    let letters = scene.notifications_with("message_type", "custom_fields");
    assert!(letters.iter().all(|message| message["type"] != "data_command_outcomes"), "not for people");
}

#[test]
fn a_dead_part_is_a_failure_of_the_command() {
    let (scene, codes) = many_parts("senddeadparts");
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.source.set_fault(Fault::Refused(40001, "no such thing".to_owned()), FaultDuration::UntilCleared);
    let (code, said) = send(&scene, &["--wait", "bar_snapshot"]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said.matches("dead letter: 4 tasks failed").count(), 10, "{said}");
    assert!(said.contains("10 of 10 parts failed"), "{said}");
    scene.source.clear_fault();
    let (code, said) = send(&scene, &["--wait", "bar_snapshot"]);
    assert_eq!(code, Some(0), "{said}");
    scene.assert_exact(&codes);
}

#[test]
fn an_order_is_answered_by_the_workers_it_concerns() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("send_order", PROGRAM, data);
    let mut first = scene.start("n1");
    let mut second = scene.start("n2");
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");
    let (code, said) = send(&scene, &["--wait", "heartbeat_test"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("n1: HEARTBEAT") && said.contains("n2: HEARTBEAT"), "{said}");
    let (code, said) = send(&scene, &["--wait", "reload", "--node", "n2"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("n2: RELOAD_UNCHANGED") && !said.contains("n1: "), "{said}");
    scene.write_raw_config("n1", "batch: nonsense\n");
    let (code, said) = send(&scene, &["--wait", "reload", "--node", "n1"]);
    assert_eq!(code, Some(1), "a refused reload is a failure: {said}");
    assert!(said.contains("n1: RELOAD_REFUSED") && said.contains("line 1: batch"), "{said}");
    let (code, said) = send(&scene, &["--wait", "stop", "--node", "n1"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("n1: STOPPED"), "{said}");
    assert_eq!(first.wait(Duration::from_secs(20)).code(), Some(0));
    assert!(second.is_running());
    let (code, _) = send(&scene, &["stop"]);
    assert_eq!((code, second.wait(Duration::from_secs(20)).code()), (Some(0), Some(0)));
}

#[test]
fn without_a_worker_the_wait_ends_and_says_so() {
    let Market { codes, data, .. } = market(1, 1);
    let scene = Scene::new("send_nobody", PROGRAM, data);
    let (code, said) = send(&scene, &["--wait", "--timeout", "2", "bar_snapshot", "--code", &codes[0]]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no outcome within 2 s"), "{said}");
    let (code, said) = send(&scene, &["--wait", "--timeout", "2", "reload", "--node", "nobody"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no answer within 2 s"), "{said}");
}
