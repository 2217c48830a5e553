// Upstream: none
// Downstream: actors, data_worker, kit, main_job
// Role: Tests the lists in MariaDB where the server is slow, the table is narrow, or stored dates are unreadable.

use std::time::Duration;

use actors::domain::{SourceId, Stock, TradeDay};
use actors::ports::{MergeCounts, ReferenceStore, StoreErrorClass};
use chrono::{NaiveDate, NaiveTime};
use data_worker::adapters::mysql::store::MySqlReference;
use data_worker::config::MySqlSection;
use kit::forwarder::Forwarder;
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::services::{required, unique};
use kit::tushare_data::codes;
use kit::wait::{wait_for, wait_until};

use crate::main_job::{Market, PROGRAM, market};

/// The database of a test, on a server at this port.
fn section(database: &str, port: u16, timeout_ms: u64) -> MySqlSection {
    MySqlSection {
        host: required("TEST_MYSQL_HOST"),
        port,
        user: required("TEST_MYSQL_USER"),
        password: Some(required("TEST_MYSQL_PASSWORD").into()),
        database: database.to_owned(),
        timeout_ms,
        ..MySqlSection::default()
    }
}

fn real_port() -> u16 {
    required("TEST_MYSQL_PORT").parse().unwrap()
}

/// Does work with the store of this database.
fn with_store<T>(section: &MySqlSection, work: impl AsyncFnOnce(MySqlReference) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { work(MySqlReference::new(section)).await })
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn stock(code: &str, name: &str) -> Stock {
    Stock {
        code: code.parse().unwrap(),
        name: name.to_owned(),
        industry: "银行".to_owned(),
        list_date: date("2000-01-04").and_time(NaiveTime::MIN),
        delist_date: date("2100-01-01").and_time(NaiveTime::MIN),
        source: SourceId::TUSHARE,
    }
}

fn days(num_days: u64, is_open: bool) -> Vec<TradeDay> {
    let day = |n| (date("2000-01-01") + chrono::Days::new(n)).and_time(NaiveTime::MIN);
    (0..num_days).map(|n| TradeDay { date: day(n), is_open, source: SourceId::TUSHARE }).collect()
}

#[test]
fn merges_thousands_of_rows_on_a_slow_server() {
    let name = unique("slowlist");
    let tables = Tables::create_as_ginkgo(&name);
    let list = |name: &str| -> Vec<Stock> {
        let numbered = codes(5_500).into_iter().enumerate();
        numbered.map(|(n, code)| stock(&code, &format!("{name}{n}"))).collect()
    };
    with_store(&section(&name, real_port(), 30_000), async |near| {
        near.merge_stocks(&list("old")).await.unwrap();
        near.merge_trade_days(&days(5_000, false)).await.unwrap();
    });
    for table in ["stock_info", "trade_day"] {
        tables.run(&format!(
            "CREATE TEMPORARY TABLE copies AS SELECT * FROM {table}; \
             UPDATE copies SET uuid = md5(uuid), create_at = '2099-01-01'; \
             INSERT INTO {table} SELECT * FROM copies"
        ));
    }

    // A statement for each of the 21,000 changes would take seven minutes; the time of one is two seconds.
    let delay = Duration::from_millis(20);
    let slow = Forwarder::delaying(format!("{}:{}", required("TEST_MYSQL_HOST"), real_port()), delay);
    let (stocks, calendar) = with_store(&section(&name, slow.address().port(), 2_000), async |far| {
        (far.merge_stocks(&list("new")).await, far.merge_trade_days(&days(5_000, true)).await)
    });
    assert_eq!(stocks, Ok(MergeCounts { added: 0, updated: 5_500, unchanged: 0 }));
    assert_eq!(calendar, Ok(MergeCounts { added: 0, updated: 5_000, unchanged: 0 }));
    let stored = tables.rows(
        "SELECT code, code_name, industry, date(list_date), date(delist_date), source FROM stock_info ORDER BY code",
    );
    let mut expected: Vec<Vec<String>> = list("new")
        .iter()
        .map(|stock| {
            [stock.code.as_str(), &stock.name, "银行", "2000-01-04", "2100-01-01", "7"].map(str::to_owned).into()
        })
        .collect();
    expected.sort();
    assert_eq!(stored, expected, "each row has its own values, and no copy is left");
    let all = "SELECT count(*), count(DISTINCT timestamp), sum(is_open) FROM trade_day";
    assert_eq!(tables.rows(all), [["5000", "5000", "5000"]]);
}

