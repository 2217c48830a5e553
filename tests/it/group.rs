// Upstream: none
// Downstream: kit, main_job
// Role: Tests several workers in one group that join, leave and die during a run: the stored rows are exact.

use std::collections::HashSet;
use std::time::Duration;

use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{last_closed_day, last_trading_days};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;
use serde_json::{Value, json};

use crate::main_job::{Market, PROGRAM, market};

fn scene_of_slow_work(name: &str, num_codes: usize) -> (Scene, Vec<String>) {
    let Market { codes, data, .. } = market(num_codes, 10);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("fetch.max_in_flight", 4).set("batch.max_rows", 400).set("batch.min_rows", 100);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(100)), FaultDuration::UntilCleared);
    (scene, codes)
}

fn stats(scene: &Scene, node: &str, field: &str) -> u64 {
    scene.heartbeat(node).and_then(|(value, _)| value["stats"][field].as_u64()).unwrap_or(0)
}

#[test]
fn second_worker_joins_and_leaves_without_duplicates() {
    let (mut scene, codes) = scene_of_slow_work("joins", 600);
    scene.set("heartbeat.interval_ms", 200);
    let first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("the first worker has written rows", TIMEOUT, || scene.database.count() >= 400);
    let mut second = scene.start("n2");
    wait_until("the second worker has written rows", TIMEOUT, || stats(&scene, "n2", "bars_written") > 0);
    second.terminate();
    assert_eq!(second.wait(Duration::from_secs(25)).code(), Some(0));
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    drop(first);
}

