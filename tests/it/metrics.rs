// Upstream: none
// Downstream: http, kit, main_job
// Role: Tests a worker's metrics under faults: counted, documented and scraped; dashboards and alerts find data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kit::exposition::{Family, Page};
use kit::http::get;
use kit::prometheus::{Prometheus, promtool};
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::DailyRow;
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::{wait_for, wait_until};
use kit::worker::Worker;
use serde_json::Value;

use crate::http::address;
use crate::main_job::{Market, PROGRAM, market};

/// A worker that has seen a fault of every counted kind, and its HTTP address.
fn eventful(name: &str) -> (Scene, Worker, String) {
    let Market { codes, data, last_day } = market(60, 5);
    let mut scene = Scene::new(name, PROGRAM, data);
    let mut rows = scene.source.rows(&codes[0]);
    rows.push(DailyRow::new(last_day, ["10", "9", "8", "10", "10", "1", "1"]));
    scene.source.set_rows(&codes[0], rows);
    let worker = scene.start_with("n1", &[("FAILPOINTS", "validator::handler=1*panic")]);
    scene.wait_for_status("n1", "running");
    scene.database.fault("mode=refuse&code=242&text=read_only", 1);
    scene.source.set_fault(Fault::Status(429, Some(1)), FaultDuration::Next(2));
    scene.send_snapshots(&codes, "");
    scene.send(&[b"not json".to_vec(), br#"{"command":"deploy","params":{}}"#.to_vec()]);
    scene.wait_until_committed();
    scene.write_raw_config("n1", "kafka: [\n");
    wait_until("the refused reload", TIMEOUT, || !scene.notifications_with("event", "RELOAD_REFUSED").is_empty());
    scene.set("log.level", "debug");
    scene.write_config("n1");
    wait_until("the reload", TIMEOUT, || !scene.notifications_with("event", "RELOADED").is_empty());
    let address = address(&scene, "n1");
    (scene, worker, address)
}

/// The metrics page, once librdkafka's statistics cover all partitions.
fn page(address: &str) -> Page {
    wait_for("metrics of all partitions", TIMEOUT, || {
        let answer = get(address, "/metrics");
        assert_eq!(answer.status, 200);
        let page = Page::parse(&answer.body);
        let reported = |name: &str| page.series.iter().filter(|(series, _)| series.starts_with(name)).count();
        (reported("data_worker_partition_committed_offset") == 4 && reported("data_worker_partition_lag_records") == 4)
            .then_some(page)
    })
}

#[test]
fn metrics_are_counted_and_documented() {
    let (scene, _worker, address) = eventful("counted");
    let page = page(&address);
    let is = |name: &str, parts: &[&str], expected: f64| {
        let found = page.value(name, parts);
        assert!((found - expected).abs() < 1e-9, "{name} {parts:?}: {found}, expected {expected}\n{:#?}", page.series);
    };
    is("data_worker_commands_total", &["done"], 60.0);
    is("data_worker_commands_total", &["passed_over"], 1.0);
    is("data_worker_commands_total", &["dead_letter"], 1.0);
    is("data_worker_dead_letters_total", &["bad_command"], 1.0);
    is("data_worker_rows_fetched_total", &[], 301.0);
    is("data_worker_rows_written_total", &[], 300.0);
    is("data_worker_rows_skipped_total", &["high_below_open_or_close"], 1.0);
    is("data_worker_rows_skipped_total", &[], 1.0);
    is("data_worker_task_duration_seconds_count", &["done"], 60.0);
    is("data_worker_task_duration_seconds_count", &["lost"], 1.0);
    is("data_worker_task_delay_seconds_count", &[], 60.0);
    is("data_worker_fetch_duration_seconds_count", &["tushare", "rate_limited"], 2.0);
    is("data_worker_fetch_duration_seconds_count", &["tushare", "\"ok\""], 61.0);
    is("data_worker_rate_limit_wait_seconds_count", &[], 2.0);
    assert!(
        page.value("data_worker_source_held_back_seconds_total", &["tushare", "daily"]) >= 1.0,
        "{:#?}",
        page.series
    );
    is("data_worker_source_requests", &["tushare", "\"daily\"", "\"day\""], 63.0);
    is("data_worker_source_request_limit", &["tushare", "\"daily\"", "\"day\""], 0.0);
    is("data_worker_topic_partitions", &[], 4.0);
    is("data_worker_retries_total", &["fetch", "rate_limited"], 2.0);
    is("data_worker_insert_rows_sum", &[], 300.0);
    is("data_worker_actor_restarts_total", &["validator"], 1.0);
    is("data_worker_actor_restarts_total", &[], 1.0);
    is("data_worker_reloads_total", &["applied"], 1.0);
    is("data_worker_reloads_total", &["refused"], 1.0);
    is("data_worker_config_generation", &[], 2.0);
    is("data_worker_partition_lag_records", &[], 0.0);
    is("data_worker_partition_watermark_offset", &[], 62.0);
    is("data_worker_state", &["running"], 1.0);
    is("data_worker_state", &[], 1.0);
    is("data_worker_tasks", &[], 0.0);
    is("data_worker_actor_up", &[], 7.0);
    assert!(page.value("data_worker_retries_total", &["store"]) >= 1.0, "{:#?}", page.series);
    assert!(page.value("data_worker_heartbeats_total", &["ok"]) >= 1.0);
    assert!(page.value("process_resident_memory_bytes", &[]) > 1e6);
    assert_eq!(scene.dead_letters().len(), 1);
    assert!(page.series.len() < 1_000, "{} series", page.series.len());
    assert!(page.families.values().all(|family| family.labels.contains("node_id")), "{:#?}", page.families);
    assert_eq!(page.families, documented());
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The tables of docs/metrics.md: name, type, labels, meaning. Every metric also has the label `node_id`.
fn documented() -> BTreeMap<String, Family> {
    let text = read("docs/metrics.md");
    let is_metric = |line: &&str| ["| `data_worker_", "| `process_"].iter().any(|start| line.starts_with(start));
    let rows = text.lines().filter(is_metric);
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let labels = cells[2].split(", ").map(|label| label.trim_matches('`').to_owned());
        let labels: BTreeSet<String> = labels.filter(|label| !label.is_empty()).chain(["node_id".to_owned()]).collect();
        let family = Family { kind: cells[1].to_owned(), help: cells[3].to_owned(), labels };
        (cells[0].trim_matches('`').to_owned(), family)
    })
    .collect()
}

const DASHBOARDS: [&str; 3] = ["fleet", "worker", "quality"];

/// Every query of the dashboards, with its dashboard.
fn queries() -> Vec<(String, String)> {
    fn gather(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => object.iter().for_each(|(key, value)| match (key.as_str(), value) {
                ("expr", Value::String(expression)) => found.push(expression.clone()),
                _ => gather(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| gather(item, found)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    for name in DASHBOARDS {
        let path = format!("docker/grafana/dashboards/{name}.json");
        let dashboard: Value = serde_json::from_str(&read(&path)).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut found = Vec::new();
        gather(&dashboard["panels"], &mut found);
        assert!(found.len() >= 5, "{path} has {} queries", found.len());
        all.extend(found.into_iter().map(|expression| (path.clone(), expression)));
    }
    all
}

/// The expressions of the alert rules.
fn alerts() -> Vec<String> {
    let text = read("docker/prometheus/alerts.yml");
    text.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).map(str::to_owned).collect()
}

/// The metrics that an expression names.
fn metrics_in(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("data_worker_") || word.starts_with("process_") || *word == "up").collect()
}

#[test]
fn dashboard_and_alert_queries_find_data() {
    let (mut scene, _worker, address) = eventful("scraped");
    let config = scene.folder().join("prometheus.yml");
    let target = address.trim_start_matches("http://");
    let text = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n\
         - job_name: data-worker\n  static_configs: [{{targets: ['{target}']}}]\n",
        repository("docker/prometheus/alerts.yml").display()
    );
    std::fs::write(&config, text).unwrap();
    let prometheus = Prometheus::start(&config, scene.folder());
    let result = |expression: &str| {
        // Grafana replaces these variables: a selected node, and an interval of several scrapes.
        let expression = expression.replace("$node_id", ".*").replace("$__rate_interval", "10s");
        let result = prometheus.query(&expression);
        result.unwrap_or_else(|error| panic!("{expression}: {error}"))
    };
    wait_until("two scrapes", TIMEOUT, || !result("rate(process_cpu_seconds_total[10s])").is_empty());
    // A rate needs events between two scrapes.
    let codes: Vec<String> = kit::tushare_data::codes(60);
    scene.send_snapshots(&codes, r#""full":true"#);
    scene.write_raw_config("n1", "kafka: [\n");
    for (dashboard, expression) in queries() {
        wait_until(&format!("data for {expression} ({dashboard})"), TIMEOUT, || !result(&expression).is_empty());
    }
    let alerts = alerts();
    assert!(alerts.len() >= 10, "{alerts:?}");
    for expression in &alerts {
        let _valid = result(expression);
        assert!(!metrics_in(expression).is_empty(), "{expression}");
        for metric in metrics_in(expression) {
            assert!(!result(metric).is_empty(), "{metric} of {expression}");
        }
    }
    wait_until("the alert about the refused reload", TIMEOUT, || {
        result("ALERTS").iter().any(|alert| alert["metric"]["alertname"] == "DataWorkerReloadRefused")
    });
}

#[test]
fn prometheus_config_is_valid_and_alerts_documented() {
    let path = |file: &str| repository(&format!("docker/prometheus/{file}")).display().to_string();
    promtool(&["check", "config", &path("prometheus.yml")]).unwrap();
    promtool(&["check", "rules", &path("alerts.yml")]).unwrap();
    let (text, operations) = (read("docker/prometheus/alerts.yml"), read("docs/operations.md"));
    let names: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert_eq!(names.len(), alerts().len());
    for name in names {
        assert!(operations.contains(&format!("| {name} |")), "docs/operations.md does not cover {name}");
    }
}

#[test]
fn alert_rules_pass_promtool_tests() {
    promtool(&["test", "rules", &repository("tests/fixtures/prometheus/alerts_test.yml").display().to_string()])
        .unwrap();
}
