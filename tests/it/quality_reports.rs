// Upstream: none
// Downstream: kit, main_job, quality
// Role: Tests job and interval reports: sent and stored once each, and shown on the command line.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{DailyRow, Dataset, codes, last_closed_day, last_trading_days};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;
use serde_json::{Value, json};

use crate::main_job::{Market, PROGRAM, market};
use crate::quality::assert_deliverable;

/// A scene with twelve codes, the first with a bad row, and short jobs and intervals.
fn scene(name: &str) -> (Scene, Vec<String>) {
    // The days reach up to today, so that no day is missing whenever the test runs.
    let codes = codes(12);
    let mut data = Dataset::generated(&codes, &last_trading_days(last_closed_day(), 5));
    let mut rows = data.rows(&codes[0]).to_vec();
    rows[3] = DailyRow::new(rows[3].date, ["-1.00", "10.50", "9.50", "10.20", "10.00", "1000.00", "1000.000"]);
    data.set_rows(&codes[0], rows);
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("quality.report_interval_ms", 1_000).set("quality.job_quiet_ms", 2_000);
    (scene, codes)
}

fn of_kind(scene: &Scene, kind: &str) -> Vec<Value> {
    let reports = scene.notifications_with("report_kind", kind);
    reports.into_iter().map(|report| report["data"].clone()).collect()
}

fn sum(reports: &[Value], figure: &str) -> u64 {
    reports.iter().filter_map(|report| report.pointer(figure)?.as_u64()).sum()
}

fn kept(scene: &Scene, sql: &str) -> String {
    scene.database.query(&format!("SELECT {sql} FROM data_quality_report")).trim().to_owned()
}

fn wait_until_kept(scene: &Scene, what: &str, condition: &str) {
    // The worker creates the table at its start.
    wait_until(what, TIMEOUT, || {
        let count = scene.database.try_query(&format!("SELECT countIf({condition}) FROM data_quality_report"));
        count.is_ok_and(|count| count.trim() != "0")
    });
}

fn program(scene: &Scene, arguments: &[&str]) -> Command {
    let config = scene.write_config("reader");
    let mut program = Command::new(PROGRAM);
    program.args(arguments).arg("--config").arg(config).env("GINKGO_DIR", scene.folder());
    program
}