#[test]
fn a_worker_that_dies_is_replaced_by_the_others() {
    let (mut scene, codes) = scene_of_slow_work("dies", 400);
    scene.set("heartbeat.interval_ms", 200);
    let _first = scene.start("n1");
    let mut second = scene.start("n2");
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");
    scene.send_snapshots(&codes, "");
    wait_until("both workers work", TIMEOUT, || {
        stats(&scene, "n1", "bars_written") > 0 && stats(&scene, "n2", "bars_written") > 0
    });
    second.kill();
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn two_workers_on_same_codes_store_rows_once() {
    let (mut scene, codes) = scene_of_slow_work("same", 60);
    scene.source.clear_fault();
    let _first = scene.start("n1");
    let _second = scene.start("n2");
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");
    for _ in 0..4 {
        scene.send_snapshots(&codes, "");
    }
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn large_command_is_split_across_workers() {
    let Market { codes, data, .. } = market(2_000, 3);
    let mut scene = Scene::new("split", PROGRAM, data);
    scene.set("sources.tushare.requests_per_minute", 0);
    scene.list_codes(&codes);
    let workers = ["n1", "n2", "n3"].map(|node| scene.start(node));
    for node in ["n1", "n2", "n3"] {
        scene.wait_for_status(node, "running");
    }
    scene.send(&[br#"{"command":"update_data","params":{"days":5,"full":true},"correlation_id":"evening"}"#.to_vec()]);
    scene.wait_until_all_is_committed();
    scene.assert_exact(&codes);
    scene.order("heartbeat_test", None, "counts");
    let written = |node: &str| stats(&scene, node, "bars_written");
    wait_until("all rows in the heartbeats' counters", TIMEOUT, || {
        ["n1", "n2", "n3"].iter().map(|node| written(node)).sum::<u64>() >= 6_000
    });
    for node in ["n1", "n2", "n3"] {
        assert!(written(node) > 0, "{node} has written nothing");
    }
    let parts = scene.broker.records(&scene.topic(), 4);
    assert_eq!(parts.len(), 41, "the command and forty parts of fifty codes each");
    assert!(parts.iter().all(|part| String::from_utf8_lossy(&part.value).contains("evening")), "all carry the id");
    drop(workers);
}

/// The codes of which the store has all bars that the vendor has.
fn complete(scene: &Scene, table: &str, num_days: usize) -> HashSet<String> {
    let sql = format!("SELECT code FROM {table} GROUP BY code HAVING count() = {num_days} ORDER BY code");
    scene.database.query(&sql).lines().map(str::to_owned).collect()
}

fn requested(scene: &Scene, codes: &[String]) -> u64 {
    codes.iter().map(|code| scene.source.requests_of(code)).sum()
}

/// Asserts that none of the stored codes was requested twice, and of the others only what was in progress at the kill:
/// its tasks and those of a batch.
fn assert_asked_once(scene: &Scene, codes: &[String], stored: &HashSet<String>) {
    let twice: Vec<&String> = codes.iter().filter(|code| scene.source.requests_of(code) > 1).collect();
    let repeated: Vec<&&String> = twice.iter().filter(|code| stored.contains(**code)).collect();
    assert!(repeated.is_empty(), "{repeated:?} were requested again, although their rows were stored");
    let num_more = requested(scene, codes) - codes.len() as u64;
    assert!(num_more <= 4 + 40, "{num_more} calls more than codes, twice: {twice:?}");
    println!("{num_more} calls more than {} codes, {} stored at the kill", codes.len(), stored.len());
}

#[test]
fn a_kill_and_a_join_repeat_no_call_whose_rows_are_stored() {
    let (mut scene, codes) = scene_of_slow_work("askedonce", 400);
    // The vendor has the newest day, too: an increment asks again for a day of which there are no rows.
    scene.source.append_day(last_trading_days(last_closed_day(), 1)[0]);
    // A call for each code, so that repeated ones are counted.
    scene.set("heartbeat.interval_ms", 200).set("fetch.whole_days_from_tasks", 0);
    let _first = scene.start("n1");
    let mut second = scene.start("n2");
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");
    scene.send_snapshots(&codes, "");
    wait_until("both workers work", TIMEOUT, || {
        stats(&scene, "n1", "bars_written") > 0 && stats(&scene, "n2", "bars_written") > 0
    });
    let stored = complete(&scene, "bar", 11);
    second.kill();
    let _third = scene.start("n3");
    wait_until("the third worker works", TIMEOUT, || stats(&scene, "n3", "bars_written") > 0);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_asked_once(&scene, &codes, &stored);
}

/// A command for 100 codes, of which half are stored when its worker is killed, asks for no stored code again.
fn assert_continued_after_a_kill(name: &str, table: &str, command: impl Fn(&[String], &[String]) -> Value) {
    let (mut scene, codes) = scene_of_slow_work(name, 100);
    scene.set("fetch.whole_days_from_tasks", 0).set("fetch.max_codes_per_command", 100);
    let days: Vec<_> = scene.source.rows(&codes[0]).iter().map(|row| row.date.format("%Y%m%d").to_string()).collect();
    let command = command(&codes, &days).to_string().into_bytes();
    let mut first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send(std::slice::from_ref(&command));
    wait_until("half of the codes are stored", TIMEOUT, || complete(&scene, table, 10).len() >= 50);
    let stored = complete(&scene, table, 10);
    let mut connection = redis::Client::open(scene.redis_url.as_str()).unwrap().get_connection().unwrap();
    let pattern = format!("heartbeat:{}.stored:*", scene.name);
    wait_until("the stored tasks are noted", TIMEOUT, || {
        let keys: Vec<String> = redis::cmd("KEYS").arg(&pattern).query(&mut connection).unwrap();
        keys.len() >= stored.len()
    });
    first.kill();
    assert_eq!(scene.committed().iter().sum::<i64>(), 0, "the command is not done");
    let _again = scene.start("n1");
    scene.wait_until_committed();
    assert_eq!(complete(&scene, table, 10).len(), 100);
    assert_asked_once(&scene, &codes, &stored);

    // The same command in another record asks again.
    let before = requested(&scene, &codes);
    scene.send(&[command]);
    scene.wait_until_committed();
    assert_eq!(requested(&scene, &codes), before + 100);
}

#[test]
fn a_dated_command_is_continued_after_a_kill() {
    assert_continued_after_a_kill(
        "continued",
        "bar",
        |codes, days| json!({"command": "bar_snapshot", "params": {"codes": codes, "start_date": days[0], "end_date": days[9]}}),
    );
}

#[test]
fn a_replacement_is_continued_after_a_kill() {
    assert_continued_after_a_kill(
        "replaced",
        "bar",
        |codes, _| json!({"command": "bar_snapshot", "params": {"codes": codes, "full": true}}),
    );
}

#[test]
fn a_replacement_of_factors_is_continued_after_a_kill() {
    assert_continued_after_a_kill(
        "refactored",
        "adjustfactor",
        |codes, _| json!({"command": "adjustfactor", "params": {"codes": codes, "full": true}}),
    );
}
