// Upstream: reload_effects, reload_sources, secrets, secure_login, secure_reload
// Downstream: kit, main_job
// Role: Tests configuration reloads while the worker runs: applied as a whole or refused, no command is lost.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use kit::clickhouse::PrivateClickHouse;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::{wait_for, wait_until};
use kit::worker::Worker;
use serde_json::Value;

use crate::main_job::{Market, PROGRAM, market};

/// Sends a `reload` command and waits for the answer.
pub fn reload(scene: &Scene, id: &str) -> Value {
    scene.order("reload", None, id);
    wait_for("the answer to the reload", TIMEOUT, || scene.notifications_with("correlation_id", id).pop())
}

#[test]
fn order_signal_and_saved_file_reload() {
    let Market { codes, data, .. } = market(1, 1);
    let mut scene = Scene::new("reload", PROGRAM, data);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");

    assert_eq!(reload(&scene, "same")["data"]["event"], "RELOAD_UNCHANGED");

    // By a control command: the TTL of the heartbeat changes.
    scene.set("heartbeat.ttl_ms", 90_000).set("heartbeat.interval_ms", 300);
    scene.write_config("n1");
    let answer = reload(&scene, "order");
    assert_eq!(answer["data"]["event"], "RELOADED", "{answer}");
    assert_eq!(answer["data"]["changed"], serde_json::json!(["heartbeat.interval_ms", "heartbeat.ttl_ms"]));
    wait_until("the new TTL", TIMEOUT, || scene.heartbeat("n1").is_some_and(|(_, ttl)| ttl > 60));

    // By a signal: the log level changes.
    scene.set("log.level", "debug");
    scene.write_config("n1");
    worker.signal("HUP");
    wait_until("the second reload", TIMEOUT, || scene.notifications_with("event", "RELOADED").len() == 2);
    scene.send_snapshots(&codes, "");
    wait_until("debug lines", TIMEOUT, || worker.log_text().contains(r#""level":"debug""#));

    // By saving the file only, as editors do.
    scene.set("heartbeat.ttl_ms", 200_000);
    scene.write_config("n1");
    wait_until("the newest TTL", TIMEOUT, || scene.heartbeat("n1").is_some_and(|(_, ttl)| ttl > 150));
    let applied = scene.notifications_with("event", "RELOADED");
    assert_eq!(applied.len(), 3, "each change is reported once");
}

#[test]
fn symlink_swap_of_mounted_file_reloads_once() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("mounted", PROGRAM, data);
    let at = |name: &str| scene.folder().join(name);
    let (data, file) = (at("..data"), at("data_worker.yml"));
    let (first, second, new_link) = (at("..first"), at("..second"), at("..data_tmp"));
    for (folder, ttl_ms) in [(&first, 7_000), (&second, 90_000)] {
        scene.set("heartbeat.interval_ms", 300).set("heartbeat.ttl_ms", ttl_ms);
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("data_worker.yml"), scene.config_text("n1")).unwrap();
    }
    symlink("..first", &data).unwrap();
    symlink("..data/data_worker.yml", &file).unwrap();
    let folder = scene.folder().display().to_string();
    let _worker = Worker::start(Path::new(PROGRAM), &file, &file.with_extension("log"), &[("GINKGO_DIR", &folder)]);
    scene.wait_for_status("n1", "running");
    assert!(scene.heartbeat("n1").is_some_and(|(_, ttl)| ttl <= 7));
    // As Kubernetes does: the same link now points to another folder.
    symlink("..second", &new_link).unwrap();
    std::fs::rename(&new_link, &data).unwrap();
    wait_until("the new TTL", TIMEOUT, || scene.heartbeat("n1").is_some_and(|(_, ttl)| ttl > 60));
    assert_eq!(scene.notifications_with("event", "RELOADED").len(), 1);
}

#[test]
fn refused_reload_names_reason_and_changes_nothing() {
    let Market { codes, data, .. } = market(10, 3);
    let mut scene = Scene::new("refused", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let problems = |answer: &Value| answer["data"]["problems"].to_string();

    // A broken file, with every problem and its line.
    scene.write_raw_config("n1", "batch:\n  max_rows: many\n  min_row: 5\n");
    let answer = reload(&scene, "broken");
    assert_eq!(answer["data"]["event"], "RELOAD_REFUSED");
    assert_eq!(answer["level"], "ERROR");
    let text = problems(&answer);
    assert!(text.contains("n1.yml, line 2: batch.max_rows: it must be a whole number"), "{text}");
    assert!(text.contains("line 3: batch.min_row: unknown setting; did you mean batch.min_rows?"), "{text}");

    // The refusal names all settings that need a restart.
    let other = scene.config_text("n1").replace(&scene.name, "another").replace("node_id: n1", "node_id: n9");
    scene.write_raw_config("n1", &other);
    let text = problems(&reload(&scene, "restart"));
    for name in ["kafka.group_id", "kafka.command_topics", "kafka.control_topic", "worker.node_id"] {
        assert!(text.contains(&format!("{name}: a change needs a restart: ")), "{name}: {text}");
    }

    // A missing server: the reload tests servers before it uses them.
    let port = kit::services::free_port();
    scene.set("clickhouse.port", port).set("redis.port", port);
    scene.write_config("n1");
    let text = problems(&reload(&scene, "servers"));
    assert!(text.contains("clickhouse: ") && text.contains("redis: "), "it names every failing server: {text}");

    // The file is missing.
    scene.remove_config("n1");
    let text = problems(&reload(&scene, "gone"));
    assert!(text.contains("n1.yml is gone"), "{text}");

    // The old configuration stays in force throughout.
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.notifications_with("event", "RELOADED").len(), 0);
    scene.order("heartbeat_test", None, "beat");
    wait_until("the counter of refused reloads", TIMEOUT, || {
        let stats = scene.heartbeat("n1").map(|(value, _)| value["stats"].clone()).unwrap_or_default();
        stats["reloads_refused"].as_u64() >= Some(4) && stats["config_generation"] == 1
    });
}

