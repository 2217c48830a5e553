// Upstream: none
// Downstream: kit, main_job
// Role: Sources, ClickHouse and Redis that fail and come back, each with its outcome, and nothing lost.

use std::time::{Duration, Instant};

use kit::clickhouse::OwnServer;
use kit::redis::OwnRedis;
use kit::scene::{Scene, TIMEOUT, has_apache_kafka};
use kit::tushare_server::{Fault, Lasting};
use kit::wait::{wait_for, wait_until};
use serde_json::{Value, json};

use crate::main_job::{Market, PROGRAM, market};

/// Commands under a fault that does not end: each is tried three times, recorded, alerted, and the worker goes on.
fn three_attempts_and_a_dead_letter(name: &str, fault: Fault, reason: &str) {
    let Market { codes, data, .. } = market(12, 5);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.source.set_fault(fault, Lasting::UntilCleared);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 12);
    for letter in &letters {
        assert_eq!(letter.headers["dlq.class"], "source_error");
        assert_eq!(letter.headers["dlq.attempts"], "3");
        assert!(letter.headers["dlq.reason"].contains(reason), "{:?}", letter.headers);
    }
    assert_eq!(scene.source.rejected(), 36, "three attempts each");
    let alert = wait_for("the alert", TIMEOUT, || scene.notifications_with("alert_type", "source_error").pop());
    wait_until("the error that all fetches failing is", TIMEOUT, || {
        scene.notifications_with("alert_type", "source_error").iter().any(|alert| alert["severity"] == "ERROR")
    });
    assert!(alert["data"]["affected_codes"].as_array().is_some_and(|codes| !codes.is_empty()), "{alert}");

    // The next schedule fetches them again; nothing is missing then.
    scene.source.clear_fault();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn a_source_that_is_down_costs_three_attempts_a_dead_letter_and_an_alert() {
    three_attempts_and_a_dead_letter("down", Fault::Down, "not reachable");
}

#[test]
fn a_source_that_answers_500_is_no_source_without_data() {
    three_attempts_and_a_dead_letter("status", Fault::Status(500, None), "500");
}

#[test]
fn a_dead_letter_that_the_broker_does_not_take_holds_its_offset_and_no_other_command() {
    let Market { codes, data, .. } = market(8, 5);
    let mut scene = Scene::new("noletters", PROGRAM, data);
    let topic = format!("{}.letters", scene.name);
    scene.set("kafka.dead_letter_topic", &topic);
    if !has_apache_kafka() {
        // It takes records of topics that it does not have, and forgets them: nothing can be refused there.
        scene.broker.create_topics(&[(&topic, 1)]);
    }
    let worker = scene.start("n1");
    // The first partition's first record, and commands behind it.
    scene.send(&[b"not json".to_vec()]);
    scene.send_snapshots(&codes, "");
    if has_apache_kafka() {
        wait_until("a dead letter that is not taken", TIMEOUT, || {
            worker.log_text().contains("dead letter is not recorded yet")
        });
        wait_until("the rows of all others", TIMEOUT, || scene.database.count() == 8 * 5);
        scene.assert_exact(&codes);
        assert!(scene.committed()[0] <= 0, "{:?}", scene.committed());
        scene.broker.create_topics(&[(&topic, 1)]);
    }
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let letters = scene.broker.records(&topic, 1);
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].value, b"not json");
}

#[test]
fn a_refused_token_is_not_tried_again() {
    let Market { codes, data, .. } = market(5, 5);
    let mut scene = Scene::new("token", PROGRAM, data);
    scene.set("sources.tushare.token", "of-nobody");
    let worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    assert_eq!(scene.source.requests(), 5, "one attempt each");
    let letters = scene.dead_letters();
    assert!(letters.iter().all(|letter| letter.headers["dlq.attempts"] == "1"));
    assert!(letters.iter().all(|letter| letter.headers["dlq.reason"].contains("check the source's token")));
    assert!(!worker.log_text().contains("of-nobody"), "a secret is never logged");
}

#[test]
fn a_source_that_limits_the_rate_slows_the_worker_and_fails_nothing() {
    let Market { codes, data, .. } = market(40, 5);
    let mut scene = Scene::new("limited", PROGRAM, data);
    scene.set("fetch.whole_days_from_tasks", 0);
    // More refusals than three for each fetch: a limit slows down, however often it says no.
    scene.source.set_fault(Fault::Status(429, Some(1)), Lasting::Next(150));
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    assert_eq!(scene.source.rejected(), 150);
}

#[test]
fn a_slow_source_is_waited_for() {
    let Market { codes, data, .. } = market(30, 5);
    let mut scene = Scene::new("slow", PROGRAM, data);
    scene.source.set_fault(Fault::Slow(Duration::from_secs(2)), Lasting::UntilCleared);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let begun = Instant::now();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    assert!(begun.elapsed() < Duration::from_secs(20), "thirty fetches wait side by side");
}

