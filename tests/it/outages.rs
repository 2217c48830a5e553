// Upstream: none
// Downstream: kit, main_job
// Role: Tests outages of sources, ClickHouse, Redis and the dead-letter topic: the outcome of each, without loss.

use std::time::{Duration, Instant};

use kit::baostock_server::BaoStockServer;
use kit::clickhouse::PrivateClickHouse;
use kit::redis::PrivateRedis;
use kit::scene::{Scene, TIMEOUT, has_apache_kafka};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::{wait_for, wait_until};
use serde_json::{Value, json};

use crate::main_job::{Market, PROGRAM, market};

/// Runs commands under a permanent fault: three attempts each, a dead letter, an alert; the worker continues.
fn three_attempts_and_a_dead_letter(name: &str, fault: Fault, reason: &str) {
    let Market { codes, data, .. } = market(12, 5);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.source.set_fault(fault, FaultDuration::UntilCleared);
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
    wait_until("an ERROR alert, as all fetches fail", TIMEOUT, || {
        scene.notifications_with("alert_type", "source_error").iter().any(|alert| alert["severity"] == "ERROR")
    });
    assert!(alert["data"]["affected_codes"].as_array().is_some_and(|codes| !codes.is_empty()), "{alert}");

    // The next run fetches the codes again and completes the rows.
    scene.source.clear_fault();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn source_down_takes_three_attempts_then_dead_letter() {
    three_attempts_and_a_dead_letter("down", Fault::Down, "not reachable");
}

#[test]
fn source_error_500_is_not_an_empty_answer() {
    three_attempts_and_a_dead_letter("status", Fault::Status(500, None), "500");
}

#[test]
fn html_with_status_200_takes_three_attempts() {
    three_attempts_and_a_dead_letter("html", Fault::Html, "unreadable answer");
}

#[test]
fn bad_answers_are_tried_again() {
    let Market { codes, data, .. } = market(8, 5);
    let mut scene = Scene::new("bad_answers", PROGRAM, data);
    scene.set("fetch.first_retry_delay_ms", 100);
    let _worker = scene.start("n1");
    let body = |text: &str| Fault::Body(text.to_owned());
    let faults = [Fault::Html, Fault::Truncated, body(""), body(r#"{"code":0,"msg":null,"data":null}"#)];
    for (fault, codes) in faults.into_iter().zip(codes.chunks(2)) {
        // Each of the two fetches has an attempt left.
        scene.source.set_fault(fault, FaultDuration::Next(2));
        scene.send_snapshots(codes, "");
        scene.wait_until_committed();
    }
    scene.assert_exact(&codes);
    assert_eq!((scene.source.rejected(), scene.dead_letters().len()), (8, 0));
}

#[test]
fn refused_dead_letter_holds_only_its_offset() {
    let Market { codes, data, .. } = market(8, 5);
    let mut scene = Scene::new("noletters", PROGRAM, data);
    let topic = format!("{}.letters", scene.name);
    scene.set("kafka.dead_letter_topic", &topic).set("kafka.create_topics", false);
    if !has_apache_kafka() {
        // The fallback broker accepts and discards records for missing topics, so it cannot refuse a dead letter.
        scene.broker.create_topics(&[(&topic, 1)]);
    }
    let worker = scene.start("n1");
    // A bad first record of the first partition, with commands behind it.
    scene.send(&[b"not json".to_vec()]);
    scene.send_snapshots(&codes, "");
    if has_apache_kafka() {
        wait_until("a refused dead letter in the log", TIMEOUT, || {
            worker.log_text().contains("dead letter not recorded yet")
        });
        wait_until("the rows of all other commands", TIMEOUT, || scene.database.count() == 8 * 5);
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

/// The alerts on refusing sources so far: level and state.
fn refusal_alerts(scene: &Scene) -> Vec<Value> {
    let alerts = scene.notifications_with("alert_type", "source_refused");
    alerts.iter().map(|alert| json!([alert["level"], alert["data"]["state"]])).collect()
}

#[test]
fn a_refused_token_is_not_tried_again() {
    let Market { codes, data, .. } = market(200, 5);
    let mut scene = Scene::new("token", PROGRAM, data);
    scene.set("sources.tushare.token", "of-nobody").set("heartbeat.interval_ms", 300);
    scene.set("fetch.max_in_flight", 8);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("the alert", TIMEOUT, || refusal_alerts(&scene) == [json!(["ERROR", "raised"])]);
    scene.wait_for_status("n1", "error");
    let (heartbeat, _) = scene.heartbeat("n1").expect("a heartbeat");
    let reason = heartbeat["stats"]["last_error"].as_str().unwrap_or_default();
    assert!(reason.contains("fetches wait") && reason.contains("check the source's token"), "{heartbeat}");
    wait_until("the first few dead letters", TIMEOUT, || scene.dead_letters().len() == 3);
    assert!(scene.source.requests() <= 3 + 8, "{} requests", scene.source.requests());

    // With the right token, all that waited are stored; those of the first few are sent again.
    scene.set("sources.tushare.token", "tok-ok");
    scene.write_config("n1");
    worker.signal("HUP");
    scene.wait_until_committed();
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 3);
    assert!(letters.iter().all(|letter| letter.headers["dlq.attempts"] == "1"));
    assert!(letters.iter().all(|letter| letter.headers["dlq.reason"].contains("check the source's token")));
    let lost: Vec<String> = codes
        .iter()
        .filter(|code| letters.iter().any(|letter| String::from_utf8_lossy(&letter.value).contains(code.as_str())))
        .cloned()
        .collect();
    let stored: Vec<String> = codes.iter().filter(|code| !lost.contains(code)).cloned().collect();
    assert_eq!(stored.len(), 197);
    scene.assert_exact(&stored);
    scene.send_snapshots(&lost, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let both = [json!(["ERROR", "raised"]), json!(["INFO", "resolved"])];
    wait_until("the resolved alert", TIMEOUT, || refusal_alerts(&scene) == both);
    scene.wait_for_status("n1", "running");
    assert!(scene.notifications_with("alert_type", "worker_error").is_empty(), "one alert, not two");
    assert!(!worker.log_text().contains("of-nobody"), "a secret is never logged");
}

#[test]
fn commands_of_a_refused_token_survive_a_stop() {
    let Market { codes, data, .. } = market(100, 5);
    let mut scene = Scene::new("tokenstop", PROGRAM, data);
    scene.set("sources.tushare.token", "of-nobody");
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("the first few dead letters", TIMEOUT, || scene.dead_letters().len() == 3);
    worker.terminate();
    assert_eq!(worker.wait(Duration::from_secs(30)).code(), Some(2), "not drained");
    assert!(!worker.log_text().contains("drain deadline exceeded"), "it did not wait in vain");
    assert!(scene.committed().iter().sum::<i64>() <= 3, "{:?}", scene.committed());

    scene.set("sources.tushare.token", "tok-ok");
    let _worker = scene.start("n1");
    scene.wait_until_committed();
    assert_eq!(scene.dead_letters().len(), 3);
    assert!(scene.database.count() >= 97 * 5);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn the_fallback_stores_what_a_refused_token_does_not_get() {
    let Market { codes, data, .. } = market(100, 5);
    let mut scene = Scene::new("tokenfallback", PROGRAM, data);
    let fallback = BaoStockServer::start(market(100, 5).data).expect("a server");
    scene.set("sources.bars", "[tushare, baostock]").set("sources.baostock.address", fallback.address());
    scene.set("sources.tushare.token", "of-nobody").set("fetch.max_in_flight", 8);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    assert!(scene.source.requests() <= 3 + 8, "{} requests", scene.source.requests());
    wait_until("the alert", TIMEOUT, || refusal_alerts(&scene) == [json!(["ERROR", "raised"])]);
    scene.wait_for_status("n1", "running");
}

#[test]
fn rate_limited_source_fails_no_command() {
    let Market { codes, data, .. } = market(40, 5);
    let mut scene = Scene::new("limited", PROGRAM, data);
    scene.set("fetch.whole_days_from_tasks", 0);
    // More than three refusals per fetch: rate-limit errors do not count as attempts.
    scene.source.set_fault(Fault::Status(429, Some(1)), FaultDuration::Next(150));
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
    scene.source.set_fault(Fault::Slow(Duration::from_secs(2)), FaultDuration::UntilCleared);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let begun = Instant::now();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    assert!(begun.elapsed() < Duration::from_secs(20), "thirty fetches run concurrently");
}

#[test]
fn store_outage_commits_and_loses_nothing() {
    let Market { codes, data, .. } = market(120, 20);
    let mut scene = Scene::new("store", PROGRAM, data);
    scene.set("batch.max_rows", 400).set("batch.min_rows", 100).set("fetch.max_in_flight", 4);
    scene.set("quality.alerts.write_error_ms", 3_000);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(20)), FaultDuration::UntilCleared);
    let folder = scene.folder().join("engine");
    let server = PrivateClickHouse::start(&folder, 0);
    let port = server.port;
    scene.database.url = format!("http://127.0.0.1:{port}");
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("some rows", TIMEOUT, || scene.database.count() >= 400);
    server.kill();
    let away_since = Instant::now();
    let alert = wait_for("the alert", TIMEOUT, || scene.notifications_with("alert_type", "write_error").pop());
    assert_eq!((&alert["level"], &alert["data"]["state"]), (&json!("WARNING"), &json!("raised")));
    let committed = scene.committed();
    wait_until("ten seconds without a store", TIMEOUT, || away_since.elapsed() >= Duration::from_secs(10));
    assert_eq!(scene.committed(), committed, "no offset is committed without a store");
    assert!(committed.iter().sum::<i64>() < 120);
    let _server = PrivateClickHouse::start(&folder, port);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    let reported = || -> Vec<Value> {
        let alerts = scene.notifications_with("alert_type", "write_error");
        alerts.iter().map(|alert| json!([alert["level"], alert["data"]["state"]])).collect()
    };
    wait_until("the resolved alert", TIMEOUT, || reported().len() >= 3);
    assert_eq!(reported(), [json!(["WARNING", "raised"]), json!(["ERROR", "escalated"]), json!(["INFO", "resolved"])]);
}

#[test]
fn retried_insert_after_lost_answer_is_stored_once() {
    let Market { codes, data, .. } = market(50, 5);
    let mut scene = Scene::new("answer", PROGRAM, data);
    scene.database.fault("mode=lost_answer", 2);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn retries_too_many_parts_and_splits_partitions() {
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
fn batch_split_by_year_is_written_oldest_first() {
    let Market { codes, data, .. } = market(3, 800);
    let mut scene = Scene::new("years", PROGRAM, data);
    scene.database.create_bar("bar", "MergeTree PARTITION BY toYear(timestamp) ORDER BY (code, timestamp)");
    scene.database.fault("mode=refuse&code=252&text=Too+many+partitions+for+single+INSERT+block+(more+than+100)", 1);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    // A part's name contains the number of the INSERT that created it. If the newest year came first, a crash would
    // leave a code that looks complete.
    let years =
        "SELECT toYear(timestamp) AS year, min(toUInt32(splitByChar('_', _part)[2])) AS number FROM bar GROUP BY year";
    let years = |order: &str| scene.database.query(&format!("SELECT year FROM ({years}) ORDER BY {order}"));
    assert_eq!(years("number"), years("year"));
    assert!(years("year").lines().count() >= 3);
}

#[test]
fn redis_outage_costs_no_command() {
    let Market { codes, data, .. } = market(100, 5);
    let mut scene = Scene::new("redis", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 500);
    let redis = PrivateRedis::start();
    scene.redis_url = redis.url();
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let port = redis.kill();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let _redis = PrivateRedis::start_on(port);
    scene.wait_for_status("n1", "running");
}

#[test]
fn stalled_worker_shows_error_and_recovers() {
    let Market { codes, data, .. } = market(4, 5);
    let mut scene = Scene::new("stall", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 200).set("heartbeat.stall_after_ms", 1500);
    scene.source.set_fault(Fault::Hang, FaultDuration::UntilCleared);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_for_status("n1", "error");
    let (heartbeat, _) = scene.heartbeat("n1").expect("a heartbeat");
    let reason = heartbeat["stats"]["last_error"].as_str().unwrap_or_default();
    assert!(reason.contains("4 commands wait without progress"), "{heartbeat}");
    scene.source.clear_fault();
    scene.wait_until_committed();
    scene.wait_for_status("n1", "running");
    scene.assert_exact(&codes);
}

#[test]
fn wrong_table_schema_ends_start_with_every_problem() {
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
    assert!(log.contains("column open: expected Decimal(16, 2), found Float64"), "column, expected and found type");
    assert!(log.contains("column desc: expected String, found none"), "every problem, not only the first");
}

#[test]
fn fewer_stored_rows_than_confirmed_are_not_believed() {
    // Each INSERT adds a row of each security, so the worker would need two hundred of them.
    let Market { codes, data, .. } = market(10, 200);
    let mut scene = Scene::new("fewer", PROGRAM, data);
    scene.set("batch.max_retry_delay_ms", 500);
    // With this sorting key the server keeps one row of each security, and confirms all.
    scene.database.create_bar("bar", "ReplacingMergeTree ORDER BY code");
    scene.database.create_bar("good", "MergeTree ORDER BY (code, timestamp)");
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("the alert", TIMEOUT, || !scene.notifications_with("alert_type", "write_error").is_empty());
    let alert = &scene.notifications_with("alert_type", "write_error")[0];
    assert!(alert["data"]["reason"].to_string().contains("of its rows are not stored"), "{alert}");
    assert!(scene.committed().iter().all(|offset| *offset == 0), "nothing is done");

    scene.database.query("RENAME TABLE bar TO wrong, good TO bar");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    wait_until("the end of the alert", TIMEOUT, || {
        let states = scene.notifications_with("alert_type", "write_error");
        states.last().is_some_and(|alert| alert["data"]["state"] == "resolved")
    });
}
