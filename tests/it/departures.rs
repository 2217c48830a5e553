// Upstream: none
// Downstream: kit, main_job, reference
// Role: Tests securities that leave the stock list: reported, retired by the list of another day, renumbered, returned.

use std::process::Command;

use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{Dataset, ListedStock, last_closed_day, last_trading_days};
use kit::tushare_server::{InterfaceLimit, Options, TushareServer, Window};
use kit::wait::wait_until;
use serde_json::Value;

use crate::main_job::PROGRAM;
use crate::reference::command;

const GONE: &str = "600005.SH";
const OLD: &str = "830799.BJ";
const NEW: &str = "920799.BJ";

/// Thirty shares of Shanghai and thirty of Beijing, one of them with its old number, each with three daily bars.
fn codes() -> Vec<String> {
    let shanghai = (1..=30).map(|number| format!("6{number:05}.SH"));
    let beijing = (1..30).map(|number| format!("92{number:04}.BJ"));
    shanghai.chain(beijing).chain([OLD.to_owned()]).collect()
}

fn data() -> Dataset {
    Dataset::generated(&codes(), &last_trading_days(last_closed_day(), 3))
}

fn scene(name: &str, source: TushareServer) -> (Scene, Tables) {
    let mut scene = Scene::with_source(name, PROGRAM, source);
    scene.set("quality.report_interval_ms", 1_000);
    let tables = Tables::create(&scene.name);
    (scene, tables)
}

fn no_longer_listed(code: &str) -> ListedStock {
    ListedStock { status: "", ..ListedStock::of(code) }
}

fn send(scene: &mut Scene, name: &str) {
    scene.send(&[command(name)]);
    scene.wait_until_all_is_committed();
}

/// Lets the day of the first list without a security be an earlier one.
fn a_day_passes(tables: &Tables) {
    tables.run("UPDATE stock_info SET meta = '{\"absent_since\":\"2026-01-05\"}' WHERE meta LIKE '%absent_since%'");
}

/// Day of delisting, whether deleted, and the note of a code.
fn row(tables: &Tables, code: &str) -> Vec<String> {
    let select = format!("SELECT date(delist_date), is_del, meta FROM stock_info WHERE code = '{code}'");
    tables.rows(&select).remove(0)
}

/// The findings of a rule in all reports of intervals: code and value.
fn reported(scene: &Scene, rule: &str) -> Vec<[String; 2]> {
    let reports = scene.notifications_with("report_kind", "interval");
    let all = reports.iter().filter_map(|report| report["data"]["anomalies"].as_array()).flatten();
    let text = |example: &Value, key: &str| example[key].as_str().unwrap().to_owned();
    all.filter(|example| example["reason"] == rule)
        .map(|example| ["code", "value"].map(|key| text(example, key)))
        .collect()
}