#[test]
fn a_store_that_is_away_for_ten_seconds_loses_nothing_and_commits_nothing_meanwhile() {
    let Market { codes, data, .. } = market(120, 20);
    let mut scene = Scene::new("store", PROGRAM, data);
    scene.set("batch.max_rows", 400).set("batch.min_rows", 100).set("fetch.max_in_flight", 4);
    scene.set("quality.alerts.write_error_ms", 3_000);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(20)), Lasting::UntilCleared);
    let folder = scene.folder().join("engine");
    let server = OwnServer::start(&folder, 0);
    let port = server.port;
    scene.database.url = format!("http://127.0.0.1:{port}");
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("some rows", TIMEOUT, || scene.database.count() >= 400);
    server.kill();
    let away_since = Instant::now();
    let alert = wait_for("the alert", TIMEOUT, || scene.notifications_with("alert_type", "write_error").pop());
    assert_eq!((&alert["level"], &alert["data"]["state"]), (&json!("WARN"), &json!("raised")));
    let committed = scene.committed();
    wait_until("ten seconds without a store", TIMEOUT, || away_since.elapsed() >= Duration::from_secs(10));
    assert_eq!(scene.committed(), committed, "no offset moves without a store");
    assert!(committed.iter().sum::<i64>() < 120);
    let _server = OwnServer::start(&folder, port);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    let told = || -> Vec<Value> {
        let alerts = scene.notifications_with("alert_type", "write_error");
        alerts.iter().map(|alert| json!([alert["level"], alert["data"]["state"]])).collect()
    };
    wait_until("the word that it is over", TIMEOUT, || told().len() >= 3);
    assert_eq!(told(), [json!(["WARN", "raised"]), json!(["ERROR", "escalated"]), json!(["INFO", "resolved"])]);
}

#[test]
fn an_insert_whose_answer_is_lost_is_sent_again_and_taken_once() {
    let Market { codes, data, .. } = market(50, 5);
    let mut scene = Scene::new("answer", PROGRAM, data);
    scene.database.fault("mode=lost_answer", 2);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn too_many_parts_is_waited_out_and_too_many_partitions_is_split() {
    let Market { codes, data, .. } = market(30, 400);
    let mut scene = Scene::new("parts", PROGRAM, data);
    scene.database.fault("mode=refuse&code=252&text=Too+many+parts+(3001)", 1);
    let worker = scene.start("n1");
    scene.send_snapshots(&codes[..15], "");
    scene.wait_until_committed();
    scene.database.fault("mode=refuse&code=252&text=Too+many+partitions+for+single+INSERT+block+(more+than+100)", 1);
    scene.send_snapshots(&codes[15..], "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert!(worker.log_text().contains("is split by year"));
}

#[test]
fn a_batch_that_is_split_by_year_is_written_oldest_first() {
    let Market { codes, data, .. } = market(3, 800);
    let mut scene = Scene::new("years", PROGRAM, data);
    scene.database.query(
        "CREATE TABLE bar (code String, open Decimal(16,2), high Decimal(16,2), low Decimal(16,2), close Decimal(16,2), \
         volume Int32, amount Decimal(16,2), frequency Int8, uuid String, meta String, `desc` String, timestamp DateTime, \
         source Int8) ENGINE = MergeTree PARTITION BY toYear(timestamp) ORDER BY (code, timestamp)",
    );
    scene.database.fault("mode=refuse&code=252&text=Too+many+partitions+for+single+INSERT+block+(more+than+100)", 1);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    // A part's name holds the number of the INSERT that made it. Were the newest year there first, a crash would leave a
    // code that looks complete.
    let years =
        "SELECT toYear(timestamp) AS year, min(toUInt32(splitByChar('_', _part)[2])) AS number FROM bar GROUP BY year";
    let years = |order: &str| scene.database.query(&format!("SELECT year FROM ({years}) ORDER BY {order}"));
    assert_eq!(years("number"), years("year"));
    assert!(years("year").lines().count() >= 3);
}

#[test]
fn redis_away_and_back_costs_heartbeats_and_no_command() {
    let Market { codes, data, .. } = market(100, 5);
    let mut scene = Scene::new("redis", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 500);
    let redis = OwnRedis::start();
    scene.redis_url = redis.url();
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let port = redis.kill();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let _redis = OwnRedis::start_on(port);
    scene.wait_for_status("n1", "running");
}

#[test]
fn a_worker_in_which_nothing_moves_shows_error_and_recovers() {
    let Market { codes, data, .. } = market(4, 5);
    let mut scene = Scene::new("stall", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 200).set("heartbeat.stall_after_ms", 1500);
    scene.source.set_fault(Fault::Hang, Lasting::UntilCleared);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_for_status("n1", "error");
    let (heartbeat, _) = scene.heartbeat("n1").expect("a heartbeat");
    let reason = heartbeat["stats"]["last_error"].as_str().unwrap_or_default();
    assert!(reason.contains("4 commands wait and nothing has moved"), "{heartbeat}");
    scene.source.clear_fault();
    scene.wait_until_committed();
    scene.wait_for_status("n1", "running");
    scene.assert_exact(&codes);
}

#[test]
fn a_table_that_is_not_what_the_worker_needs_ends_the_start_with_what_is_wrong() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("schema", PROGRAM, data);
    scene.database.query(
        "CREATE TABLE bar (code String, open Float64, high Decimal(16,2), low Decimal(16,2), close Decimal(16,2), \
         volume Int32, amount Decimal(16,2), frequency Int8, uuid String, meta String, timestamp DateTime, source Int8) \
         ENGINE = MergeTree ORDER BY (code, timestamp)",
    );
    let mut worker = scene.start("n1");
    assert_eq!(worker.wait(Duration::from_secs(30)).code(), Some(1));
    let log = worker.log_text();
    assert!(log.contains("column open: expected Decimal(16, 2), found Float64"), "the column, expected and found");
    assert!(log.contains("column desc: expected String, found none"), "every problem, not only the first");
}
