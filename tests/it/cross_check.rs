// Upstream: none
// Downstream: kit, main_job
// Role: Tests two sources that differ in known rows: differences are reported, the first source's rows are stored.

use kit::baostock_server::{BaoStockServer, Fault};
use kit::fault::FaultDuration;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{DailyRow, Dataset, codes, last_closed_day, last_trading_days};
use kit::wait::wait_until;
use serde_json::Value;

use crate::main_job::PROGRAM;

struct World {
    scene: Scene,
    other: BaoStockServer,
    codes: Vec<String>,
    days: Vec<chrono::NaiveDate>,
}

/// A scene with Tushare as the first source and BaoStock for comparison, both with the same rows.
fn world(name: &str, num_codes: usize, num_days: usize) -> World {
    let today = last_closed_day();
    let days = last_trading_days(today.pred_opt().unwrap(), num_days);
    let codes: Vec<String> =
        codes(2 * num_codes).into_iter().filter(|code| !code.ends_with(".BJ")).take(num_codes).collect();
    let data = || Dataset::generated(&codes, &days);
    let mut scene = Scene::new(name, PROGRAM, data());
    let other = BaoStockServer::start(data()).unwrap();
    scene
        .set("quality.report_interval_ms", 1_000)
        .set("sources.tushare.requests_per_minute", 0)
        .set("sources.cross_check.bars", "[tushare, baostock]")
        .set("sources.baostock.address", other.address());
    World { scene, other, codes, days }
}

/// The sum of a counter over all interval reports.
fn sum(scene: &Scene, pointer: &str) -> u64 {
    let reports = scene.notifications_with("report_kind", "interval");
    reports.iter().filter_map(|message| message["data"].pointer(pointer).and_then(Value::as_u64)).sum()
}

fn examples(scene: &Scene) -> Vec<[String; 4]> {
    let reports = scene.notifications_with("report_kind", "interval");
    let all = reports.iter().filter_map(|report| report["data"]["anomalies"].as_array()).flatten();
    let text = |example: &Value, key: &str| example[key].as_str().unwrap().to_owned();
    let of = all.filter(|example| example["reason"] == "source_disagreement");
    of.map(|example| ["code", "date", "field", "value"].map(|key| text(example, key))).collect()
}

/// A copy of a row with one cell replaced.
fn changed(row: &DailyRow, at: usize, value: &str) -> DailyRow {
    let mut cells = row.cells().map(str::to_owned);
    cells[at] = value.to_owned();
    DailyRow::new(row.date, cells.each_ref().map(String::as_str))
}

#[test]
fn counts_differences_and_stores_first_source() {
    let World { mut scene, other, codes, days } = world("cross_check", 40, 5);
    let dear = |rows: &[DailyRow]| changed(&rows[1], 3, "999.99");
    // One code has another close, one a hundredfold volume, one lacks a day.
    let mut rows = other.rows(&codes[0]);
    rows[1] = dear(&rows);
    other.set_rows(&codes[0], rows);
    let mut rows = other.rows(&codes[1]);
    let shares = format!("{}00", rows[2].cells()[5].split('.').next().unwrap());
    rows[2] = changed(&rows[2], 5, &shares);
    other.set_rows(&codes[1], rows);
    let mut rows = other.rows(&codes[2]);
    rows.remove(0);
    other.set_rows(&codes[2], rows);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    wait_until("all rows in reports", TIMEOUT, || sum(&scene, "/records_compared") == 200);
    scene.assert_exact(&codes);
    assert_eq!(scene.database.query("SELECT DISTINCT source FROM bar").trim(), "7");
    assert_eq!(sum(&scene, "/warned_by_rule/source_disagreement"), 3);
    assert_eq!((sum(&scene, "/records_not_compared"), sum(&scene, "/records_skipped")), (0, 0));
    let mut found = examples(&scene);
    found.sort();
    let first = scene.source.rows(&codes[0]);
    let date = |at: usize| format!("{}T00:00:00", days[at]);
    let close = first[1].cells()[3].to_owned();
    let mut expected = [(0, 1, "close"), (1, 2, "volume"), (2, 0, "timestamp")]
        .map(|(code, day, field)| [codes[code].clone(), date(day), field.to_owned()]);
    expected.sort();
    let without_value: Vec<[String; 3]> = found.iter().map(|[a, b, c, _]| [a, b, c].map(Clone::clone)).collect();
    assert_eq!(without_value, expected);
    let value = |field: &str| found.iter().find(|example| example[2] == field).unwrap()[3].clone();
    let close: f64 = close.parse().unwrap();
    assert!(value("close").ends_with(", baostock has 999.99"), "{}", value("close"));
    assert!(value("close").starts_with(&close.to_string()), "{} of {close}", value("close"));
    assert_eq!(value("timestamp"), "baostock does not have it");
}

#[test]
fn failing_check_source_costs_only_the_comparison() {
    let World { mut scene, other, codes, .. } = world("no_check", 40, 5);
    other.set_fault(Fault::Down, FaultDuration::UntilCleared);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    wait_until("all rows in reports", TIMEOUT, || sum(&scene, "/records_not_compared") == 200);
    assert_eq!((sum(&scene, "/records_compared"), sum(&scene, "/tasks_failed")), (0, 0));
    assert_eq!(scene.dead_letters().len(), 0);
    assert_eq!(examples(&scene), [] as [[String; 4]; 0]);
}

#[test]
fn hanging_check_source_is_skipped_and_days_are_batched() {
    let World { mut scene, other, codes, .. } = world("slow_check", 400, 2);
    scene.set("quality.cross_check.max_wait_ms", 2_000).set("fetch.whole_days_from_tasks", 20);
    let worker = scene.start("n1");
    other.set_fault(Fault::Hang, FaultDuration::UntilCleared);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    // Only the fetches in flight at the first timeout log in; then the worker pauses the source for a minute.
    assert!((1..=32).contains(&other.logins()), "{} logins to a source that hangs", other.logins());
    scene.assert_exact(&codes);
    wait_until("all rows in reports", TIMEOUT, || sum(&scene, "/records_not_compared") == 800);
    drop(worker);

    // A new worker does not know about the failure.
    other.clear_fault();
    let today = last_closed_day();
    scene.source.append_day(today);
    other.append_day(today);
    scene.database.query("TRUNCATE TABLE bar");
    let day = scene.source.rows(&codes[0])[0].date.format("%Y%m%d").to_string();
    let _worker = scene.start("n2");
    let before = other.requests();
    scene.send_snapshots(&codes, &format!(r#""start_date":"{day}","end_date":"{day}""#));
    scene.wait_until_committed();
    wait_until("all rows in reports", TIMEOUT, || sum(&scene, "/records_compared") == 400);
    let calls = other.requests() - before;
    assert!(calls <= 100, "{calls} calls to compare a day of 400 codes");
    assert_eq!(sum(&scene, "/warned_by_rule/source_disagreement"), 0);
}