#[test]
fn absent_security_is_reported_retired_and_returns() {
    let (mut scene, tables) = scene("departed", TushareServer::start(data()).unwrap());
    let worker = scene.start("n1");
    send(&mut scene, "stockinfo");
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info"), [["60"]]);
    assert_eq!(scene.source.requests_to("stock_basic"), 3, "listed, delisted and paused ones");

    scene.source.set_listing(GONE, no_longer_listed(GONE));
    for _ in 0..2 {
        send(&mut scene, "stockinfo");
        let [delisted, deleted, note] = <[String; 3]>::try_from(row(&tables, GONE)).unwrap();
        assert_eq!((&*delisted, &*deleted), ("2100-01-01", "0"), "the second list of one day retires nothing");
        assert!(note.starts_with(r#"{"absent_since":"20"#), "{note}");
    }
    assert_eq!(scene.source.requests_to("stock_basic"), 5, "the other states were asked for today");
    wait_until("the report", TIMEOUT, || reported(&scene, "unlisted").len() >= 2);
    let [code, value] = &reported(&scene, "unlisted")[0];
    assert!(code == GONE && value.starts_with("absent since "), "{code} {value}");

    // The count survives the worker.
    drop(worker);
    a_day_passes(&tables);
    let _worker = scene.start("n2");
    send(&mut scene, "stockinfo");
    assert_eq!(row(&tables, GONE), ["2026-01-05", "0", "{}"]);
    let before = scene.source.requests_of(GONE);
    send(&mut scene, "bar_snapshot");
    assert_eq!(scene.source.requests_of(GONE), before, "a retired security is not asked for");
    assert!(scene.source.requests_of("600006.SH") > 0);
    wait_until("the report of the retirement", TIMEOUT, || {
        reported(&scene, "unlisted").contains(&[GONE.to_owned(), "absent since 2026-01-05, retired".to_owned()])
    });

    scene.source.set_listing(GONE, ListedStock::of(GONE));
    send(&mut scene, "stockinfo");
    assert_eq!(row(&tables, GONE), ["2100-01-01", "0", "{}"]);
    send(&mut scene, "bar_snapshot");
    assert!(scene.source.requests_of(GONE) > before, "it is active again");
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info"), [["60"]]);
}

#[test]
fn renumbered_code_is_not_expected_any_more() {
    let (mut scene, tables) = scene("renumbered", TushareServer::start(data()).unwrap());
    let _worker = scene.start("n1");
    send(&mut scene, "stockinfo");
    scene.source.set_listing(OLD, no_longer_listed(OLD));
    scene.source.set_rows(NEW, scene.source.rows(OLD));
    scene.source.set_rows(OLD, Vec::new());
    scene.source.set_listing(NEW, ListedStock { ..ListedStock::of(OLD) });
    send(&mut scene, "stockinfo");
    wait_until("the report", TIMEOUT, || !reported(&scene, "renumbered").is_empty());
    assert_eq!(reported(&scene, "renumbered"), [[OLD.to_owned(), format!("renumbered to {NEW}")]]);
    assert_eq!(row(&tables, OLD)[1..], ["1", "{}"]);
    assert_eq!(row(&tables, NEW), ["2100-01-01", "0", "{}"]);

    send(&mut scene, "bar_snapshot");
    let days = scene.source.rows(NEW);
    let (first, last) = (days[0].date.to_string(), days[2].date.to_string());
    let gaps = Command::new(PROGRAM)
        .args(["gaps", "--start", &first, "--end", &last, "--config"])
        .arg(scene.write_config("reader"))
        .env("GINKGO_DIR", scene.folder())
        .output()
        .expect("the program runs");
    assert!(
        gaps.status.success(),
        "{}{}",
        String::from_utf8_lossy(&gaps.stdout),
        String::from_utf8_lossy(&gaps.stderr)
    );
    assert_eq!(reported(&scene, "unlisted").len(), 0);

    // The old number is listed again.
    scene.source.set_listing(OLD, ListedStock::of(OLD));
    scene.source.set_listing(NEW, no_longer_listed(NEW));
    send(&mut scene, "stockinfo");
    assert_eq!(row(&tables, OLD), ["2100-01-01", "0", "{}"]);
    assert_eq!(row(&tables, NEW)[1], "1");
}

#[test]
fn delisted_security_gets_the_day_of_the_source() {
    let mut data = data();
    data.set_listing(GONE, ListedStock { status: "D", delisted: Some("20260105"), ..ListedStock::of(GONE) });
    data.set_listing("600006.SH", ListedStock { status: "P", ..ListedStock::of("600006.SH") });
    let (mut scene, tables) = scene("delisted", TushareServer::start(data).unwrap());
    scene.list_codes(&codes());
    let _worker = scene.start("n1");
    send(&mut scene, "stockinfo");
    assert_eq!(row(&tables, GONE), ["2026-01-05", "0", "{}"]);
    assert_eq!(row(&tables, "600006.SH"), ["2100-01-01", "0", "{}"], "a paused listing may resume");
    wait_until("the report", TIMEOUT, || !reported(&scene, "unlisted").is_empty());
    assert_eq!(reported(&scene, "unlisted"), [[GONE.to_owned(), "delisted on 2026-01-05".to_owned()]]);
}

#[test]
fn limit_of_one_call_leaves_the_list_of_the_day() {
    let limits = vec![InterfaceLimit::new("stock_basic", Window::Hour, 1)];
    let source = TushareServer::start_with(data(), Options { limits, ..Options::default() }).unwrap();
    let (mut scene, tables) = scene("one_call", source);
    let worker = scene.start("n1");
    send(&mut scene, "stockinfo");
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info WHERE is_del = 0"), [["60"]]);
    assert_eq!((scene.source.requests_to("stock_basic"), scene.dead_letters().len()), (2, 0));
    assert!(worker.log_text().contains("delisted securities are not known today"), "{}", worker.log_text());
}

#[test]
fn small_part_of_the_list_retires_nothing() {
    let (mut scene, tables) = scene("part", TushareServer::start(data()).unwrap());
    let _worker = scene.start("n1");
    send(&mut scene, "stockinfo");
    // All of Beijing, and two of Shanghai.
    for code in
        codes().iter().filter(|code| code.ends_with("BJ") || ["600001.SH", "600002.SH"].contains(&code.as_str()))
    {
        scene.source.set_listing(code, no_longer_listed(code));
    }
    for _ in 0..2 {
        send(&mut scene, "stockinfo");
        a_day_passes(&tables);
    }
    assert_eq!(
        tables.rows("SELECT DISTINCT date(delist_date), is_del, meta FROM stock_info"),
        [["2100-01-01", "0", "{}"]]
    );
    wait_until("the report", TIMEOUT, || reported(&scene, "incomplete_list").len() >= 4);
    let values: Vec<String> = reported(&scene, "incomplete_list").into_iter().map(|[_, value]| value).collect();
    assert!(values.contains(&"the list lacks 30 of 30 securities of this kind".to_owned()), "{values:?}");
    assert!(values.contains(&"the list lacks 2 of 30 securities of this kind".to_owned()), "{values:?}");
}