fn shown(scene: &Scene, arguments: &[&str]) -> String {
    let output = program(scene, arguments).output().expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sender_run_and_correlation_id_make_one_job_each() {
    let (mut scene, codes) = scene("jobs");
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    wait_until("the run's report", TIMEOUT, || of_kind(&scene, "job").len() == 1);
    let parts = codes.chunks(4).map(|codes| {
        let params = json!({"codes": codes, "full": true});
        json!({"command": "bar_snapshot", "params": params, "source": "t", "correlation_id": "evening"}).to_string()
    });
    scene.send(&parts.map(String::into_bytes).collect::<Vec<_>>());
    let lone = json!({"command": "bar_snapshot", "params": {"code": codes[1]}, "correlation_id": "lone"});
    scene.send(&[lone.to_string().into_bytes()]);
    wait_until("the job's report", TIMEOUT, || of_kind(&scene, "job").len() == 2);
    wait_until("all tasks in reports", TIMEOUT, || sum(&of_kind(&scene, "interval"), "/tasks_done") == 25);
    let jobs = of_kind(&scene, "job");
    let ids: Vec<&Value> = jobs.iter().map(|job| &job["job"]["id"]).collect();
    assert_eq!(ids, [&json!("task_timer bar_snapshot"), &json!("evening")], "a single task is no job");
    let run = &jobs[0];
    assert_eq!(
        (&run["tasks_done"], &run["records_fetched"], &run["records_written"]),
        (&json!(12), &json!(60), &json!(59))
    );
    assert_eq!(
        (&run["records_skipped"], &run["success_rate"], &run["task_type"]),
        (&json!(1), &json!(1.0), &json!("bar_snapshot"))
    );
    let source = &run["sources"]["tushare"];
    assert_eq!((&source["rows"], &source["calls"], &source["failures"]), (&json!(60), &json!(12), &json!(0)));
    assert_eq!(run["invalid_codes"], json!([codes[0]]));
    assert_eq!((&run["anomalies"][0]["code"], &run["anomalies"][0]["value"]), (&json!(codes[0]), &json!("-1.00")));
    assert!(run["delay_seconds_p95"].as_f64() <= run["delay_seconds_max"].as_f64(), "{run}");
    assert_eq!((&jobs[1]["tasks_done"], &jobs[1]["job"]["sender"]), (&json!(12), &json!("t")));
    scene.notifications().iter().for_each(assert_deliverable);

    wait_until_kept(&scene, "the job in the table", "job = 'evening'");
    let figures =
        "countIf(kind = 'job'), sumIf(tasks_done, kind = 'interval'), maxIf(calls_by_source['tushare'], kind = 'job')";
    wait_until("all tasks in the table", TIMEOUT, || kept(&scene, figures) == "2\t25\t12");
    assert_eq!(kept(&scene, "count() = uniqExact(report_id)"), "1");
}

#[test]
fn stores_report_once_and_lists_history_of_a_code() {
    let (mut scene, codes) = scene("kept");
    let mut worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    wait_until_kept(&scene, "the run", "kind = 'job'");
    scene.database.fault("mode=lost_answer", 1);
    scene.source.set_fault(Fault::Status(500, None), FaultDuration::UntilCleared);
    scene.send_snapshots(&codes[..2], "\"full\":true");
    scene.wait_until_committed();
    wait_until_kept(&scene, "the failed tasks", "kind = 'interval' AND tasks_failed > 0");
    worker.terminate();
    assert_eq!(worker.wait(TIMEOUT).code(), Some(0));
    assert!(worker.log_text().contains("records not written yet"), "the answer was lost");
    let reported = scene.notifications().iter().filter(|message| message["type"] == "data_quality_report").count();
    assert_eq!(
        kept(&scene, "count(), uniqExact(report_id)"),
        format!("{reported}\t{reported}"),
        "every report is stored once"
    );

    let text = shown(&scene, &["quality", &codes[0]]);
    assert!(
        text.contains("price_not_positive") && text.contains("failed") && text.contains("source tushare"),
        "{text}"
    );
    let lines = shown(&scene, &["quality", &codes[1], "--since", "1h", "--json"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["what"] == "failed"), "{lines:?}");
    let text = shown(&scene, &["quality", &codes[5]]);
    assert!(text.contains("no problems in") && text.contains("reports are kept since 20"), "{text}");
    let text = shown(&scene, &["quality", &codes[0]]);
    let finding = text.lines().find(|line| line.contains("price_not_positive")).unwrap();
    assert!(finding.contains("price_not_positive: 20") && finding.contains(" open -"), "day, field and value: {text}");
    assert!(finding.contains("(n1)"), "{text}");
}

#[test]
fn wrong_report_table_costs_reports_but_no_bars() {
    let (mut scene, codes) = scene("unfit");
    scene.database.query("CREATE TABLE data_quality_report (report_id String) ENGINE = MergeTree ORDER BY report_id");
    let worker = scene.start("n1");
    scene.send_snapshots(&codes[1..], "");
    scene.wait_until_committed();
    wait_until("the report", TIMEOUT, || of_kind(&scene, "job").len() == 1);
    assert_eq!(scene.database.bars().len(), 55);
    let log = || worker.log_text();
    wait_until("the log line about lost reports", TIMEOUT, || log().contains("records given up"));
    assert!(log().contains("column kind: expected String, found none"), "the log names the wrong column");
    // Once the wrong table is dropped, the worker stores reports without a restart.
    scene.database.query("DROP TABLE data_quality_report");
    scene.send_snapshots(&codes[1..], "\"full\":true");
    wait_until_kept(&scene, "reports", "1");
    // The worker recreates a table that is dropped while it runs.
    scene.database.query("DROP TABLE data_quality_report");
    wait_until("stored reports again", TIMEOUT, || {
        scene.send_snapshots(&codes[1..2], "\"full\":true");
        scene.wait_until_committed();
        let count = scene.database.try_query("SELECT count() FROM data_quality_report");
        count.is_ok_and(|count| count.trim() != "0")
    });
}

#[test]
fn parts_of_split_command_report_as_one_job() {
    let Market { codes, data, .. } = market(120, 2);
    let mut scene = Scene::new("parts_of_a_job", PROGRAM, data);
    scene.set("fetch.max_codes_per_command", 10).set("quality.job_quiet_ms", 1_000);
    scene.list_codes(&codes);
    let _workers = ["n1", "n2"].map(|node| scene.start(node));
    for node in ["n1", "n2"] {
        scene.wait_for_status(node, "running");
    }
    scene.send(&[json!({"command": "bar_snapshot", "request_id": "whole"}).to_string().into_bytes()]);
    wait_until("all parts in reports", TIMEOUT, || sum(&of_kind(&scene, "job"), "/tasks_done") == 120);
    let jobs = of_kind(&scene, "job");
    assert!(jobs.iter().all(|job| job["job"]["id"] == "whole"), "{jobs:?}");
    assert_eq!(sum(&jobs, "/records_written"), 240);
    wait_until_kept(&scene, "the job in the table", "job = 'whole'");
}

/// Kills the reader when the test ends.
struct Follower(Child);

impl Drop for Follower {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[test]
fn follower_sees_past_and_new_records() {
    let (mut scene, codes) = scene("followed");
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    wait_until("the run's report", TIMEOUT, || of_kind(&scene, "job").len() == 1);
    let mut following = program(&scene, &["reports", "--follow", "--json", "--since", "1h", "--severity", "warning"]);
    let mut follower = Follower(following.stdout(Stdio::piped()).spawn().expect("the program runs"));
    let output = BufReader::new(follower.0.stdout.take().unwrap());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let next = || -> Value { serde_json::from_str(&lines.recv_timeout(TIMEOUT).expect("a line")).unwrap() };
    assert_eq!(next()["severity"], "WARNING", "the report about the bad row, from before the start");
    scene.source.set_fault(Fault::Down, FaultDuration::UntilCleared);
    scene.send_snapshots(&codes[..2], "\"full\":true");
    let mut seen = Vec::new();
    while !seen.contains(&json!("source_error")) {
        let message = next();
        assert_ne!(message["severity"], "INFO");
        seen.push(message["data"]["alert_type"].clone());
    }
    assert!(follower.0.try_wait().unwrap().is_none(), "the follower keeps running");
    assert_eq!(shown(&scene, &["reports", "--since", "2999-01-01"]), "", "no report is that new");
}
