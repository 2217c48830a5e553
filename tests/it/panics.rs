// Upstream: none
// Downstream: kit, main_job
// Role: Tests panics in each of the seven actors: restart within a second without loss; too many end the worker.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, FixedOffset};
use kit::scene::Scene;
use kit::tushare_server::{Fault, FaultDuration};
use serde_json::Value;

use crate::main_job::{Market, PROGRAM, market};

const ACTORS: [&str; 7] =
    ["command_router", "fetcher", "validator", "batch_writer", "heartbeat", "quality_monitor", "config_actor"];

/// Injects one panic into `place` of each actor while commands are in flight.
fn inject_one_panic_per_actor(place: &str, chain: impl Fn(&str) -> String) {
    let Market { codes, data, .. } = market(200, 10);
    let mut scene = Scene::new(&format!("panic_{place}"), PROGRAM, data);
    scene.set("fetch.max_in_flight", 8);
    // Slow enough that work is in flight during the panics.
    scene.source.set_fault(Fault::Slow(Duration::from_millis(50)), FaultDuration::UntilCleared);
    let faults: Vec<String> = ACTORS.iter().map(|actor| format!("{actor}::{place}={}", chain(actor))).collect();
    scene.send_snapshots(&codes, "");
    let worker = scene.start_with("n1", &[("FAILPOINTS", &faults.join(";"))]);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    let restarts = restarts(&worker.log_text());
    for actor in ACTORS {
        let took = restarts.get(actor).unwrap_or_else(|| panic!("{actor} has not failed: {restarts:?}"));
        assert_eq!(took.len(), 1, "{actor} failed {} times", took.len());
        assert!(took[0] < 1.0, "{actor} was down for {} s", took[0]);
    }
}

/// The downtimes of each actor in seconds, from the worker's log.
fn restarts(log: &str) -> BTreeMap<String, Vec<f64>> {
    let mut down: BTreeMap<String, DateTime<FixedOffset>> = BTreeMap::new();
    let mut took: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let (Some(actor), Some(time)) = (line["labels"]["actor"].as_str(), line["@timestamp"].as_str()) else {
            continue;
        };
        let time = DateTime::parse_from_rfc3339(time).unwrap();
        match line["message"].as_str() {
            Some("actor failed and will be restarted") => {
                down.insert(actor.to_owned(), time);
            }
            Some("actor restarted") => {
                let since = down.remove(actor).unwrap_or_else(|| panic!("{actor} restarted without a failure"));
                took.entry(actor.to_owned()).or_default().push((time - since).as_seconds_f64());
            }
            _ => {}
        }
    }
    took
}

#[test]
fn handler_panic_of_each_actor_loses_no_command() {
    // Actors that get a message per task fail during the run; the others fail at their first message.
    inject_one_panic_per_actor("handler", |actor| match actor {
        "heartbeat" | "config_actor" => "1*panic".to_owned(),
        _ => "30*off->1*panic".to_owned(),
    });
}

#[test]
fn future_panic_of_each_actor_loses_no_command() {
    inject_one_panic_per_actor("future", |_| "1*off->1*panic".to_owned());
}

#[test]
fn interval_panic_of_each_actor_loses_no_command() {
    inject_one_panic_per_actor("interval", |_| "1*off->1*panic".to_owned());
}

#[test]
fn fetch_or_flush_panic_loses_no_command() {
    let Market { codes, data, .. } = market(200, 10);
    let mut scene = Scene::new("panic_task", PROGRAM, data);
    scene.set("batch.max_rows", 500).set("batch.min_rows", 100);
    scene.send_snapshots(&codes, "");
    let faults = "fetcher::task=20*off->3*panic;batch_writer::flush=1*off->1*panic";
    let worker = scene.start_with("n1", &[("FAILPOINTS", faults)]);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    let log = worker.log_text();
    assert!(log.contains("fetcher::task") && log.contains("batch_writer::flush"), "both fail points have panicked");
}

#[test]
fn repeated_panic_ends_worker_without_commit() {
    let Market { codes, data, .. } = market(20, 5);
    let mut scene = Scene::new("panic_six", PROGRAM, data);
    scene.set("worker.drain_deadline_ms", 5000);
    scene.source.set_fault(Fault::Hang, FaultDuration::UntilCleared);
    scene.send_snapshots(&codes, "");
    let mut worker = scene.start_with("n1", &[("FAILPOINTS", "batch_writer::interval=panic")]);
    let status = worker.wait(Duration::from_secs(60));
    assert_eq!(status.code(), Some(1));
    assert_eq!(restarts(&worker.log_text())["batch_writer"].len(), 5, "five restarts; the sixth failure ends it");
    assert_eq!(scene.committed(), [0; 4]);
    let error = scene.notifications_with("event", "ERROR").pop().expect("an ERROR event");
    assert!(error["content"].as_str().unwrap().contains("batch_writer keeps failing"), "{error}");
    scene.source.clear_fault();
    let _next = scene.start("n1");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}
