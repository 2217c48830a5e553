// Upstream: quality_reports
// Downstream: kit, main_job
// Role: Tests alerts and reports about missing and invalid rows, in the format of Ginkgo's NotificationWorker.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::LazyLock;

use chrono::NaiveDate;
use jsonschema::Validator;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{DailyRow, Dataset, codes};
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;
use serde_json::{Value, json};

use crate::main_job::PROGRAM;

/// The trading days of January 2024 except the first.
fn days() -> Vec<NaiveDate> {
    let month = (NaiveDate::from_ymd_opt(2024, 1, 3).unwrap(), NaiveDate::from_ymd_opt(2024, 1, 31).unwrap());
    kit::tushare_data::trading_days(month.0, month.1)
}

const MONTH: &str = r#""start_date":"20240103","end_date":"20240131","full":true"#;

/// Asserts that a message satisfies NotificationWorker and docs/notifications.schema.json and has a bounded size.
pub fn assert_deliverable(message: &Value) {
    static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
        let schema = serde_json::from_str(include_str!("../../docs/notifications.schema.json")).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    });
    let faults: Vec<String> =
        SCHEMA.iter_errors(message).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:?} in {message}");
    assert!(message.to_string().len() < 64 * 1024, "a message stays below 64 KiB");
}

fn states(scene: &Scene, alert_type: &str) -> Vec<Value> {
    scene.notifications_with("alert_type", alert_type).iter().map(|alert| alert["data"]["state"].clone()).collect()
}

/// The interval reports; each task is in exactly one of them.
fn reports(scene: &Scene) -> Vec<Value> {
    scene.notifications_with("report_kind", "interval").into_iter().map(|report| report["data"].clone()).collect()
}

fn sum(scene: &Scene, figure: &str) -> u64 {
    reports(scene).iter().filter_map(|report| report.pointer(figure)?.as_u64()).sum()
}

#[test]
fn missing_days_alert_is_raised_and_resolved_once() {
    let (codes, days) = (codes(30), days());
    let whole = Dataset::generated(&codes, &days);
    let mut holed = whole.clone();
    for code in &codes {
        let rows = whole.rows(code).iter().filter(|row| row.date != days[7] && row.date != days[12]);
        holed.set_rows(code, rows.cloned().collect());
    }
    let mut scene = Scene::new("missing", PROGRAM, holed);
    scene.set("quality.report_interval_ms", 1_000);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    let expected = (codes.len() * days.len()) as u64;
    wait_until("all tasks in reports", TIMEOUT, || sum(&scene, "/records_expected") == expected);
    assert_eq!(sum(&scene, "/records_missing"), 60);
    assert_eq!(states(&scene, "data_missing"), [json!("raised")], "2 of 21 days are missing for every code");
    let alert = scene.notifications_with("alert_type", "data_missing").remove(0);
    assert_eq!((&alert["level"], &alert["data"]["threshold"]), (&json!("WARNING"), &json!(5.0)));
    let (shown, total) = (&alert["data"]["affected_codes"], &alert["data"]["affected_codes_total"]);
    assert!(shown.as_array().unwrap().len() <= 20 && total.as_u64().unwrap() >= 1, "{alert}");

    for code in &codes {
        scene.source.set_rows(code, whole.rows(code).to_vec());
    }
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    wait_until("all tasks in reports", TIMEOUT, || sum(&scene, "/records_expected") == 2 * expected);
    assert_eq!(states(&scene, "data_missing"), [json!("raised"), json!("resolved")]);
    for none in ["data_delayed", "validation_error", "source_error"] {
        assert_eq!(states(&scene, none), [json!(null); 0], "{none}");
    }
    scene.notifications().iter().for_each(assert_deliverable);
}

