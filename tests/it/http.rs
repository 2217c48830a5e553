// Upstream: logs, metrics, quality_listing, secrets, ticks
// Downstream: kit, main_job
// Role: A worker asked over HTTP, well, hung, paused and without its servers; and by `health` and `status`.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kit::clickhouse::OwnServer;
use kit::http::{connect, get, send};
use kit::redis::OwnRedis;
use kit::scene::{Scene, TIMEOUT};
use kit::services::free_port;
use kit::tushare_server::{Fault, Lasting};
use kit::wait::{wait_for, wait_until};
use serde_json::Value;

use crate::main_job::{Market, PROGRAM, market};

/// Where a node can be asked, by its heartbeat.
pub fn address(scene: &Scene, node: &str) -> String {
    wait_for("the address in the heartbeat", TIMEOUT, || {
        let (heartbeat, _) = scene.heartbeat(node)?;
        heartbeat["stats"]["http_address"].as_str().map(str::to_owned)
    })
}

fn program(scene: &Scene, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).envs(scene.variables()).env("GINKGO_DIR", scene.folder());
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_worker_tells_its_health_its_readiness_and_its_state() {
    let Market { codes, data, .. } = market(40, 5);
    let mut scene = Scene::new("http", PROGRAM, data);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();

    let health = get(&address, "/healthz");
    assert_eq!((health.status, &health.json()["status"]), (200, &"alive".into()), "{health:?}");
    let ready = get(&address, "/readyz");
    assert_eq!((ready.status, &ready.json()["reasons"]), (200, &Value::Array(vec![])), "{ready:?}");

    // The broker's word comes with librdkafka's statistics, every five seconds.
    let status = wait_for("a status without lag", TIMEOUT, || {
        let status = get(&address, "/status").json();
        (status["feed"]["lag"] == 0).then_some(status)
    });
    assert_eq!(status["node_id"], "n1");
    assert_eq!(status["status"], "running");
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["config"]["generation"], 1);
    assert_eq!(status["commands"]["resolved"], 40);
    assert_eq!(status["rows"]["written"], 200);
    assert_eq!(status["intake"]["open"], true);
    let children = status["supervision"]["children"].as_array().unwrap();
    assert_eq!(children.len(), 7, "{status}");
    for child in children {
        assert_eq!((&child["state"], &child["restarts"]), (&"running".into(), &0.into()), "{child}");
        assert!(child["last_progress_seconds"].as_f64().is_some_and(|seconds| seconds < 5.0), "{child}");
    }
    let partitions = status["partitions"].as_array().unwrap();
    let positions: Vec<i64> = partitions.iter().filter_map(|partition| partition["position"].as_i64()).collect();
    assert_eq!(positions, scene.sent(), "{status}");
    for partition in partitions {
        assert_eq!(partition["end"], partition["position"], "{partition}");
    }
    assert!(status["tasks"].as_object().unwrap().values().all(|count| count == 0), "{status}");

    assert_eq!(get(&address, "/nothing").status, 404);
    assert_eq!(send(&address, "POST /status HTTP/1.1\r\nHost: w\r\nContent-Length: 0\r\n\r\n").status, 405);
}

#[test]
fn a_request_is_bounded_in_size_and_time_and_no_asker_keeps_others_out_for_long() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("bounds", PROGRAM, data);
    let _worker = scene.start("n1");
    let address = address(&scene, "n1");
    let long = format!("GET /status HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let refused = send(&address, &long);
    assert!(matches!(refused.status, 0 | 431), "{refused:?}");
    // As many askers that say nothing as there is room for.
    let begun = Instant::now();
    let mut silent: Vec<_> = (0..32).map(|_| connect(&address)).collect();
    wait_until("room for an asker who speaks", TIMEOUT, || get(&address, "/healthz").status == 200);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let mut answer = Vec::new();
    let _reset = silent.pop().unwrap().read_to_end(&mut answer);
    assert!(begun.elapsed() < Duration::from_secs(15), "a silent connection is closed");
}

#[test]
fn a_worker_that_is_paused_or_without_its_store_is_alive_and_not_ready() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("unready", PROGRAM, data);
    let store = OwnServer::start(&scene.folder().join("engine"), 0);
    scene.database.url = format!("http://127.0.0.1:{}", store.port);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    wait_until("it is ready", TIMEOUT, || get(&address, "/readyz").status == 200);
    scene.order("pause", None, "p");
    let reasons = |address: &str| get(address, "/readyz").json()["reasons"].to_string();
    wait_until("it says that it is paused", TIMEOUT, || reasons(&address).contains("paused"));
    assert_eq!(get(&address, "/readyz").status, 503);
    scene.order("resume", None, "r");
    wait_until("it is ready again", TIMEOUT, || get(&address, "/readyz").status == 200);
    store.kill();
    wait_until("it says that the store is away", TIMEOUT, || reasons(&address).contains("ClickHouse"));
    assert_eq!(get(&address, "/healthz").status, 200, "a restart would not bring the store back");
}

