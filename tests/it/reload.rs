// Upstream: reload_effects, secrets
// Downstream: kit, main_job
// Role: The configuration read anew while the worker works: applied as a whole or refused, and no command suffers.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use kit::clickhouse::OwnServer;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_server::{Fault, Lasting};
use kit::wait::{wait_for, wait_until};
use kit::worker::Worker;
use serde_json::Value;

use crate::main_job::{Market, PROGRAM, market};

/// Sends the order and waits for the answer to it.
pub fn reload(scene: &Scene, id: &str) -> Value {
    scene.order("reload", None, id);
    wait_for("the answer to the reload", TIMEOUT, || scene.notifications_with("correlation_id", id).pop())
}

#[test]
fn an_order_a_signal_and_a_saved_file_put_a_change_in_force() {
    let Market { codes, data, .. } = market(1, 1);
    let mut scene = Scene::new("reload", PROGRAM, data);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");

    assert_eq!(reload(&scene, "same")["data"]["event"], "RELOAD_UNCHANGED");

    // By an order. What changes is seen in what the worker does: the heartbeat's time to live.
    scene.set("heartbeat.ttl_ms", 90_000).set("heartbeat.interval_ms", 300);
    scene.write_config("n1");
    let answer = reload(&scene, "order");
    assert_eq!(answer["data"]["event"], "RELOADED", "{answer}");
    assert_eq!(answer["data"]["changed"], serde_json::json!(["heartbeat.interval_ms", "heartbeat.ttl_ms"]));
    wait_until("the new time to live", TIMEOUT, || scene.heartbeat("n1").is_some_and(|(_, ttl)| ttl > 60));

    // By a signal: the log level.
    scene.set("log.level", "debug");
    scene.write_config("n1");
    worker.signal("HUP");
    wait_until("the second change", TIMEOUT, || scene.notifications_with("event", "RELOADED").len() == 2);
    scene.send_snapshots(&codes, "");
    wait_until("debug lines", TIMEOUT, || worker.log_text().contains(r#""level":"debug""#));

    // By saving the file alone, as editors do it.
    scene.set("heartbeat.ttl_ms", 200_000);
    scene.write_config("n1");
    wait_until("the newest time to live", TIMEOUT, || scene.heartbeat("n1").is_some_and(|(_, ttl)| ttl > 150));
    let applied = scene.notifications_with("event", "RELOADED");
    assert_eq!(applied.len(), 3, "each change is told once");
}

#[test]
fn a_file_in_a_mounted_folder_is_seen_to_change_by_its_link_alone() {
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
    // As Kubernetes does it: another folder under the same link.
    symlink("..second", &new_link).unwrap();
    std::fs::rename(&new_link, &data).unwrap();
    wait_until("the new time to live", TIMEOUT, || scene.heartbeat("n1").is_some_and(|(_, ttl)| ttl > 60));
    assert_eq!(scene.notifications_with("event", "RELOADED").len(), 1);
}

#[test]
fn a_refused_reload_names_place_and_reason_and_changes_nothing() {
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
    assert!(text.contains("line 3: batch.min_row: there is no such setting; is batch.min_rows meant?"), "{text}");

    // Settings that need a restart, all by their names.
    let other = scene.config_text("n1").replace(&scene.name, "another").replace("node_id: n1", "node_id: n9");
    scene.write_raw_config("n1", &other);
    let text = problems(&reload(&scene, "restart"));
    for name in ["kafka.group_id", "kafka.command_topics", "kafka.control_topic", "worker.node_id"] {
        assert!(text.contains(&format!("{name}: a change needs a restart: ")), "{name}: {text}");
    }

    // A server that is not there: tried before it is used.
    let port = kit::services::free_port();
    scene.set("clickhouse.port", port).set("redis.port", port);
    scene.write_config("n1");
    let text = problems(&reload(&scene, "servers"));
    assert!(text.contains("clickhouse: ") && text.contains("redis: "), "every server that fails: {text}");

    // No file at all.
    scene.remove_config("n1");
    let text = problems(&reload(&scene, "gone"));
    assert!(text.contains("n1.yml is gone"), "{text}");

    // All the while the old one is in force.
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.notifications_with("event", "RELOADED").len(), 0);
    scene.order("heartbeat_test", None, "beat");
    wait_until("the counter of refusals", TIMEOUT, || {
        let stats = scene.heartbeat("n1").map(|(value, _)| value["stats"].clone()).unwrap_or_default();
        stats["reloads_refused"].as_u64() >= Some(4) && stats["config_generation"] == 1
    });
}

#[test]
fn a_new_source_token_and_address_serve_the_next_attempt() {
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
fn new_credentials_of_the_store_are_taken_while_rows_wait_to_be_written() {
    let Market { codes, data, .. } = market(150, 20);
    let mut scene = Scene::new("credentials", PROGRAM, data);
    scene.set("batch.max_rows", 400).set("batch.min_rows", 100).set("fetch.max_in_flight", 4);
    scene.set("batch.max_retry_delay_ms", 500);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(20)), Lasting::UntilCleared);
    let folder = scene.folder().join("engine");
    let (old, new) = ("first-s3cret", "second-s3cret");
    let server = OwnServer::start_as(&folder, 0, Some(("ginkgo", old)));
    let port = server.port;
    scene.database.url = format!("http://ginkgo:{old}@127.0.0.1:{port}");
    scene.set("clickhouse.port", port).set("clickhouse.user", "ginkgo").set("clickhouse.password", old);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    wait_until("some rows", TIMEOUT, || scene.database.count() >= 400);

    // The password changes on the server first: rows wait, nothing is lost.
    server.kill();
    let _server = OwnServer::start_as(&folder, port, Some(("ginkgo", new)));
    scene.database.url = format!("http://ginkgo:{new}@127.0.0.1:{port}");
    wait_until("the alert", TIMEOUT, || !scene.notifications_with("class", "access").is_empty());
    assert!(scene.committed().iter().sum::<i64>() < 150);
    scene.set("clickhouse.password", new);
    scene.write_config("n1");
    assert_eq!(reload(&scene, "password")["data"]["event"], "RELOADED");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);

    // None of the secrets is anywhere.
    let said = format!("{}{:?}{:?}", worker.log_text(), scene.notifications(), scene.heartbeat("n1"));
    for secret in [old, new, "tok-ok", &kit::services::required("TEST_MYSQL_PASSWORD")] {
        assert!(!said.contains(secret), "a secret was told");
    }
}

