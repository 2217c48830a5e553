// Upstream: none
// Downstream: kit, main_job, secure_kafka
// Role: Tests the death of one of several servers in mid-run: a Redis master under Sentinels, a ClickHouse host.

use kit::certificates::{Authority, Validity};
use kit::scene::{Scene, TIMEOUT};
use kit::secure_redis::{PASSWORD, SENTINEL_PASSWORD, SentinelSet};
use kit::secure_stack::clickhouse_address;
use kit::tls_front::TlsFront;
use kit::wait::{wait_for, wait_until};

use crate::main_job::{Market, PROGRAM, market};
use crate::secure_kafka::{check_servers, line_of};

#[test]
fn heartbeats_follow_a_failover_of_sentinels() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let mut servers = SentinelSet::start(folder.path(), &authority, &authority.server("good", Validity::NOW));
    let Market { codes, data, .. } = market(12, 3);
    let mut scene = Scene::new("sentinel", PROGRAM, data);
    scene.redis_url = servers.master_url();
    scene.set("redis.sentinel.master", SentinelSet::MASTER);
    scene.set(
        "redis.sentinel.nodes",
        format!("[{}]", servers.nodes().iter().map(|node| format!("\"{node}\"")).collect::<Vec<_>>().join(", ")),
    );
    scene.set("redis.tls", true).set("redis.ca_file", authority.ca_file.display());
    scene.set("redis.password", PASSWORD).set("redis.sentinel.password", SENTINEL_PASSWORD);
    // Not the master: the Sentinels alone name it.
    scene.set("redis.port", 1).set("heartbeat.interval_ms", 500).set("heartbeat.ttl_ms", 5_000);
    scene.list_codes(&[]);
    let (code, text) = check_servers(&scene, "right");
    let line = line_of(&text, "Redis");
    assert!(code == Some(0) && line.contains("the master is 127.0.0.1:") && line.contains("CN=good"), "{text}");
    scene.set("redis.sentinel.password", "wrong");
    let (_, text) = check_servers(&scene, "wrong");
    let line = line_of(&text, "Redis");
    assert!(line.starts_with("FAILED") && line.contains("redis.sentinel.password"), "{line}");
    scene.set("redis.sentinel.password", SENTINEL_PASSWORD);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes, "");
    servers.kill_master();
    servers.wait_for_promotion();
    scene.redis_url = servers.replica_url();
    let beat = || scene.heartbeat("n1").map(|(beat, _)| beat);
    let first = wait_for("a heartbeat on the new master", TIMEOUT, beat);
    wait_until("a later heartbeat on the new master", TIMEOUT, || beat().is_some_and(|beat| beat != first));
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn second_clickhouse_host_takes_over_in_mid_run() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "ca");
    let identity = authority.server("good", Validity::NOW);
    let [first, second] = [(); 2].map(|()| TlsFront::start(clickhouse_address(), &identity, None));
    let Market { codes, data, last_day } = market(60, 5);
    let mut scene = Scene::new("twohosts", PROGRAM, data);
    let hosts = [&first, &second].map(|front| format!("\"{}\"", front.address())).join(", ");
    scene.set("clickhouse.hosts", format!("[{hosts}]")).set("clickhouse.tls", true);
    scene.set("clickhouse.ca_file", authority.ca_file.display());
    scene.set("fetch.max_in_flight", 4).set("batch.flush_interval_ms", 50);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..20], "");
    scene.wait_until_committed();
    assert!(
        second.num_sessions() <= 1,
        "the first host answers and is kept to; of the second only the certificate is seen"
    );
    scene.send_snapshots(&codes[20..], "");
    wait_until("some of the rows are written", TIMEOUT, || scene.database.count() > 25 * 5);
    drop(first);
    scene.source.append_day(last_day);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert!(second.num_sessions() > 1);
    assert!(worker.log_text().contains("connected to the next of clickhouse.hosts"));
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn a_renewed_ca_file_needs_no_restart() {
    let folder = tempfile::tempdir().unwrap();
    let [old, new] = ["old", "new"].map(|name| Authority::new(folder.path(), name));
    let front = |authority: &Authority, name| {
        TlsFront::start(clickhouse_address(), &authority.server(name, Validity::NOW), None)
    };
    let (first, second) = (front(&old, "first"), front(&new, "second"));
    let file = folder.path().join("trusted.pem");
    std::fs::copy(&old.ca_file, &file).unwrap();
    let Market { codes, data, .. } = market(12, 3);
    let mut scene = Scene::new("renewed", PROGRAM, data);
    let hosts = [&first, &second].map(|front| format!("\"{}\"", front.address())).join(", ");
    scene.set("clickhouse.hosts", format!("[{hosts}]")).set("clickhouse.tls", true);
    scene.set("clickhouse.ca_file", file.display());
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    scene.send_snapshots(&codes[..4], "");
    scene.wait_until_committed();
    std::fs::copy(&new.ca_file, &file).unwrap();
    drop(first);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert!(second.num_sessions() > 1);
}
