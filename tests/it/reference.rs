// Upstream: departures, two_writers
// Downstream: actors, data_worker, http, kit, main_job
// Role: Tests the stock list and the calendar in the real MariaDB: merged in one transaction, without loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actors::domain::calendar::TradingCalendar;
use actors::market_cache::facts::FactCache;
use chrono::NaiveDate;
use data_worker::adapters::mysql::store::MySqlReference;
use data_worker::config::MySqlSection;
use kit::http::get;
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::services::required;
use kit::tushare_server::{Fault, FaultDuration};
use kit::wait::wait_until;

use crate::http::address;
use crate::main_job::{Market, PROGRAM, market};
use actors::ports::Swappable;

pub(crate) fn command(name: &str) -> Vec<u8> {
    format!(r#"{{"command":"{name}","timestamp":"2026-08-10T21:00:00","params":{{}},"source":"task_timer"}}"#)
        .into_bytes()
}

/// A response of `stock_basic` with these rows: code, name, list date.
pub(crate) fn stock_list(rows: &[(&str, &str, &str)]) -> Fault {
    let items: Vec<String> =
        rows.iter().map(|(code, name, listed)| format!(r#"["{code}","{name}","银行","{listed}",null]"#)).collect();
    Fault::Body(format!(
        r#"{{"code":0,"msg":"","data":{{"fields":["ts_code","name","industry","list_date","delist_date"],"items":[{}]}}}}"#,
        items.join(",")
    ))
}

#[test]
fn stock_list_merge_keeps_row_identity() {
    let Market { codes, data, .. } = market(200, 1);
    let mut scene = Scene::new("stocks", PROGRAM, data);
    let tables = Tables::create(&scene.name);
    let _worker = scene.start("n1");
    scene.send(&[command("stockinfo")]);
    scene.wait_until_committed();
    let first = tables.rows("SELECT code, uuid, code_name, create_at, update_at FROM stock_info ORDER BY code");
    assert_eq!(first.len(), 200);
    let mut listed: Vec<&str> = first.iter().map(|row| row[0].as_str()).collect();
    listed.dedup();
    let mut expected: Vec<&str> = codes.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    let shape = "SELECT DISTINCT currency, market, delist_date, meta, is_del, source, length(uuid) FROM stock_info";
    assert_eq!(tables.rows(shape), [["1", "1", "2100-01-01 00:00:00", "{}", "0", "7", "32"]]);

    // The same list again changes nothing. A changed name changes one row. A row that the list lacks stays.
    scene.send(&[command("stockinfo")]);
    scene.wait_until_committed();
    let all = "SELECT code, uuid, code_name, create_at, update_at FROM stock_info ORDER BY code";
    assert_eq!(tables.rows(all), first, "an unchanged list changes no row");
    tables.run("UPDATE stock_info SET update_at = '2000-01-01', create_at = '2000-01-01'");
    scene.source.set_fault(
        stock_list(&[(&codes[0], "新名字", "20000101"), ("000009.SZ", "新股", "20260102")]),
        FaultDuration::Next(1),
    );
    scene.send(&[command("stockinfo")]);
    scene.wait_until_committed();
    let touched =
        tables.rows("SELECT code, code_name, create_at FROM stock_info WHERE update_at > '2000-01-02' ORDER BY code");
    let mut names: Vec<&str> = touched.iter().map(|row| row[1].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["新名字", "新股"]);
    let uuid = tables.rows(&format!("SELECT uuid, create_at FROM stock_info WHERE code = '{}'", codes[0]));
    let before = first.iter().find(|row| row[0] == codes[0]).expect("a row of the first list");
    assert_eq!(uuid, [[before[1].clone(), "2000-01-01 00:00:00".to_owned()]], "the row keeps uuid and create_at");
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info"), [["201"]]);
    assert_eq!(scene.dead_letters().len(), 0);
}

#[test]
fn calendar_merge_deduplicates_without_a_gap() {
    let Market { data, .. } = market(1, 250);
    let mut scene = Scene::new("calendar", PROGRAM, data);
    let tables = Tables::create(&scene.name);
    let _worker = scene.start("n1");
    scene.send(&[command("trade_day")]);
    scene.wait_until_committed();
    let days = "SELECT timestamp, is_open FROM trade_day ORDER BY timestamp";
    let first = tables.rows(days);
    assert!(first.len() > 250, "{} open and closed days", first.len());
    assert_eq!(first.iter().filter(|row| row[1] == "1").count(), 250);

    // Rows as the Python worker left them: every day twice, the copies with the wrong flag.
    tables.run(
        "INSERT INTO trade_day SELECT market, 1 - is_open, timestamp, replace(uuid(), '-', ''), meta, `desc`, \
         '1999-01-01', update_at, is_del, source FROM trade_day",
    );
    let (stop, watched) = (Arc::new(AtomicBool::new(false)), Tables::of(&scene.name));
    let stopped = stop.clone();
    let num_days = first.len();
    let watcher = std::thread::spawn(move || {
        let (mut looks, mut gaps) = (0, 0);
        while !stopped.load(Ordering::Acquire) {
            let found = watched.rows("SELECT count(DISTINCT timestamp) FROM trade_day");
            gaps += u32::from(found != [[num_days.to_string()]]);
            looks += 1;
        }
        (looks, gaps)
    });
    for _ in 0..3 {
        scene.send(&[command("trade_day")]);
        scene.wait_until_committed();
    }
    stop.store(true, Ordering::Release);
    let (looks, gaps) = watcher.join().unwrap();
    assert!(looks > 3, "{looks} reads");
    assert_eq!(gaps, 0, "a reader found days missing");
    assert_eq!(tables.rows(days), first, "each day once, with the source's values");
    let oldest = tables.rows("SELECT DISTINCT create_at FROM trade_day");
    assert_eq!(oldest, [["1999-01-01 00:00:00"]], "the oldest row of each day stays");
}

#[test]
fn reads_stored_facts_over_built_in_calendar() {
    let name = kit::services::unique("facts");
    let tables = Tables::create(&name);
    let section = MySqlSection {
        host: required("TEST_MYSQL_HOST"),
        port: required("TEST_MYSQL_PORT").parse().unwrap(),
        user: required("TEST_MYSQL_USER"),
        password: Some(required("TEST_MYSQL_PASSWORD").into()),
        database: name.clone(),
        ..MySqlSection::default()
    };
    let read = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            FactCache::new(Swappable::new(Arc::new(MySqlReference::new(&section))), Arc::default())
                .current(Duration::from_secs(600))
                .await
        })
    };
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    let facts = read();
    assert_eq!((&*facts.calendar, facts.listings.len()), (TradingCalendar::built_in(), 0), "no table exists yet");

    tables.run(&format!("DROP DATABASE `{name}`"));
    let tables = Tables::create_as_ginkgo(&name);
    tables.add_stock("600000.SH", "浦发银行", "1999-11-10", "2100-01-01");
    tables.add_stock("000007.SZ", "deleted", "1992-04-13", "2100-01-01");
    tables.run("UPDATE stock_info SET create_at = '2020-01-01', is_del = code = '000007.SZ'");
    tables.add_stock("600000.SH", "doubled", "2000-01-01", "2100-01-01");
    tables.add_stock("000005.SZ", "ST星源", "1990-12-10", "2024-04-26");
    tables.add_stock("000006.SZ", "unknown", "1970-01-01", "2100-01-01");
    tables.add_stock("HK.00700", "no share", "2004-06-16", "2100-01-01");
    tables.add_trade_day(1, "2024-01-03", false, "2021-01-01");
    tables.add_trade_day(1, "2024-01-06", true, "2020-01-01");
    tables.add_trade_day(1, "2024-01-06", false, "2021-01-01");
    tables.add_trade_day(2, "2024-01-04", false, "2020-01-01");
    tables.add_trade_day(1, "2024-01-05", false, "2020-01-01");
    tables.run("UPDATE trade_day SET is_del = 1 WHERE timestamp = '2024-01-05'");
    let facts = read();
    assert_eq!(facts.listings.len(), 3);
    let of = |code: &str| facts.listing(code.parse().unwrap()).unwrap().clone();
    let bank = of("600000.SH");
    assert_eq!((bank.name.as_str(), bank.listed, bank.delisted), ("浦发银行", Some(day("1999-11-10")), None));
    let gone = of("000005.SZ");
    assert_eq!((gone.is_special_treatment(), gone.delisted), (true, Some(day("2024-04-26"))));
    assert_eq!(of("000006.SZ").listed, None);
    let open = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-06"];
    let open = open.map(|date| facts.calendar.is_trading_day(day(date)));
    assert_eq!(open, [Some(true), Some(false), Some(true), Some(true), Some(true)]);
}