#[test]
fn two_hundred_reloads_under_load_apply_the_good_and_refuse_the_broken_half() {
    let Market { codes, data, .. } = market(400, 10);
    let mut scene = Scene::new("reloads", PROGRAM, data);
    scene.set("fetch.max_in_flight", 4);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(20)), Lasting::UntilCleared);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    let (mut before, mut memory) = (String::new(), 0);
    for round in 0..200 {
        let id = format!("round {round}");
        if round % 2 == 0 {
            // Retries, batches, concurrency and limits change to and fro.
            let n = round / 2;
            scene.set("fetch.max_in_flight", 4 + n % 5).set("batch.flush_interval_ms", 200 + n);
            scene.set("fetch.first_retry_delay_ms", 50 + n).set("quality.max_examples", 10 + n);
            scene.write_config("n1");
            // The watch of the file may be quicker than the order.
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
    assert_eq!(scene.notifications_with("event", "RELOADED").len(), 100, "each good file is put in force once");
    scene.order("heartbeat_test", None, "beat");
    wait_until("the generation of the last file", TIMEOUT, || {
        scene.heartbeat("n1").is_some_and(|(value, _)| value["stats"]["config_generation"] == 101)
    });
    let growth = worker.resident_memory_kib().saturating_sub(memory);
    assert!(growth < 8 * 1024, "resident memory grew by {growth} KiB over 150 reloads");
}

#[test]
fn another_store_gets_what_it_lacks_and_not_what_the_first_one_lacked() {
    let Market { codes, data, last_day } = market(20, 10);
    let mut scene = Scene::new("moved", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    // The other one is a copy that is some days old.
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