#[test]
fn a_rule_warns_until_a_reload_lets_it_skip() {
    let (codes, days) = (codes(1), days());
    let mut data = Dataset::generated(&codes, &days);
    let mut rows = data.rows(&codes[0]).to_vec();
    let saturday = NaiveDate::from_ymd_opt(2024, 1, 13).unwrap();
    rows.push(DailyRow::new(saturday, ["10.00", "10.50", "9.50", "10.20", "10.00", "1000.00", "1000.000"]));
    data.set_rows(&codes[0], rows);
    let mut scene = Scene::new("rules", PROGRAM, data);
    scene.set("quality.report_interval_ms", 1_000);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let warned = |scene: &Scene| sum(scene, "/warned_by_rule/non_trading_day");
    let skipped = |scene: &Scene| sum(scene, "/skipped_by_rule/non_trading_day");
    wait_until("the warning", TIMEOUT, || warned(&scene) == 1);
    assert_eq!(skipped(&scene), 0);
    let report = reports(&scene).remove(0);
    let example = report["anomalies"].as_array().unwrap().iter().find(|example| example["reason"] == "non_trading_day");
    assert_eq!(example.unwrap()["date"], "2024-01-13T00:00:00");

    scene.set("quality.rules.non_trading_day", "error");
    scene.write_config("n1");
    wait_until("the reload", TIMEOUT, || !scene.notifications_with("event", "RELOADED").is_empty());
    scene.send_snapshots(&codes, MONTH);
    scene.wait_until_committed();
    wait_until("the skipped row", TIMEOUT, || skipped(&scene) == 1);
    assert_eq!(warned(&scene), 1);
    scene.notifications().iter().for_each(assert_deliverable);
}

#[test]
fn every_message_of_an_eventful_run_is_deliverable() {
    let (codes, days) = (codes(12), days());
    let mut data = Dataset::generated(&codes, &days);
    let mut rows = data.rows(&codes[0]).to_vec();
    rows[3] = DailyRow::new(rows[3].date, ["-1.00", "10.50", "9.50", "10.20", "10.00", "1000.00", "1000.000"]);
    data.set_rows(&codes[0], rows);
    let mut scene = Scene::new("eventful", PROGRAM, data);
    scene.set("quality.report_interval_ms", 1_000);
    let mut worker = scene.start("n1");
    scene.send_snapshots(&codes, MONTH);
    scene.send(&[b"no command".to_vec()]);
    scene.wait_until_committed();
    wait_until("the skipped row", TIMEOUT, || sum(&scene, "/records_skipped") == 1);
    scene.source.set_fault(Fault::Status(500, None), FaultDuration::UntilCleared);
    scene.send_snapshots(&codes[..2], MONTH);
    wait_until("the source's alert", TIMEOUT, || !states(&scene, "source_error").is_empty());
    scene.wait_until_committed();
    wait_until("the failures in reports", TIMEOUT, || sum(&scene, "/tasks_failed") == 2);
    scene.source.clear_fault();
    scene.send_snapshots(&codes[..2], MONTH);
    wait_until("the source's recovery", TIMEOUT, || states(&scene, "source_error").contains(&json!("resolved")));
    wait_until("the refusal", TIMEOUT, || !states(&scene, "command_error").is_empty());
    scene.order("pause", None, "p");
    scene.order("resume", None, "r");
    wait_until("both", TIMEOUT, || !scene.notifications_with("event", "RESUMED").is_empty());
    worker.terminate();
    assert_eq!(worker.wait(TIMEOUT).code(), Some(0));
    let messages = scene.notifications();
    let kinds: BTreeSet<&str> = messages.iter().filter_map(|message| message["type"].as_str()).collect();
    assert_eq!(kinds.len(), 3, "{kinds:?}");
    messages.iter().for_each(assert_deliverable);

    let config = scene.write_config("reader");
    let shown = |arguments: &[&str]| {
        let mut program = Command::new(PROGRAM);
        program.args(["reports", "--config"]).arg(&config).args(arguments).env("GINKGO_DIR", scene.folder());
        let output = program.output().expect("the program runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let is_of_quality = |message: &&Value| message["type"] != "data_worker_event";
    let num_of_quality = messages.iter().filter(is_of_quality).count();
    assert_eq!(shown(&[]).lines().count(), num_of_quality);
    let errors = shown(&["--severity", "error", "--since", "1h", "--json"]);
    let errors: Vec<Value> = errors.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = messages.iter().filter(is_of_quality).filter(|message| message["severity"] == "ERROR");
    assert_eq!(errors.len(), expected.count());
    errors.iter().for_each(assert_deliverable);
}
