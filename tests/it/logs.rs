// Upstream: none
// Downstream: http, kit, main_job
// Role: Tests a worker's log: Ginkgo's JSON format, command ids on its lines, limited repeats, text format, files.

use std::time::Duration;

use kit::scene::{Scene, TIMEOUT};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;
use serde_json::Value;

use crate::main_job::{Market, PROGRAM, market};

fn command(code: &str, ids: &str) -> Vec<u8> {
    format!(r#"{{"command":"bar_snapshot","params":{{"code":"{code}"}}{ids}}}"#).into_bytes()
}

#[test]
fn log_lines_of_a_task_carry_command_ids() {
    let Market { codes, data, .. } = market(3, 3);
    let mut scene = Scene::new("ids", PROGRAM, data);
    scene.set("log.level", "debug");
    scene.source.set_fault(Fault::Status(500, None), FaultDuration::UntilCleared);
    let mut worker = scene.start("n1");
    scene.send(&[
        command(&codes[0], r#","correlation_id":"c-0","trace_id":"t-0""#),
        command(&codes[1], r#","correlation_id":"c-1","trace_id":"t-1""#),
        command(&codes[2], ""),
    ]);
    scene.wait_until_committed();
    scene.source.clear_fault();
    scene.send(&[command(&codes[0], r#","correlation_id":"c-3","trace_id":"t-3""#)]);
    scene.wait_until_committed();
    worker.terminate();
    worker.wait(Duration::from_secs(25));

    let log = worker.log_text();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        assert_eq!(line["ginkgo"]["log_category"], "component", "{line}");
        assert!(line["@timestamp"].is_string() && line["message"].is_string(), "{line}");
        assert!(line["log"]["level"].is_string() && line["process"]["pid"].is_u64(), "{line}");
        let (logger, message) = (line["logger"].as_str().unwrap(), line["message"].as_str().unwrap());
        if ["actors", "data_worker"].iter().any(|own| logger.starts_with(own)) {
            assert!(message.contains(' ') && !line.to_string().contains(" { "), "a sentence, no Rust value: {line}");
        }
    }
    // All lines about the command: of the router, the fetcher and the dead letter.
    let of = |id: &str| -> Vec<&str> {
        let own = lines.iter().filter(|line| line["labels"]["command_id"] == id);
        own.map(|line| line["message"].as_str().unwrap()).collect()
    };
    let failing = ["command begins", "fetch failed, will retry", "fetch failed permanently", "dead letter recorded"];
    for (n, id) in ["c-0", "c-1"].iter().enumerate() {
        let words = of(id);
        assert!(failing.iter().all(|message| words.contains(message)), "{words:?}");
        let own = lines.iter().filter(|line| line["labels"]["command_id"] == *id);
        assert!(own.clone().all(|line| line["trace"]["id"] == format!("t-{n}")), "{:?}", own.collect::<Vec<_>>());
    }
    assert!(of("c-3").contains(&"command begins") && of("c-3").contains(&"command ends"), "{:?}", of("c-3"));
    let place = format!("{}[2]@0", scene.topic());
    assert!(of(&place).contains(&"fetch failed permanently"), "without an id, the record's position identifies it");
    // Every line about a task has ids.
    for line in lines.iter().filter(|line| line["labels"]["subject"].is_string()) {
        assert!(line["labels"]["command_id"].is_string() && line["labels"]["command"].is_string(), "{line}");
    }
}

#[test]
fn repeated_errors_are_log_limited_but_counted() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("repeats", PROGRAM, data);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send(&vec![b"not json".to_vec(); 300]);
    scene.wait_until_committed();
    assert_eq!(scene.dead_letters().len(), 300);
    let shown = worker.log_text().matches(r#""message":"dead letter recorded""#).count();
    // At most two windows of the repeat limit, or three on a machine that takes 20 s.
    assert!((20..=60).contains(&shown), "{shown} lines");
    let address = crate::http::address(&scene, "n1");
    let page = kit::exposition::Page::parse(&kit::http::get(&address, "/metrics").body);
    assert!((page.value("data_worker_dead_letters_total", &["bad_command"]) - 300.0).abs() < 0.5);
}

#[test]
fn text_is_for_people_and_holds_the_ids_too() {
    let Market { codes, data, .. } = market(1, 1);
    let mut scene = Scene::new("text", PROGRAM, data);
    scene.set("log.format", "text").set("log.level", "debug");
    let worker = scene.start("n1");
    scene.send(&[command(&codes[0], r#","correlation_id":"c-0","trace_id":"t-0""#)]);
    scene.wait_until_committed();
    wait_until("the command ends", TIMEOUT, || worker.log_text().contains("command ends"));
    let log = worker.log_text();
    let line = log.lines().find(|line| line.contains("command begins")).unwrap();
    assert!(!line.starts_with('{') && line.contains("c-0") && line.contains("t-0"), "{line}");
}

#[test]
fn workers_share_one_log_file_per_day() {
    let Market { codes, data, .. } = market(30, 3);
    let mut scene = Scene::new("folder", PROGRAM, data);
    let shared = tempfile::tempdir().unwrap();
    let folder = shared.path().join("logs");
    scene.set("log.level", "debug").set("log.folder", folder.display());
    let mut workers = [scene.start("n1"), scene.start("n2")];
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    for worker in &mut workers {
        worker.terminate();
        worker.wait(Duration::from_secs(25));
    }
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort(); // two files if midnight passes during the test
    let name = files[0].file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("data_worker.20") && name.ends_with(".log") && files.len() <= 2, "{files:?}");
    let text: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let output = workers.iter().map(|worker| worker.log_text()).collect::<String>();
    let (found, expected) = (sorted(&text), sorted(&output));
    assert!(expected.len() > 100 && found.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    let lacking = expected.iter().find(|line| !found.contains(line));
    assert!(found == expected, "{} lines in the folder, {} in the output: {lacking:?}", found.len(), expected.len());
}

#[test]
fn unwritable_log_folder_is_named_and_harmless() {
    let Market { codes, data, .. } = market(1, 3);
    let mut scene = Scene::new("nofolder", PROGRAM, data);
    let file = tempfile::NamedTempFile::new().unwrap();
    scene.set("log.folder", file.path().join("logs").display());
    let worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let log = worker.log_text();
    let line = log.lines().find(|line| line.contains("log.folder is not writable")).expect("a warning");
    assert!(line.contains("Not a directory") && line.contains(file.path().to_str().unwrap()), "{line}");
}