#[test]
fn merge_waits_for_lock_beyond_statement_timeout() {
    let name = unique("listlock");
    let tables = Tables::create_as_ginkgo(&name);
    let holder = {
        let name = name.clone();
        // Holds the lock until a merge has waited four times the time of a statement.
        let waited = "SELECT count(*) FROM information_schema.processlist WHERE state = 'User lock' AND time_ms > 1000";
        let sql = format!(
            "SELECT GET_LOCK('ginkgo.stock_info', 0); \
             BEGIN NOT ATOMIC DECLARE n INT DEFAULT 0; REPEAT DO SLEEP(0.01); SET n = n + 1; \
             UNTIL n > 1000 OR ({waited} AND db = '{name}') > 0 END REPEAT; END; \
             SELECT RELEASE_LOCK('ginkgo.stock_info')"
        );
        std::thread::spawn(move || Tables::of(&name).run(&sql))
    };
    wait_until("the lock is taken", TIMEOUT, || {
        tables.rows("SELECT IS_USED_LOCK('ginkgo.stock_info') IS NULL") == [["0"]]
    });
    let list = [stock("600000.SH", "浦发银行")];
    let merged = with_store(&section(&name, real_port(), 250), async |store| store.merge_stocks(&list).await);
    assert_eq!(merged, Ok(MergeCounts { added: 1, updated: 0, unchanged: 0 }));
    holder.join().unwrap();
}

/// A list that the table cannot hold is a dead letter with the reason; once the table is mended, the list is merged.
fn a_table_that_cannot_hold_the_list(name: &str, change: &str, mend: &str, reason: &str) {
    let Market { codes, data, .. } = market(5, 2);
    let mut scene = Scene::new(name, PROGRAM, data);
    let tables = Tables::create_as_ginkgo(&scene.name);
    tables.run(change);
    scene.set("batch.first_retry_delay_ms", 50).set("batch.max_retry_delay_ms", 200);
    let _worker = scene.start("n1");
    let command = br#"{"command":"stockinfo","timestamp":"2026-08-10T21:00:00","params":{},"source":"task_timer"}"#;
    scene.send(&[command.to_vec()]);
    scene.wait_until_committed();
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].headers["dlq.reason"].contains(reason), "{:?}", letters[0].headers);
    let alert = wait_for("the alert", TIMEOUT, || scene.notifications_with("alert_type", "write_error").pop());
    assert_eq!(alert["data"]["class"], "schema", "{alert}");
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info"), [["0"]]);

    tables.run(mend);
    scene.send(&[command.to_vec()]);
    scene.wait_until_committed();
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info"), [[codes.len().to_string()]]);
    wait_until("the end of the alert", TIMEOUT, || {
        scene.notifications_with("alert_type", "write_error").iter().any(|alert| alert["data"]["state"] == "resolved")
    });
    assert_eq!(scene.dead_letters().len(), 1);
}

#[test]
fn narrow_list_column_is_a_dead_letter() {
    let narrow = "ALTER TABLE stock_info MODIFY code VARCHAR(6) NOT NULL";
    let mend = "ALTER TABLE stock_info MODIFY code VARCHAR(32) NOT NULL";
    a_table_that_cannot_hold_the_list("narrow", narrow, mend, "Data too long for column 'code'");
}

#[test]
fn latin1_list_table_is_a_dead_letter() {
    let latin = "ALTER TABLE stock_info CONVERT TO CHARACTER SET latin1";
    let mend = "ALTER TABLE stock_info CONVERT TO CHARACTER SET utf8mb4";
    a_table_that_cannot_hold_the_list("latin", latin, mend, "Incorrect string value");
}

#[test]
fn errors_of_the_rows_or_the_table_are_not_transient() {
    let name = unique("classes");
    let tables = Tables::create_as_ginkgo(&name);
    let section = section(&name, real_port(), 30_000);
    let class = |change: &str, mend: &str| {
        tables.run(change);
        let merged = with_store(&section, async |store| store.merge_trade_days(&days(2, true)).await);
        tables.run(mend);
        merged.map_err(|error| error.class)
    };
    for (change, mend) in [
        (
            "ALTER TABLE trade_day MODIFY timestamp INT NOT NULL",
            "ALTER TABLE trade_day MODIFY timestamp DATETIME NOT NULL",
        ),
        ("ALTER TABLE trade_day DROP source", "ALTER TABLE trade_day ADD source TINYINT NOT NULL"),
        ("ALTER TABLE trade_day ADD more INT NOT NULL", "ALTER TABLE trade_day DROP more"),
        ("ALTER TABLE trade_day ADD CHECK (market > 1)", "ALTER TABLE trade_day DROP CONSTRAINT CONSTRAINT_1"),
        (
            "ALTER TABLE trade_day MODIFY uuid VARCHAR(8) NOT NULL",
            "ALTER TABLE trade_day MODIFY uuid VARCHAR(32) NOT NULL",
        ),
        (
            "RENAME TABLE trade_day TO days; CREATE VIEW trade_day AS SELECT DISTINCT * FROM days",
            "DROP VIEW trade_day; RENAME TABLE days TO trade_day",
        ),
    ] {
        assert_eq!(class(change, mend), Err(StoreErrorClass::Schema), "{change}");
    }
    // A server that accepts what does not fit would store question marks and cut texts.
    tables.run("SET GLOBAL sql_mode = ''");
    let lax = class("ALTER TABLE trade_day MODIFY meta VARCHAR(1)", "ALTER TABLE trade_day MODIFY meta VARCHAR(255)");
    tables.run("SET GLOBAL sql_mode = DEFAULT");
    assert_eq!(lax, Err(StoreErrorClass::Schema));
    assert_eq!(class("DO 0", "DO 0"), Ok(MergeCounts { added: 2, updated: 0, unchanged: 0 }));
}

