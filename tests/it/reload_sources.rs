// Upstream: none
// Downstream: kit, main_job, reload
// Role: Tests reloads of `sources` while a source is down: only what the change concerns is tried.

use kit::scene::Scene;
use kit::services::free_port;
use kit::tushare_server::{Fault, FaultDuration};
use serde_json::Value;

use crate::main_job::{Market, PROGRAM, market};
use crate::reload::reload;

const WARNING: &str = "a further source does not answer; the configuration is applied without it";

/// A worker whose further source of bars is a ClickHouse server that is down.
fn scene(name: &str) -> (Scene, Vec<String>) {
    let Market { codes, data, .. } = market(5, 3);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("sources.bars", "[tushare, clickhouse]").set("sources.clickhouse.port", free_port());
    (scene, codes)
}

fn reloaded(scene: &Scene, id: &str) -> Value {
    scene.write_config("n1");
    let answer = reload(scene, id);
    assert_eq!(answer["data"]["event"], "RELOADED", "{id}: {answer}");
    answer["data"]["changed"].clone()
}

#[test]
fn dead_further_source_refuses_no_reload() {
    let (mut scene, codes) = scene("further");
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let num_warnings = || worker.log_text().matches(WARNING).count();

    // A change of something else does not try it.
    scene.set("sources.pause_ms", 700).set("sources.tushare.max_concurrent", 3);
    let changed = reloaded(&scene, "other");
    assert_eq!(changed, serde_json::json!(["sources.pause_ms", "sources.tushare.max_concurrent"]));
    assert_eq!(num_warnings(), 0);

    // A change of its own settings, and a source for comparisons that is down, are warnings.
    scene.set("sources.clickhouse.port", free_port());
    reloaded(&scene, "own");
    assert_eq!(num_warnings(), 1);
    scene.set("sources.redis.port", free_port()).set("sources.cross_check.bars", "[redis]");
    reloaded(&scene, "comparison");
    assert_eq!(num_warnings(), 2);

    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}

#[test]
fn preferred_source_is_tried_only_where_it_changes() {
    let (mut scene, codes) = scene("preferred");
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");

    // The dead source must not become the preferred one, and the preferred one must not get a dead address.
    let good = scene.source.url();
    for (key, value, was, place) in [
        ("sources.bars", "[clickhouse, tushare]".to_owned(), "[tushare, clickhouse]", "source clickhouse"),
        ("sources.tushare.url", format!("http://127.0.0.1:{}/", free_port()), good.as_str(), "source tushare"),
    ] {
        scene.set(key, value);
        scene.write_config("n1");
        let answer = reload(&scene, key);
        assert_eq!(answer["data"]["event"], "RELOAD_REFUSED", "{answer}");
        assert!(answer["data"]["problems"].to_string().contains(place), "{place}: {answer}");
        scene.set(key, was);
    }

    // While the preferred source is down, a change of something else is applied.
    scene.source.set_fault(Fault::Down, FaultDuration::UntilCleared);
    scene.set("sources.pause_ms", 700);
    reloaded(&scene, "pause");
    scene.source.clear_fault();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}