#[test]
fn without_redis_a_worker_is_alive_and_not_ready_and_a_watch_goes_on() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("noredis", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 500);
    let redis = OwnRedis::start();
    scene.redis_url = redis.url();
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    wait_until("it is ready", TIMEOUT, || get(&address, "/readyz").status == 200);
    let seen = scene.folder().join("watched");
    let output = std::fs::File::create(&seen).unwrap();
    let mut watch = Command::new(PROGRAM)
        .args(["status", "--watch"])
        .envs(scene.variables())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let shown = || std::fs::read_to_string(&seen).unwrap();
    let tables = |text: &str| text.lines().filter(|line| line.starts_with("n1    running  ok")).count();
    wait_until("two looks", TIMEOUT, || tables(&shown()) >= 2);

    let port = redis.kill();
    wait_until("it says that Redis is away", TIMEOUT, || {
        let ready = get(&address, "/readyz");
        ready.status == 503 && ready.json()["reasons"].to_string().contains("Redis took the last heartbeat")
    });
    assert_eq!(get(&address, "/healthz").status, 200, "a restart would not bring Redis back");
    assert!(shown().contains(&format!("redis://127.0.0.1:{port}")), "the watch says it, too: {}", shown());
    let looks = tables(&shown());

    let _redis = OwnRedis::start_on(port);
    wait_until("it is ready again", TIMEOUT, || get(&address, "/readyz").status == 200);
    wait_until("a look after that", TIMEOUT, || tables(&shown()) > looks);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn a_hung_actor_makes_the_worker_unhealthy_and_is_named() {
    let Market { codes, data, .. } = market(2, 2);
    let mut scene = Scene::new("hung", PROGRAM, data);
    let _worker = scene.start_with("n1", &[("FAILPOINTS", "fetcher::handler=1*sleep(60000)")]);
    let address = address(&scene, "n1");
    scene.send_snapshots(&codes, "");
    let late = wait_for("it is unhealthy", TIMEOUT, || {
        let health = get(&address, "/healthz");
        (health.status == 503).then(|| health.json())
    });
    assert_eq!(late["late"][0]["part"], "fetcher", "{late}");
    let own = address.trim_start_matches("http://");
    let health = program(&scene, &["health", "--address", own]);
    assert_eq!(health.status.code(), Some(1));
    assert!(text(&health.stdout).contains("actor fetcher has not moved for"), "{health:?}");
}

#[test]
fn health_is_0_for_a_worker_that_lives_and_1_within_3_s_for_one_that_is_stopped_or_gone() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("health", PROGRAM, data);
    scene.set("http.port", free_port());
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let config = scene.folder().join("n1.yml").display().to_string();
    let health = || {
        let begun = Instant::now();
        let output = program(&scene, &["health", "--config", &config]);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        assert_eq!(text(&output.stdout).lines().count(), 1, "{output:?}");
        (output.status.code(), text(&output.stdout))
    };
    let (code, line) = health();
    assert_eq!(code, Some(0), "{line}");
    assert!(line.starts_with("healthy: n1 at 127.0.0.1:"), "{line}");
    worker.signal("STOP");
    let (code, line) = health();
    assert_eq!(code, Some(1), "{line}");
    assert!(line.contains("does not answer within"), "{line}");
    worker.signal("CONT");
    wait_until("it lives again", TIMEOUT, || health().0 == Some(0));
    worker.kill();
    let (code, line) = health();
    assert_eq!(code, Some(1));
    assert!(line.contains("cannot be reached"), "{line}");
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_what_to_do() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("taken", PROGRAM, data);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    scene.set("http.port", taken.local_addr().unwrap().port());
    let mut worker = scene.start("n1");
    assert_eq!(worker.wait(Duration::from_secs(30)).code(), Some(1));
    assert!(worker.log_text().contains("cannot be listened on"), "{}", worker.log_text());
    scene.set("http.enabled", false);
    let _worker = scene.start("n2");
    scene.wait_for_status("n2", "running");
}

#[test]
fn status_shows_every_worker_at_a_glance_and_says_which_does_not_answer() {
    let Market { codes, data, .. } = market(40, 3);
    let mut scene = Scene::new("fleet", PROGRAM, data);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(1)), Lasting::UntilCleared);
    let (_first, second) = (scene.start("n1"), scene.start("n2"));
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let table = program(&scene, &["status"]);
    let lines: Vec<String> = text(&table.stdout).lines().map(str::to_owned).collect();
    assert_eq!((table.status.code(), lines.len()), (Some(0), 3), "{table:?}");
    assert!(lines[0].starts_with("NODE  STATE    HTTP"), "{lines:?}");
    for (line, node) in lines[1..].iter().zip(["n1", "n2"]) {
        assert!(line.starts_with(&format!("{node}    running  ok")), "{lines:?}");
    }
    second.signal("STOP");
    let json = program(&scene, &["status", "--json"]);
    let workers: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(workers[0]["status"]["node_id"], "n1", "{workers}");
    assert_eq!(workers[0]["heartbeat"]["node_id"], "n1");
    assert_eq!(workers[1]["status"], Value::Null);
    assert!(workers[1]["status_problem"].as_str().unwrap().contains("does not answer"), "{workers}");
    second.signal("CONT");
    let nobody = Command::new(PROGRAM)
        .args(["status"])
        .envs(scene.variables())
        .env("GINKGO_DATA_WORKER__REDIS__KEY_PREFIX", "heartbeat:nobody")
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(1));
    assert!(text(&nobody.stderr).contains("no worker beats"), "{nobody:?}");
}
