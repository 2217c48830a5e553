// Upstream: none
// Downstream: actors, data_worker, kit, main_job, user_database
// Role: Tests prices with three decimals in Ginkgo's tables and in tables whose columns have more decimals.

use actors::domain::{DateRange, Price, PriceFormat, SourceId, Tick};
use actors::ports::{TickBatch, TickStore};
use chrono::NaiveDate;
use data_worker::adapters::clickhouse::ClickHouseTicks;
use data_worker::config::ClickHouseSection;
use kit::clickhouse::Database;
use kit::scene::{Scene, TIMEOUT};
use kit::services::{host_and_port, unique};
use kit::tushare_data::{DailyRow, Dataset, last_closed_day, last_trading_days};
use kit::wait::wait_until;
use serde_json::Value;

use crate::main_job::PROGRAM;
use crate::user_database::block_on;

const CODES: [(&str, &str, &str); 3] =
    [("113050.SH", "105.123", "105.12"), ("159915.SZ", "1.853", "1.85"), ("900901.SH", "0.291", "0.29")];
const SHARE: &str = "600000.SH";

/// Four days of each code at one price, and of a share.
fn scene(name: &str) -> (Scene, Vec<String>) {
    let days = last_trading_days(last_closed_day(), 4);
    let mut data = Dataset::generated(&[SHARE.to_owned()], &days);
    for (code, price, _) in CODES {
        let row = |day: &NaiveDate| DailyRow::new(*day, [price, price, price, price, price, "0", "0"]);
        data.set_rows(code, days.iter().map(row).collect());
    }
    let mut scene = Scene::new(name, PROGRAM, data);
    scene.set("quality.report_interval_ms", 1_000);
    let codes = CODES.map(|(code, ..)| code.to_owned()).into_iter().chain([SHARE.to_owned()]).collect();
    (scene, codes)
}

fn create(database: &Database, decimal: &str) {
    database.query(&format!(
        "CREATE TABLE bar (code String, open {decimal}, high {decimal}, low {decimal}, close {decimal}, volume Int32, \
         amount {decimal}, frequency Int8, uuid String, meta String, `desc` String, timestamp DateTime, source Int8) \
         ENGINE = ReplacingMergeTree ORDER BY (code, timestamp, frequency)"
    ));
}

/// Code and close of all bars but the share's, each once.
fn closes(database: &Database) -> Vec<(String, String)> {
    let query = format!("SELECT DISTINCT code, toString(close) FROM bar WHERE code != '{SHARE}' ORDER BY code");
    let row = |line: &str| line.split_once('\t').map(|(code, close)| (code.to_owned(), close.to_owned())).unwrap();
    database.query(&query).lines().map(row).collect()
}

fn uuids(database: &Database, codes: &str) -> String {
    database.query(&format!("SELECT code, timestamp, uuid FROM bar WHERE code {codes} ORDER BY code, timestamp"))
}

/// The number of rows in all reports of intervals that broke a rule.
fn sum(scene: &Scene, pointer: &str) -> u64 {
    let reports = scene.notifications_with("report_kind", "interval");
    reports.iter().filter_map(|message| message["data"].pointer(pointer).and_then(Value::as_u64)).sum()
}

fn fetch(scene: &mut Scene, codes: &[String], params: &str) {
    scene.send_snapshots(codes, params);
    scene.wait_until_committed();
}