#[test]
fn two_workers_at_once_add_no_row_twice() {
    let Market { data, .. } = market(300, 2);
    let mut scene = Scene::new("both", PROGRAM, data);
    let tables = Tables::create(&scene.name);
    scene.send(&vec![command("stockinfo"); 8]);
    let _first = scene.start("n1");
    let _second = scene.start("n2");
    scene.wait_until_committed();
    assert_eq!(tables.rows("SELECT count(*), count(DISTINCT code) FROM stock_info"), [["300", "300"]]);
}

#[test]
fn empty_or_invalid_list_is_dead_letter() {
    let Market { data, .. } = market(5, 1);
    let mut scene = Scene::new("emptylist", PROGRAM, data);
    let tables = Tables::create(&scene.name);
    let _worker = scene.start("n1");
    scene.send(&[command("stockinfo")]);
    scene.wait_until_committed();
    // Three attempts.
    scene.source.set_fault(stock_list(&[]), FaultDuration::Next(3));
    scene.send(&[command("stockinfo")]);
    scene.wait_until_committed();
    scene
        .source
        .set_fault(stock_list(&[("no code", "x", "20000101"), ("000001.SZ", "", "20000101")]), FaultDuration::Next(1));
    scene.send(&[command("stockinfo")]);
    scene.wait_until_committed();
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info"), [["5"]]);
    let reasons: Vec<String> = scene.dead_letters().iter().map(|letter| letter.headers["dlq.reason"].clone()).collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("the list is empty")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("none of 2 rows is valid")), "{reasons:?}");
}

