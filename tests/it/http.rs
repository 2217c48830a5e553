// Upstream: many
// Downstream: kit, main_job
// Role: Tests a worker's HTTP endpoints, `health` and `status`: healthy, hung, paused and without its servers.

use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use kit::clickhouse::PrivateClickHouse;
use kit::http::{connect, get, send};
use kit::redis::PrivateRedis;
use kit::scene::{Scene, TIMEOUT};
use kit::services::free_port;
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::{wait_for, wait_until};
use serde_json::Value;

use crate::main_job::{Market, PROGRAM, market};

/// The HTTP address of a node, from its heartbeat.
pub fn address(scene: &Scene, node: &str) -> String {
    wait_for("the HTTP address in the heartbeat", TIMEOUT, || {
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
fn serves_health_readiness_and_status() {
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

    // The lag comes with librdkafka's statistics, every five seconds.
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
fn a_readiness_check_is_one_question_without_a_log_line() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("readycost", PROGRAM, data);
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    let statements = || scene.database.statements().values().sum::<u64>();
    let lines = || worker.log_text().matches("table checked").count();
    let before = (statements(), lines());
    assert_eq!(get(&address, "/readyz").status, 200);
    assert_eq!((statements(), lines()), (before.0 + 1, before.1));
    scene.database.query("DROP TABLE bar");
    wait_until("a missing table is not ready", TIMEOUT, || get(&address, "/readyz").status == 503);
}

#[test]
fn rejects_long_request_and_closes_silent_connections() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("bounds", PROGRAM, data);
    let _worker = scene.start("n1");
    let address = address(&scene, "n1");
    let long = format!("GET /status HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let refused = send(&address, &long);
    assert!(matches!(refused.status, 0 | 431), "{refused:?}");
    // As many silent connections as the server accepts.
    let begun = Instant::now();
    let mut silent: Vec<_> = (0..32).map(|_| connect(&address)).collect();
    wait_until("an answer despite the silent connections", TIMEOUT, || get(&address, "/healthz").status == 200);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let mut answer = Vec::new();
    let _reset = silent.pop().unwrap().read_to_end(&mut answer);
    assert!(begun.elapsed() < Duration::from_secs(15), "a silent connection is closed");
}

#[test]
fn paused_or_storeless_worker_is_not_ready() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("unready", PROGRAM, data);
    let store = PrivateClickHouse::start(&scene.folder().join("engine"), 0);
    scene.database.url = format!("http://127.0.0.1:{}", store.port);
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    wait_until("the worker is ready", TIMEOUT, || get(&address, "/readyz").status == 200);
    scene.order("pause", None, "p");
    let reasons = |address: &str| get(address, "/readyz").json()["reasons"].to_string();
    wait_until("`paused` among the reasons", TIMEOUT, || reasons(&address).contains("paused"));
    assert_eq!(get(&address, "/readyz").status, 503);
    scene.order("resume", None, "r");
    wait_until("the worker is ready again", TIMEOUT, || get(&address, "/readyz").status == 200);
    store.kill();
    wait_until("ClickHouse among the reasons", TIMEOUT, || reasons(&address).contains("ClickHouse"));
    assert_eq!(get(&address, "/healthz").status, 200, "a restart would not bring the store back");
}

#[test]
fn not_ready_without_redis_while_watch_continues() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("noredis", PROGRAM, data);
    scene.set("heartbeat.interval_ms", 500);
    let redis = PrivateRedis::start();
    scene.redis_url = redis.url();
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    wait_until("the worker is ready", TIMEOUT, || get(&address, "/readyz").status == 200);
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
    let tables = |text: &str| text.lines().filter(|line| line.starts_with("  running  ")).count();
    wait_until("two tables of `status --watch`", TIMEOUT, || tables(&shown()) >= 2);

    let port = redis.kill();
    wait_until("Redis among the reasons", TIMEOUT, || {
        let ready = get(&address, "/readyz");
        ready.status == 503 && ready.json()["reasons"].to_string().contains("Redis accepted the last heartbeat")
    });
    assert_eq!(get(&address, "/healthz").status, 200, "a restart would not bring Redis back");
    assert!(shown().contains(&format!("redis://127.0.0.1:{port}")), "`status --watch` names it: {}", shown());
    wait_until("the settings to check", TIMEOUT, || shown().contains("check redis.host and redis.port"));
    let looks = tables(&shown());

    let _redis = PrivateRedis::start_on(port);
    wait_until("the worker is ready again", TIMEOUT, || get(&address, "/readyz").status == 200);
    wait_until("another table of `status --watch`", TIMEOUT, || tables(&shown()) > looks);
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn hung_actor_is_unhealthy_and_named() {
    let Market { codes, data, .. } = market(2, 2);
    let mut scene = Scene::new("hung", PROGRAM, data);
    let _worker = scene.start_with("n1", &[("FAILPOINTS", "fetcher::handler=1*sleep(60000)")]);
    let address = address(&scene, "n1");
    scene.send_snapshots(&codes, "");
    let late = wait_for("an unhealthy answer", TIMEOUT, || {
        let health = get(&address, "/healthz");
        (health.status == 503).then(|| health.json())
    });
    assert_eq!(late["late"][0]["part"], "fetcher", "{late}");
    let own = address.trim_start_matches("http://");
    let health = program(&scene, &["health", "--address", own]);
    assert_eq!(health.status.code(), Some(1));
    assert!(text(&health.stdout).contains("actor fetcher has not responded for"), "{health:?}");
}

#[test]
fn health_exit_code_tells_live_from_stopped_worker() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("health", PROGRAM, data);
    scene.set("http.port", free_port());
    let mut worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let config = scene.folder().join("n1.yml").display().to_string();
    let health = || {
        let output = program(&scene, &["health", "--config", &config]);
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
    wait_until("the worker is healthy again", TIMEOUT, || health().0 == Some(0));
    worker.kill();
    let (code, line) = health();
    assert_eq!(code, Some(1));
    assert!(line.contains("cannot be reached"), "{line}");
}

#[test]
fn occupied_port_ends_start_with_advice() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("taken", PROGRAM, data);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    scene.set("http.port", taken.local_addr().unwrap().port());
    let mut worker = scene.start("n1");
    assert_eq!(worker.wait(Duration::from_secs(30)).code(), Some(1));
    assert!(worker.log_text().contains("cannot listen on"), "{}", worker.log_text());
    scene.set("http.enabled", false);
    let _worker = scene.start("n2");
    scene.wait_for_status("n2", "running");
}

#[test]
fn status_lists_workers_and_marks_silent_ones() {
    let Market { codes, data, .. } = market(40, 3);
    let mut scene = Scene::new("fleet", PROGRAM, data);
    scene.source.set_fault(Fault::Slow(Duration::from_millis(1)), FaultDuration::UntilCleared);
    let (_first, second) = (scene.start("n1"), scene.start("n2"));
    scene.wait_for_status("n1", "running");
    scene.wait_for_status("n2", "running");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let table = program(&scene, &["status"]);
    let lines: Vec<String> = text(&table.stdout).lines().map(str::to_owned).collect();
    assert_eq!((table.status.code(), lines.len()), (Some(0), 5), "{table:?}");
    assert!(lines[0].starts_with("  STATE    ") && lines[0].contains("PARTS  LAG  OPEN  DONE"), "{lines:?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "a terminal has 80 columns: {lines:?}");
    for (block, node) in lines[1..].chunks(2).zip(["n1", "n2"]) {
        assert!(block[0] == node && block[1].starts_with("  running  "), "{lines:?}");
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
    assert!(text(&nobody.stderr).contains("no heartbeats found"), "{nobody:?}");
}
