// Upstream: none
// Downstream: kit, main_job
// Role: Tests an evening's increments of the whole market against a vendor that is slow and limits its calls.

use std::time::{Duration, Instant};

use kit::baostock_server::{BaoStockServer, Fault as BaoStockFault};
use kit::scene::{PARTITIONS, Scene, TIMEOUT, needs_apache_kafka};
use kit::tushare_data::{Dataset, codes, last_closed_day, last_trading_days, trading_days};
use kit::tushare_server::{Fault, FaultDuration, InterfaceLimit, Options, TushareServer, Window};
use kit::wait::wait_until;

use crate::main_job::PROGRAM;

/// A vendor with bars of these days that answers after 50 ms and allows 500 calls per minute.
fn vendor(codes: &[String], days: &[chrono::NaiveDate]) -> TushareServer {
    let options = Options { limits: vec![InterfaceLimit::new("daily", Window::Minute, 500)], ..Options::default() };
    let server = TushareServer::start_with(Dataset::generated(codes, days), options).unwrap();
    server.set_fault(Fault::Slow(Duration::from_millis(50)), FaultDuration::UntilCleared);
    server
}

#[test]
fn increments_of_5500_codes_take_at_most_4_calls() {
    let codes = codes(5_500);
    let today = last_closed_day();
    let days = last_trading_days(today, 3);
    let mut scene = Scene::with_source("evening", PROGRAM, vendor(&codes, &days[..1]));
    // First the worker fetches the first day of every code.
    scene.set("fetch.whole_days_from_tasks", 20);
    let start = format!(r#""start_date":"{0}","end_date":"{0}""#, days[0].format("%Y%m%d"));
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, &start);
    scene.wait_until_committed();
    assert_eq!(scene.database.count(), 5_500);

    scene.source.append_day(days[1]);
    scene.source.append_day(days[2]);
    let (before, begun) = (scene.source.requests(), Instant::now());
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let (calls, took) = (scene.source.requests() - before, begun.elapsed());
    scene.assert_exact(&codes);
    assert!(calls <= 4, "{calls} calls for 2 days of 5,500 codes");
    assert!(took < Duration::from_secs(60), "{took:?}");
    assert_eq!((scene.source.rejected(), scene.dead_letters().len()), (0, 0));
    println!("5,500 increments of 2 days: {calls} calls, {took:?}");
}

