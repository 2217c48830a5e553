// Upstream: none
// Downstream: kit, main_job
// Role: Tests that the trace ids of commands go on to parts, dead letters, replays, reports and price updates.

use std::collections::BTreeMap;
use std::process::Command;

use kit::kafka::Record;
use kit::scene::{Scene, TIMEOUT};
use kit::wait::wait_until;
use serde_json::{Value, json};

use crate::main_job::{Market, PROGRAM, market};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn send(scene: &Scene, value: impl ToString, pairs: &[(&str, &str)]) {
    let record = Record { value: value.to_string().into_bytes(), key: None, headers: headers(pairs) };
    scene.broker.send_record(&scene.topic(), &record);
}

fn snapshot(codes: &[String]) -> Value {
    json!({"command": "bar_snapshot", "params": {"codes": codes}})
}

/// The trace and span ids of the price updates, by security.
fn updates(scene: &Scene) -> BTreeMap<String, (Value, Value)> {
    let records = scene.broker.records(&format!("{}.market", scene.name), 3);
    let read = |record: Record| serde_json::from_slice::<Value>(&record.value).unwrap();
    let ids = |update: Value| {
        (update["symbol"].as_str().unwrap().to_owned(), (update["trace_id"].clone(), update["span_id"].clone()))
    };
    records.into_iter().map(read).map(ids).collect()
}

#[test]
fn price_updates_and_reports_name_the_request() {
    let Market { codes, data, .. } = market(6, 3);
    let mut scene = Scene::new("traces", PROGRAM, data);
    scene.set("events.price_update", true).set("fetch.max_codes_per_command", 2);
    scene.set("quality.report_interval_ms", 1000).set("quality.job_quiet_ms", 1000);
    let _worker = scene.start("n1");
    let mut in_body = snapshot(&codes[..1]);
    (in_body["trace_id"], in_body["span_id"]) = (json!("t-body"), json!("s-body"));
    send(&scene, in_body, &[("trace_id", "t-other"), ("span_id", "s-other")]);
    send(&scene, snapshot(&codes[1..2]), &[("traceparent", &format!("00-{TRACE}-{SPAN}-01"))]);
    let mut whole = snapshot(&codes[2..]);
    whole["correlation_id"] = json!("evening");
    send(&scene, whole, &[("trace_id", "t-whole")]);
    wait_until("updates of all codes", TIMEOUT, || updates(&scene).len() == codes.len());
    let found = updates(&scene);
    assert_eq!(found[&codes[0]], (json!("t-body"), json!("s-body")));
    assert_eq!(found[&codes[1]], (json!(TRACE), json!(SPAN)));
    for code in &codes[2..] {
        assert_eq!(found[code], (json!("t-whole"), Value::Null), "a part of a split command");
    }
    // The commands without an id may make a job of their own.
    let job = || {
        let mut jobs = scene.notifications_with("report_kind", "job").into_iter();
        jobs.find(|job| job["data"]["job"]["id"] == "evening")
    };
    wait_until("the job's report", TIMEOUT, || job().is_some());
    assert_eq!(job().unwrap()["data"]["trace_ids"], json!(["t-whole"]));
}

#[test]
fn dead_letters_and_their_replays_keep_the_trace() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("tracedlq", PROGRAM, data);
    let worker = scene.start("n1");
    send(&scene, "no JSON", &[("trace_id", "t-1"), ("span_id", "s-1")]);
    send(&scene, json!({"command": "bar_snapshot", "params": 7, "trace_id": "t-2"}), &[]);
    send(&scene, "no JSON either", &[("trace_id", &"x".repeat(129))]);
    wait_until("three dead letters", TIMEOUT, || scene.dead_letters().len() == 3);
    let ids = || -> Vec<Option<String>> {
        scene.dead_letters().into_iter().map(|letter| letter.headers.get("trace_id").cloned()).collect()
    };
    let (first, second) = (Some("t-1".to_owned()), Some("t-2".to_owned()));
    assert_eq!(ids(), [first.clone(), second.clone(), None], "a text of 129 bytes is no id");
    assert_eq!(scene.dead_letters()[0].headers["span_id"], "s-1");

    let config = scene.write_config("reader");
    let replay = Command::new(PROGRAM)
        .args(["dlq", "replay", "0:0", "--config"])
        .arg(config)
        .env("GINKGO_DIR", scene.folder())
        .output()
        .expect("the program runs");
    assert!(replay.status.success(), "{replay:?}");
    wait_until("a fourth dead letter", TIMEOUT, || scene.dead_letters().len() == 4);
    assert_eq!(ids(), [first.clone(), second, None, first], "the replayed command has the ids of its letter");
    let lines = worker.log_text();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let named = lines.filter(|line| line["trace"]["id"] == "t-2" && line["message"] == "dead letter recorded");
    assert_eq!(named.count(), 1, "also a command that cannot be read is followed");
}
