// Upstream: none
// Downstream: actors, data_worker, kit, main_job
// Role: Tests that alerts have one state in the whole group, also over restarts and without Redis.

use actors::ports::AlertStore;
use chrono::NaiveDate;
use data_worker::adapters::redis::alerts::RedisAlerts;
use data_worker::config::RedisSection;
use kit::redis::PrivateRedis;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{Dataset, codes, trading_days};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;
use kit::worker::Worker;
use serde_json::Value;

use crate::main_job::PROGRAM;

const MONTH: &str = r#""start_date":"20240103","end_date":"20240131","full":true"#;

/// A market of 60 codes, whose source lacks two days until it is mended.
struct Holed {
    scene: Scene,
    codes: Vec<String>,
    whole: Dataset,
}

impl Holed {
    fn new(name: &str) -> Self {
        let day = |d| NaiveDate::from_ymd_opt(2024, 1, d).unwrap();
        let (codes, days) = (codes(60), trading_days(day(3), day(31)));
        let whole = Dataset::generated(&codes, &days);
        let mut holed = whole.clone();
        for code in &codes {
            let rows = whole.rows(code).iter().filter(|row| row.date != days[7] && row.date != days[12]);
            holed.set_rows(code, rows.cloned().collect());
        }
        let mut scene = Scene::new(name, PROGRAM, holed);
        scene.set("quality.report_interval_ms", 1_000).set("sources.tushare.requests_per_minute", 0);
        Self { scene, codes, whole }
    }

    /// Sends all codes and waits until reports of all tasks so far are sent.
    fn fetch(&mut self) {
        let before = self.num_tasks();
        self.scene.send_snapshots(&self.codes, MONTH);
        self.scene.wait_until_committed();
        let all = before + self.codes.len() as u64;
        wait_until("reports of all tasks", TIMEOUT, || self.num_tasks() == all);
    }

    fn num_tasks(&self) -> u64 {
        let reports = self.scene.notifications_with("report_kind", "interval");
        reports.iter().filter_map(|report| report["data"]["tasks_done"].as_u64()).sum()
    }

    fn mend(&self) {
        self.codes.iter().for_each(|code| self.scene.source.set_rows(code, self.whole.rows(code).to_vec()));
    }

    /// The states of an alert in the order of their messages, with the worker that sent each.
    fn said(&self, alert_type: &str) -> Vec<(String, String)> {
        let alerts = self.scene.notifications_with("alert_type", alert_type);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        alerts.iter().map(|alert| (text(&alert["data"]["state"]), text(&alert["source"]))).collect()
    }

    fn states(&self, alert_type: &str) -> Vec<String> {
        self.said(alert_type).into_iter().map(|(state, _)| state).collect()
    }

    fn wait_for(&self, alert_type: &str, states: &[&str]) {
        wait_until(&format!("{alert_type} {states:?}"), TIMEOUT, || self.states(alert_type) == states);
    }
}

fn stop(mut worker: Worker) {
    worker.terminate();
    assert!(worker.wait(TIMEOUT).success(), "{}", worker.log_text());
}

#[test]
fn another_worker_resolves_an_alert_once() {
    let mut market = Holed::new("sharedalert");
    let first = market.scene.start("n1");
    market.fetch();
    market.wait_for("data_missing", &["raised"]);
    stop(first);
    market.mend();
    let second = market.scene.start("n2");
    market.fetch();
    market.wait_for("data_missing", &["raised", "resolved"]);
    let said = market.said("data_missing");
    assert!(said[0].1.contains("n1") && said[1].1.contains("n2"), "{said:?}");
    // Neither knows of an open alert: nothing more is said.
    let third = market.scene.start("n1");
    market.fetch();
    market.fetch();
    stop(second);
    stop(third);
    assert_eq!(market.states("data_missing"), ["raised", "resolved"]);
}

#[test]
fn a_cause_that_two_workers_see_is_said_once() {
    let mut market = Holed::new("sharedcause");
    let workers = [market.scene.start("n1"), market.scene.start("n2")];
    market.scene.wait_for_status("n1", "running");
    market.scene.wait_for_status("n2", "running");
    market.fetch();
    market.fetch();
    let by_worker = |node: &str| {
        let reports = market.scene.notifications_with("report_kind", "interval");
        reports.iter().filter(|report| report["source"].as_str().is_some_and(|name| name.contains(node))).count()
    };
    assert!(by_worker("n1") > 0 && by_worker("n2") > 0, "both have fetched");
    assert_eq!(market.states("data_missing"), ["raised"]);
    market.mend();
    market.fetch();
    market.fetch();
    market.wait_for("data_missing", &["raised", "resolved"]);
    workers.into_iter().for_each(stop);
    assert_eq!(market.states("data_missing"), ["raised", "resolved"]);
}