#[test]
fn rounded_prices_are_reported_and_stay_as_stored() {
    let (mut scene, codes) = scene("rounded");
    let _worker = scene.start("n1");
    fetch(&mut scene, &codes, r#""full":true"#);
    let rounded = CODES.map(|(code, _, rounded)| (code.to_owned(), rounded.to_owned()));
    assert_eq!(closes(&scene.database), rounded);
    wait_until("the report", TIMEOUT, || sum(&scene, "/warned_by_rule/price_rounded") >= 12);
    let first = uuids(&scene.database, "!= ''");
    fetch(&mut scene, &codes, r#""full":true"#);
    wait_until("the second report", TIMEOUT, || sum(&scene, "/warned_by_rule/price_rounded") >= 24);
    assert_eq!(uuids(&scene.database, "!= ''"), first, "nothing is rewritten");
    assert_eq!(sum(&scene, "/records_written"), 16);
}

#[test]
fn rounded_prices_are_skipped_where_the_rule_says_so() {
    let (mut scene, codes) = scene("not_rounded");
    scene.set("quality.rules.price_rounded", "error");
    let _worker = scene.start("n1");
    fetch(&mut scene, &codes, r#""full":true"#);
    assert_eq!(closes(&scene.database), []);
    assert_eq!(scene.database.query("SELECT count() FROM bar").trim(), "4", "the share");
    wait_until("the report", TIMEOUT, || sum(&scene, "/skipped_by_rule/price_rounded") == 12);
}

#[test]
fn columns_with_more_decimals_hold_the_exact_price() {
    let mut of_share = Vec::new();
    for decimal in ["Decimal(16, 2)", "Decimal(18, 4)", "Decimal(38, 6)", "Decimal(18, 3)"] {
        let (mut scene, codes) = scene("decimals");
        create(&scene.database, decimal);
        let _worker = scene.start("n1");
        fetch(&mut scene, &codes, r#""full":true"#);
        let amounts = scene.database.query("SELECT timestamp, toString(amount) FROM bar ORDER BY code, timestamp");
        of_share.push((uuids(&scene.database, &format!("= '{SHARE}'")), amounts));
        if decimal != "Decimal(16, 2)" {
            let exact = CODES.map(|(code, price, _)| (code.to_owned(), price.to_owned()));
            assert_eq!(closes(&scene.database), exact, "{decimal}");
        }
        let first = uuids(&scene.database, "!= ''");
        fetch(&mut scene, &codes, r#""full":true"#);
        assert_eq!(uuids(&scene.database, "!= ''"), first, "{decimal}: nothing is rewritten");
        // Minute bars, here in whole fen, are compared with the stored daily bars.
        let three = CODES.map(|(code, ..)| code.to_owned());
        fetch(&mut scene, &three, r#""full":true,"frequency":"60m""#);
        wait_until("the reports", TIMEOUT, || sum(&scene, "/records_fetched") >= 16 * 2 + 48);
        let expected = if decimal == "Decimal(16, 2)" { 24 } else { 0 };
        assert_eq!(sum(&scene, "/warned_by_rule/price_rounded"), expected, "{decimal}");
        assert_eq!(sum(&scene, "/warned_by_rule/day_sum"), 0, "{decimal}");
    }
    assert!(of_share.windows(2).all(|pair| pair[0] == pair[1]), "uuids and amounts do not depend on the columns");
}

#[test]
fn tick_table_with_more_decimals_holds_the_exact_price() {
    let database = Database::shared(&unique("tick_decimals"));
    database.create();
    let (host, port) = host_and_port(&database.url);
    let section = ClickHouseSection { host, port, database: database.name.clone(), ..ClickHouseSection::default() };
    database.query(
        "CREATE TABLE `159915_SZ_Tick` (code String, price Decimal(18, 4), volume Int32, direction Int8, uuid String, \
         meta String, `desc` String, timestamp DateTime, source Int8) ENGINE = MergeTree ORDER BY timestamp",
    );
    let (finer, plain) = ("159915.SZ".parse().unwrap(), "159919.SZ".parse().unwrap());
    let tick = |code| Tick {
        code,
        timestamp: "2024-01-02T09:25:00".parse().unwrap(),
        price: Price(18_530),
        volume: 7,
        direction: 2,
        source: SourceId::TDX,
        nth: 0,
        version: None,
    };
    block_on(async {
        let store = ClickHouseTicks::new(&section);
        assert_eq!(store.price_format(finer).await, Ok(PriceFormat::FINEST));
        assert_eq!(store.price_format(plain).await, Ok(PriceFormat::GINKGO), "no table yet");
        for code in [finer, plain] {
            let batch = TickBatch { token: unique("token"), rows: vec![tick(code)].into() };
            store.insert(code, &batch).await.unwrap();
        }
        let day = "2024-01-02".parse().unwrap();
        assert_eq!(store.stored(finer, DateRange { start: day, end: day }).await.unwrap().len(), 1);
    });
    let price = |table: &str| database.query(&format!("SELECT toString(price) FROM `{table}`")).trim().to_owned();
    assert_eq!((price("159915_SZ_Tick"), price("159919_SZ_Tick")), ("1.853".to_owned(), "1.85".to_owned()));
}