#[test]
fn unreadable_date_hides_only_its_cell() {
    let name = unique("dates");
    let tables = Tables::create_as_ginkgo(&name);
    tables.run("ALTER TABLE stock_info MODIFY list_date DATETIME NULL, MODIFY delist_date DATETIME NULL");
    tables.run("ALTER TABLE trade_day MODIFY timestamp DATETIME NULL, MODIFY is_open BOOL NULL");
    tables.add_stock("600000.SH", "浦发银行", "1999-11-10", "2024-04-26");
    tables.add_stock("000001.SZ", "平安银行", "1991-04-03", "2100-01-01");
    tables.add_stock("000002.SZ", "万科", "1991-01-29", "2100-01-01");
    for day in ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"] {
        tables.add_trade_day(1, day, true, "2020-01-01");
    }
    tables.run(
        "SET sql_mode = ''; UPDATE stock_info SET list_date = '0000-00-00' WHERE code = '600000.SH'; \
         UPDATE stock_info SET list_date = NULL, delist_date = NULL WHERE code = '000001.SZ'; \
         UPDATE trade_day SET timestamp = '0000-00-00' WHERE timestamp = '2024-01-02'; \
         UPDATE trade_day SET timestamp = NULL WHERE timestamp = '2024-01-03'; \
         UPDATE trade_day SET is_open = NULL WHERE timestamp = '2024-01-04'",
    );
    let section = section(&name, real_port(), 30_000);
    let (listings, codes, calendar) = with_store(&section, async |store| {
        (
            store.listings().await.unwrap(),
            store.listed_codes(date("2024-04-25")).await.unwrap(),
            store.trade_days().await.unwrap(),
        )
    });
    let mut read: Vec<_> = listings
        .iter()
        .map(|listing| (listing.code.as_str(), listing.name.as_str(), listing.listed, listing.delisted))
        .collect();
    read.sort_unstable();
    let expected = [
        ("000001.SZ", "平安银行", None, None),
        ("000002.SZ", "万科", Some(date("1991-01-29")), None),
        ("600000.SH", "浦发银行", None, Some(date("2024-04-26"))),
    ];
    assert_eq!(read, expected);
    assert_eq!(codes.len(), 3);
    assert_eq!(calendar, [(date("2024-01-05"), true)]);

    // A merge fills in what the source knows and leaves rows without a readable key alone.
    let list = [stock("600000.SH", "浦发银行"), stock("000001.SZ", "平安银行")];
    let open = |day| TradeDay { date: date(day).and_time(NaiveTime::MIN), is_open: true, source: SourceId::TUSHARE };
    let calendar = ["2024-01-02", "2024-01-04", "2024-01-05"].map(open);
    let (stocks, days) =
        with_store(&section, async |store| (store.merge_stocks(&list).await, store.merge_trade_days(&calendar).await));
    assert_eq!(stocks, Ok(MergeCounts { added: 0, updated: 2, unchanged: 0 }));
    assert_eq!(days, Ok(MergeCounts { added: 1, updated: 1, unchanged: 1 }));
    let dates =
        "SELECT code, date(list_date), date(delist_date) FROM stock_info WHERE code <> '000002.SZ' ORDER BY code";
    assert_eq!(tables.rows(dates), ["000001.SZ", "600000.SH"].map(|code| [code, "2000-01-04", "2100-01-01"]));
    assert_eq!(tables.rows("SELECT count(*) FROM trade_day WHERE timestamp IS NULL OR timestamp = 0"), [["2"]]);
}

#[test]
fn unreadable_code_column_makes_a_dead_letter() {
    let Market { codes, data, .. } = market(3, 2);
    let mut scene = Scene::new("nocodes", PROGRAM, data);
    scene.list_codes(&codes);
    let tables = Tables::of(&scene.name);
    tables.run("ALTER TABLE stock_info RENAME COLUMN code TO symbol");
    let _worker = scene.start("n1");
    let all = br#"{"command":"bar_snapshot","timestamp":"2026-08-10T21:00:00","params":{}}"#.to_vec();
    scene.send(std::slice::from_ref(&all));
    scene.wait_until_committed();
    let letters = scene.dead_letters();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].headers["dlq.reason"].contains("Unknown column 'code'"), "{:?}", letters[0].headers);
    tables.run("ALTER TABLE stock_info RENAME COLUMN symbol TO code");
    scene.send(&[all]);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
}