#[test]
fn reload_applies_source_token_and_address() {
    let Market { codes, data, .. } = market(20, 3);
    let mut scene = Scene::new("source", PROGRAM, data);
    scene.set("sources.tushare.token", "outdated");
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.set("sources.tushare.token", "tok-ok");
    scene.write_config("n1");
    let answer = reload(&scene, "token");
    assert_eq!(answer["data"]["changed"], serde_json::json!(["sources.tushare.token"]), "{answer}");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn reload_applies_store_credentials_to_waiting_rows() {
    let Market { codes, data, .. } = market(150, 20);
    let mut scene = Scene::new("credentials", PROGRAM, data);
    scene.set("batch.max_rows", 400).set("batch.min_rows", 100).set("fetch.max_in_flight", 4);
    scene.set("batch.max_retry_delay_ms", 500);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(20)), FaultDuration::UntilCleared);
    let folder = scene.folder().join("engine");
    let (old, new) = ("first-s3cret", "second-s3cret");
    let server = PrivateClickHouse::start_as(&folder, 0, Some(("ginkgo", old)));
    let port = server.port;
    scene.database.url = format!("http://ginkgo:{old}@127.0.0.1:{port}");
    scene.set("clickhouse.port", port).set("clickhouse.user", "ginkgo").set("clickhouse.password", old);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("some rows", TIMEOUT, || scene.database.count() >= 400);

    // The password changes on the server first: rows wait and none is lost.
    server.kill();
    let _server = PrivateClickHouse::start_as(&folder, port, Some(("ginkgo", new)));
    scene.database.url = format!("http://ginkgo:{new}@127.0.0.1:{port}");
    wait_until("the alert", TIMEOUT, || !scene.notifications_with("class", "access").is_empty());
    assert!(scene.committed().iter().sum::<i64>() < 150);
    scene.set("clickhouse.password", new);
    scene.write_config("n1");
    assert_eq!(reload(&scene, "password")["data"]["event"], "RELOADED");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);

    // No output contains a secret.
    let said = format!("{}{:?}{:?}", worker.log_text(), scene.notifications(), scene.heartbeat("n1"));
    for secret in [old, new, "tok-ok", &kit::services::required("TEST_MYSQL_PASSWORD")] {
        assert!(!said.contains(secret), "an output contains a secret");
    }
}

#[test]
fn reload_under_load_applies_good_and_rejects_broken() {
    let Market { codes, data, .. } = market(400, 10);
    let mut scene = Scene::new("reloads", PROGRAM, data);
    scene.set("fetch.max_in_flight", 4);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(20)), FaultDuration::UntilCleared);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    let (mut before, mut memory) = (String::new(), 0);
    for round in 0..200 {
        let id = format!("round {round}");
        if round % 2 == 0 {
            // Retries, batches, concurrency and limits change back and forth.
            let n = round / 2;
            scene.set("fetch.max_in_flight", 4 + n % 5).set("batch.flush_interval_ms", 200 + n);
            scene.set("fetch.first_retry_delay_ms", 50 + n).set("quality.max_examples", 10 + n);
            scene.write_config("n1");
            // The file watch may reload before the command arrives.
            let answer = reload(&scene, &id);
            let event = answer["data"]["event"].as_str().unwrap_or_default();
            assert!(matches!(event, "RELOADED" | "RELOAD_UNCHANGED"), "{id}: {answer}");
            before = scene.config_text("n1");
        } else {
            scene.write_raw_config("n1", &before.replace("flush_interval_ms", "flush_intervall_ms"));
            assert_eq!(reload(&scene, &id)["data"]["event"], "RELOAD_REFUSED", "{id}");
        }
        if round == 50 {
            memory = worker.resident_memory_kib();
        }
    }
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
    assert_eq!(scene.notifications_with("event", "RELOADED").len(), 100, "each valid file is applied once");
    scene.order("heartbeat_test", None, "beat");
    wait_until("the config generation of the last file", TIMEOUT, || {
        scene.heartbeat("n1").is_some_and(|(value, _)| value["stats"]["config_generation"] == 101)
    });
    let growth = worker.resident_memory_kib().saturating_sub(memory);
    assert!(growth < 8 * 1024, "resident memory grew by {growth} KiB over 150 reloads");
}

#[test]
fn new_store_gets_the_rows_it_lacks() {
    let Market { codes, data, last_day } = market(20, 10);
    let mut scene = Scene::new("moved", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    // The other store is a copy that is some days old.
    let name = format!("{}_other", scene.name);
    let other = kit::clickhouse::Database::shared(&name);
    other.create();
    other.query(&format!("CREATE TABLE bar AS {}.bar", scene.name));
    let old = "timestamp < (SELECT max(timestamp) - INTERVAL 5 DAY FROM {}.bar)".replace("{}", &scene.name);
    other.query(&format!("INSERT INTO bar SELECT * FROM {}.bar WHERE {old}", scene.name));
    scene.source.append_day(last_day);
    scene.set("clickhouse.database", &name);
    scene.write_config("n1");
    let answer = reload(&scene, "moved");
    assert_eq!(answer["data"]["changed"], serde_json::json!(["clickhouse.database"]), "{answer}");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let stored: Vec<_> = other.bars();
    assert_eq!(stored, scene.expected(&codes));
}
