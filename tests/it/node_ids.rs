// Upstream: none
// Downstream: actors, data_worker, http, kit, main_job
// Role: Tests two workers with one node id: each names worker.node_id and the other's host, and keeps its heartbeat.

use std::time::Duration;

use actors::ports::HeartbeatStore;
use data_worker::adapters::redis::RedisHeartbeats;
use data_worker::config::RedisSection;
use kit::http::get;
use kit::scene::{Scene, TIMEOUT, needs_apache_kafka};
use kit::wait::wait_until;

use crate::http::address;
use crate::main_job::{PROGRAM, market};

#[test]
fn two_workers_with_one_node_id_are_named() {
    if !needs_apache_kafka("static members") {
        return;
    }
    let mut scene = Scene::new("rivals", PROGRAM, market(1, 1).data);
    scene.set("heartbeat.interval_ms", 1_000);
    let first = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    let _second = scene.start("n1");
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    wait_until("the first names the other's host", TIMEOUT, || {
        let reasons = get(&address, "/readyz").json()["reasons"].to_string();
        reasons.contains(&format!("a worker on host {host}, process")) && reasons.contains("worker.node_id")
    });
    wait_until("the fenced consumer names the setting", TIMEOUT, || {
        first.log_text().contains("another worker has joined the group with the same node id")
    });
}

#[test]
fn a_stop_removes_only_its_own_heartbeat() {
    let scene = Scene::new("rivalbeat", PROGRAM, market(1, 1).data);
    let (host, port) = kit::services::host_and_port(&scene.redis_url);
    let section =
        RedisSection { host, port, key_prefix: format!("heartbeat:{}", scene.name), ..RedisSection::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let [first, second] = [(); 2].map(|()| RedisHeartbeats::new(&section, "n1"));
        let ttl = Duration::from_secs(60);
        assert_eq!(first.beat("{\"a\":1}", ttl).await.unwrap(), None);
        // It may replace a worker that was killed.
        assert_eq!(second.beat("{\"b\":1}", ttl).await.unwrap(), None);
        assert_eq!(first.beat("{\"a\":2}", ttl).await.unwrap().as_deref(), Some("{\"b\":1}"));
        assert_eq!(first.beat("{\"a\":3}", ttl).await.unwrap(), None);
        second.remove().await.unwrap();
        assert_eq!(scene.heartbeat("n1").map(|(beat, _)| beat["a"].clone()), Some(3.into()));
        first.remove().await.unwrap();
        assert!(scene.heartbeat("n1").is_none());
    });
}
