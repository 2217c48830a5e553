// Upstream: none
// Downstream: kit, main_job
// Role: Tests `data-worker send`: commands and control commands from a shell, followed to their outcome.

use std::process::{Command, Output};
use std::time::Duration;

use kit::scene::Scene;

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
    let (code, said) = send(&scene, &["--wait", "bar_snapshot", "--param", "start_date=20240230"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("dead letter") && said.contains("params.start_date"), "{said}");
    let (code, said) = send(&scene, &["--wait", "make_coffee"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("unknown command `make_coffee`"), "{said}");
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