#[test]
fn ten_missed_days_of_5500_codes_take_at_most_24_calls() {
    let codes = codes(5_500);
    let days = last_trading_days(last_closed_day(), 11);
    let mut scene = Scene::with_source("missed", PROGRAM, vendor(&codes, &days[..1]));
    let _worker = scene.start("n1");
    let start = format!(r#""start_date":"{0}","end_date":"{0}""#, days[0].format("%Y%m%d"));
    scene.send_snapshots(&codes, &start);
    scene.wait_until_committed();
    days[1..].iter().for_each(|day| scene.source.append_day(*day));
    let before = scene.source.requests();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let calls = scene.source.requests() - before;
    scene.assert_exact(&codes);
    assert!(calls <= 24, "{calls} calls for 10 days of 5,500 codes");
    assert_eq!((scene.source.rejected(), scene.dead_letters().len()), (0, 0));
    println!("5,500 increments of 10 days: {calls} calls");
}

/// The stored raw factors by code and day.
fn stored_factors(scene: &Scene) -> Vec<String> {
    let sql = "SELECT code, toDate(timestamp), toFloat64(adjustfactor) FROM adjustfactor ORDER BY code, timestamp";
    scene.database.query(sql).lines().map(str::to_owned).collect()
}

#[test]
fn factor_increments_of_5500_codes_take_at_most_4_calls() {
    let codes = codes(5_500);
    let days = last_trading_days(last_closed_day(), 3);
    let mut scene = Scene::with_source("evening_factors", PROGRAM, vendor(&codes, &days[..1]));
    codes.iter().for_each(|code| scene.source.set_factor(code, days[0], 1.5));
    scene.set("sources.tushare.requests_per_minute", 0);
    let command = |code| format!(r#"{{"command":"adjustfactor","params":{{"code":"{code}"}}}}"#).into_bytes();
    let commands: Vec<Vec<u8>> = codes.iter().map(command).collect();
    let _worker = scene.start("n1");
    scene.send(&commands);
    scene.wait_until_committed();
    assert_eq!(stored_factors(&scene).len(), 5_500);

    days[1..].iter().for_each(|day| scene.source.append_day(*day));
    scene.source.set_factor(&codes[7], days[2], 3.125);
    let before = scene.source.requests();
    scene.send(&commands);
    scene.wait_until_committed();
    let calls = scene.source.requests() - before;
    let factor = |code: &String, day| if *code == codes[7] && day == days[2] { 3.125 } else { 1.5 };
    let rows = |code| days.iter().map(move |day| format!("{code}\t{day}\t{}", factor(code, *day)));
    let mut expected: Vec<String> = codes.iter().flat_map(rows).collect();
    expected.sort_unstable();
    assert!(stored_factors(&scene) == expected, "each code and day has the vendor's factor");
    assert!(calls <= 4, "{calls} calls for 2 days of factors of 5,500 codes");
    assert_eq!((scene.source.rejected(), scene.dead_letters().len()), (0, 0));
    println!("5,500 increments of 2 days of factors: {calls} calls");
}

#[test]
fn baostock_serves_whole_days_and_tushare_beijing() {
    let all = codes(5_500);
    let (beijing, codes): (Vec<String>, Vec<String>) = all.iter().cloned().partition(|code| code.ends_with(".BJ"));
    assert!(beijing.len() > 100, "{}", beijing.len());
    let today = last_closed_day();
    let days = last_trading_days(today, 3);
    let mut scene = Scene::new("evening_baostock", PROGRAM, Dataset::generated(&all, &days[..1]));
    let server = BaoStockServer::start(Dataset::generated(&codes, &days[..1])).unwrap();
    scene
        .set("fetch.whole_days_from_tasks", 20)
        .set("sources.bars", "[baostock, tushare]")
        .set("sources.baostock.address", server.address());
    let _worker = scene.start("n1");
    scene.send_snapshots(&all, &format!(r#""start_date":"{0}","end_date":"{0}""#, days[0].format("%Y%m%d")));
    scene.wait_until_committed();
    for day in &days[1..] {
        scene.source.append_day(*day);
        server.append_day(*day);
    }
    let (before, begun) = (server.requests(), Instant::now());
    scene.send_snapshots(&all, "");
    scene.wait_until_committed();
    let (calls, took) = (server.requests() - before, begun.elapsed());
    scene.assert_exact(&all);
    assert!(calls <= 60, "{calls} calls for 2 days of 5,500 codes");
    assert!(took < Duration::from_secs(60), "{took:?}");
    let of_baostock = scene.database.query("SELECT count() FROM bar WHERE source = 4");
    assert_eq!(of_baostock.trim(), (3 * codes.len()).to_string());
    println!("5,500 increments of 2 days from BaoStock: {calls} calls, {took:?}");
}

#[test]
fn falls_back_to_single_codes_without_whole_days() {
    let codes = codes(200);
    let today = last_closed_day();
    let days = last_trading_days(today, 3);
    let mut scene = Scene::new("no_days", PROGRAM, Dataset::generated(&codes, &days[..1]));
    let server = BaoStockServer::start(Dataset::generated(&codes, &days[..1])).unwrap();
    server.set_fault(BaoStockFault::NoWholeDays, FaultDuration::UntilCleared);
    scene
        .set("fetch.whole_days_from_tasks", 20)
        .set("sources.bars", "baostock")
        .set("sources.baostock.address", server.address());
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.source.append_day(days[1]);
    server.append_day(days[1]);
    let before = server.requests();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let calls = server.requests() - before;
    scene.assert_exact(&codes);
    assert!((200..=210).contains(&calls), "{calls} calls: one per code and a few refusals of the whole day");
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn increment_handles_suspended_gapped_and_unknown_codes() {
    let codes = codes(200);
    let today = last_closed_day();
    let days = last_trading_days(today, 12);
    let mut scene = Scene::with_source("gaps", PROGRAM, vendor(&codes, &days[..9]));
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.source.append_day(days[9]);
    scene.source.append_day(days[10]);
    // The first code is suspended on the last day, the second lacks most rows, the third is unknown to the vendor.
    let mut rows = scene.source.rows(&codes[0]);
    rows.pop();
    scene.source.set_rows(&codes[0], rows);
    scene
        .database
        .query(&format!("DELETE FROM bar WHERE code = '{}' AND timestamp > '{} 00:00:00'", codes[1], days[0]));
    scene.source.set_rows(&codes[2], Vec::new());
    scene.database.query(&format!("DELETE FROM bar WHERE code = '{}'", codes[2]));
    drop(_worker);
    let _second = scene.start("n2");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
}

/// A command for all listed securities and 25 trading days.
const WEEKS: &str =
    r#"{"command":"bar_snapshot","params":{"start_date":"20240101","end_date":"20240205"},"correlation_id":"weeks"}"#;

/// Waits until as many records are committed as there are in the topic, which has the parts of a command, too.
fn wait_until_parts_are_done(scene: &Scene, parts: i64) {
    wait_until("all parts are done", TIMEOUT, || {
        let committed: i64 = scene.committed().iter().sum();
        committed > parts && committed == scene.broker.written(&scene.topic(), PARTITIONS)
    });
}

#[test]
fn weeks_of_all_codes_are_split_by_day_over_the_group() {
    if !needs_apache_kafka("transactions") {
        return;
    }
    let codes = codes(3_000);
    let days = trading_days("2024-01-01".parse().unwrap(), "2024-02-05".parse().unwrap());
    let mut scene = Scene::with_source("weeks", PROGRAM, vendor(&codes, &days));
    scene.list_codes(&codes);
    let _workers = ["n1", "n2"].map(|node| scene.start(node));
    ["n1", "n2"].iter().for_each(|node| scene.wait_for_status(node, "running"));
    scene.send(&[WEEKS.as_bytes().to_vec()]);
    wait_until_parts_are_done(&scene, 2);
    scene.assert_exact(&codes);
    let parts: Vec<serde_json::Value> = scene.broker.records(&scene.topic(), PARTITIONS)[..]
        .iter()
        .map(|record| serde_json::from_slice(&record.value).unwrap())
        .filter(|message: &serde_json::Value| message["params"]["by_day"] == true)
        .collect();
    assert_eq!(parts.len(), 2, "25 days in parts of 20");
    assert!(parts.iter().all(|part| part["params"]["codes"].as_array().unwrap().len() == 3_000));
    // Each day, the suspensions of each part, and the day that showed that the source gives whole days.
    let calls = scene.source.requests();
    assert!(calls <= days.len() as u64 + 2 + 1, "{calls} calls for {} days of 3,000 codes", days.len());
    assert_eq!((scene.source.rejected(), scene.dead_letters().len()), (0, 0));
}

#[test]
fn weeks_are_split_by_code_if_whole_days_are_refused() {
    let codes = codes(3_000);
    let days = trading_days("2024-01-01".parse().unwrap(), "2024-02-05".parse().unwrap());
    let mut scene = Scene::new("weeks_refused", PROGRAM, Dataset::generated(&codes, &days));
    scene.list_codes(&codes);
    scene.source.set_fault(Fault::NoWholeDays, FaultDuration::UntilCleared);
    let _worker = scene.start("n1");
    for round in 1..=2 {
        let before = scene.source.requests();
        scene.send(&[WEEKS.as_bytes().to_vec()]);
        wait_until_parts_are_done(&scene, 60 * round);
        let calls = scene.source.requests() - before;
        // At most 32 securities are fetched at the same time. The refusal is remembered for the day.
        let rejected = scene.source.rejected();
        assert_eq!(rejected, 1, "round {round}");
        assert!((60..=110).contains(&calls), "round {round}: {calls} calls for 3,000 securities");
    }
    scene.assert_exact(&codes);
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn an_evening_of_four_workers_takes_at_most_10_calls() {
    let codes = codes(2_000);
    let days = last_trading_days(last_closed_day(), 2);
    let mut scene = Scene::with_source("evening_of_four", PROGRAM, vendor(&codes, &days[..1]));
    let nodes = ["n1", "n2", "n3", "n4"];
    let _workers = nodes.map(|node| scene.start(node));
    nodes.iter().for_each(|node| scene.wait_for_status(node, "running"));
    let start = format!(r#""start_date":"{0}","end_date":"{0}""#, days[0].format("%Y%m%d"));
    scene.send_snapshots(&codes, &start);
    scene.wait_until_committed();
    scene.source.append_day(days[1]);
    let before = scene.source.requests();
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let calls = scene.source.requests() - before;
    scene.assert_exact(&codes);
    assert!(calls <= 10, "{calls} calls for a day of 2,000 codes and four workers");
    assert_eq!((scene.source.rejected(), scene.dead_letters().len()), (0, 0));
    let log = |node: &&str| std::fs::read_to_string(scene.folder().join(format!("{node}.log"))).unwrap();
    let num_sharing = nodes.iter().filter(|node| log(node).contains("whole day of bars fetched")).count();
    assert_eq!(num_sharing, 4, "every worker had a part of the evening");
    println!("an evening of four workers: {calls} calls");
}