#[test]
fn a_restart_forgets_no_alert() {
    let mut market = Holed::new("restartalert");
    let worker = market.scene.start("n1");
    market.fetch();
    market.scene.source.set_fault(Fault::Refused(40001, "no such thing".to_owned()), FaultDuration::UntilCleared);
    market.scene.send_snapshots(&market.codes[..1], MONTH);
    market.wait_for("data_missing", &["raised"]);
    market.wait_for("source_error", &["raised"]);
    let mut worker = worker;
    worker.kill();
    market.scene.source.clear_fault();
    let again = market.scene.start("n1");
    market.fetch();
    market.wait_for("source_error", &["raised", "resolved"]);
    assert_eq!(market.states("data_missing"), ["raised"], "the same cause is not said again");
    market.mend();
    market.fetch();
    market.wait_for("data_missing", &["raised", "resolved"]);
    stop(again);
}

#[test]
fn without_redis_each_worker_says_what_it_knows() {
    let mut market = Holed::new("lonealert");
    // Nothing listens on this port.
    market.scene.set("redis.port", 1);
    let worker = market.scene.start("n1");
    market.fetch();
    market.wait_for("data_missing", &["raised"]);
    market.mend();
    market.fetch();
    market.wait_for("data_missing", &["raised", "resolved"]);
    let log = worker.log_text();
    assert_eq!(log.matches("alerts are not shared").count(), 1, "said once: {log}");
    stop(worker);
}

#[tokio::test]
async fn states_in_redis_are_compared_bounded_and_kept() {
    let redis = PrivateRedis::start();
    let port = redis.url().trim_end_matches("/0").rsplit(':').next().unwrap().parse().unwrap();
    let section = RedisSection { host: "127.0.0.1".to_owned(), port, ..RedisSection::default() };
    let (first, second) = (RedisAlerts::new(&section, "g"), RedisAlerts::new(&section, "g"));
    assert_eq!(first.state("a").await.unwrap(), None);
    assert!(first.replace("a", None, r#"{"at":1}"#).await.unwrap());
    assert!(!second.replace("a", None, r#"{"at":2}"#).await.unwrap(), "another worker was faster");
    assert!(second.replace("a", Some(r#"{"at":1}"#), r#"{"at":2000}"#).await.unwrap());
    assert_eq!(first.state("a").await.unwrap().as_deref(), Some(r#"{"at":2000}"#));
    assert_eq!(RedisAlerts::new(&section, "h").state("a").await.unwrap(), None, "another group");

    for n in 0..520 {
        assert!(first.replace(&format!("b{n}"), None, &format!(r#"{{"at":{n}}}"#)).await.unwrap());
    }
    let mut client = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let key = format!("{}.alerts:g", section.key_prefix);
    let number: u64 = redis::cmd("HLEN").arg(&key).query(&mut client).unwrap();
    let seconds: i64 = redis::cmd("TTL").arg(&key).query(&mut client).unwrap();
    assert_eq!(number, 500);
    assert!((13 * 86_400..=14 * 86_400).contains(&seconds), "{seconds}");
    assert_eq!(first.state("b20").await.unwrap(), None, "the oldest are dropped");
    assert!(first.state("b21").await.unwrap().is_some() && first.state("a").await.unwrap().is_some());

    let port = redis.kill();
    assert!(first.state("a").await.unwrap_err().to_string().contains(".alerts:g"));
    let _redis = PrivateRedis::start_on(port);
    assert_eq!(first.state("a").await.unwrap(), None, "a new connection, and an empty server");
}

#[test]
fn alerts_outlive_the_data_of_redis() {
    let redis = PrivateRedis::start();
    let mut market = Holed::new("lostalert");
    let port = redis.url().trim_end_matches("/0").rsplit(':').next().unwrap().to_owned();
    market.scene.set("redis.host", "127.0.0.1").set("redis.port", port);
    let worker = market.scene.start("n1");
    market.fetch();
    market.wait_for("data_missing", &["raised"]);
    let _redis = PrivateRedis::start_on(redis.kill());
    market.fetch();
    assert_eq!(market.states("data_missing"), ["raised"]);
    market.mend();
    market.fetch();
    market.wait_for("data_missing", &["raised", "resolved"]);
    stop(worker);
}