#[test]
fn bars_continue_while_list_cannot_be_written() {
    let Market { codes, data, .. } = market(30, 3);
    let mut scene = Scene::new("nomysql", PROGRAM, data);
    // The database does not exist yet.
    let _worker = scene.start("n1");
    scene.send(&[command("stockinfo")]);
    scene.send_snapshots(&codes, "");
    wait_until("all bars", TIMEOUT, || scene.database.count() == 90);
    scene.assert_exact(&codes);
    assert!(scene.committed().iter().sum::<i64>() < 31, "the list command is not committed");
    let tables = Tables::create(&scene.name);
    scene.wait_until_committed();
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info"), [["30"]]);
}

#[test]
fn creates_the_mysql_database_where_it_may() {
    let Market { codes, data, .. } = market(3, 2);
    let mut scene = Scene::new("nodatabase", PROGRAM, data);
    let _worker = scene.start("n1");
    // Nobody created the database; a command for all codes needs the list.
    scene.send(&[command("stockinfo"), br#"{"command":"bar_snapshot","params":{}}"#.to_vec()]);
    scene.wait_until_committed();
    let tables = Tables::of(&scene.name);
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info"), [[codes.len().to_string()]]);
    let set = "SELECT default_character_set_name FROM information_schema.schemata WHERE schema_name = DATABASE()";
    assert_eq!(tables.rows(set), [["utf8mb4"]], "names of securities are Chinese");
    assert_eq!(get(&address(&scene, "n1"), "/readyz").status, 200);
}

#[test]
fn a_database_that_cannot_be_created_is_not_ready() {
    let Market { data, .. } = market(1, 1);
    let mut scene = Scene::new("nocreate", PROGRAM, data);
    let user = format!("u{}", scene.name.chars().rev().take(12).collect::<String>());
    let other = format!("{}_other", scene.name);
    let tables = Tables::create(&other);
    tables.run(&format!("CREATE USER {user}@'127.0.0.1' IDENTIFIED BY 'right-pw'"));
    tables.run(&format!("GRANT SELECT ON `{other}`.* TO {user}@'127.0.0.1'"));
    scene.set("mysql.user", &user).set("mysql.password", "right-pw");
    let _worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    let address = address(&scene, "n1");
    let reasons = || get(&address, "/readyz").json()["reasons"].to_string();
    wait_until("MySQL among the reasons", TIMEOUT, || reasons().contains("MySQL: "));
    let text = reasons();
    assert!(text.contains("Access denied") && !text.contains("right-pw"), "{text}");
    let file = scene.write_config("reader");
    let mut check = std::process::Command::new(PROGRAM);
    check.args(["config", "check", "--connect"]).arg(&file).env("GINKGO_DIR", scene.folder());
    let output = check.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("MySQL")).unwrap();
    assert!(output.status.code() == Some(1) && line.starts_with("FAILED"), "{line}");
    tables.run(&format!("GRANT ALL ON `{}`.* TO {user}@'127.0.0.1'", scene.name));
    wait_until("the worker creates it and is ready", TIMEOUT, || get(&address, "/readyz").status == 200);
    tables.run(&format!("DROP USER {user}@'127.0.0.1'"));
}
