// Upstream: backfill_kinds
// Downstream: actors, kit, main_job, sources_tdx
// Role: Tests the worker with TDX as its only source: every command that TDX supports becomes exact rows.

use chrono::NaiveDate;
use kit::clickhouse::StoredBar;
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::tdx_server::{TdxServer, ticks};
use kit::tushare_data::Dataset;
use kit::wait::wait_for;
use rust_decimal::Decimal;

use crate::main_job::{Market, PROGRAM, market, stored};
use crate::sources_tdx::{daily, untraded};

#[test]
fn commands_become_exact_rows_with_tdx_alone() {
    let Market { codes, data, last_day } = market(20, 30);
    let server = TdxServer::start(data).unwrap();
    let mut scene = Scene::new("tdx", PROGRAM, Dataset::empty());
    let tables = Tables::create(&scene.name);
    let event = server.rows(&codes[0])[20].date;
    server.set_events(&codes[0], vec![(event, 1, [3.0, 0.0, 5.0, 0.0])]);
    scene.set("sources.bars", "[tdx]").set("sources.tdx.hosts", format!("[\"{}\"]", server.address()));
    scene.set("sources.tdx.requests_per_minute", 0);
    let _worker = scene.start("n1");
    let first = server.rows(&codes[0])[0].date.format("%Y%m%d");
    let command = |code: &String, frequency: &str| {
        let params = format!(r#"{{"code":"{code}","frequency":"{frequency}","start_date":"{first}"}}"#);
        format!(r#"{{"command":"bar_snapshot","params":{params}}}"#).into_bytes()
    };
    let factors = format!(r#"{{"command":"adjustfactor","params":{{"code":"{}"}}}}"#, codes[0]).into_bytes();
    scene.send_snapshots(&codes, "");
    scene.send(&[command(&codes[0], "1m"), command(&codes[0], "30m"), factors]);
    scene.wait_until_committed();
    assert_eq!(scene.dead_letters().len(), 0);
    let expected = |server: &TdxServer| {
        let mut bars: Vec<StoredBar> = codes
            .iter()
            .flat_map(|code| {
                server.rows(code).iter().map(|row| stored(code, row.date, &daily(row))).collect::<Vec<_>>()
            })
            .collect();
        bars.sort();
        bars
    };
    let count = |condition: &str| {
        scene.database.query(&format!("SELECT count(), uniqExact(code, timestamp) FROM bar WHERE {condition}"))
    };
    assert_eq!(count("frequency = 2").trim(), format!("{0}\t{0}", 30 * 240));
    assert_eq!(count("frequency = 5").trim(), format!("{0}\t{0}", 30 * 8));
    assert_eq!(scene.database.query("SELECT DISTINCT source FROM bar").trim(), "8");
    let factors = "SELECT count(), uniqExact(adjustfactor), any(source) FROM adjustfactor";
    assert_eq!(scene.database.query(factors).trim(), "30\t2\t8");
    scene.database.query("DELETE FROM bar WHERE frequency != 1");
    assert_eq!(scene.database.bars(), expected(&server));

    // TDX's list has no list date and no industry: the stored values stay.
    let list = br#"{"command":"stockinfo","params":{}}"#.to_vec();
    scene.send(std::slice::from_ref(&list));
    scene.wait_until_committed();
    let values = "SELECT DISTINCT industry, date(list_date), source FROM stock_info";
    assert_eq!(tables.rows(values), [["", "1970-01-01", "8"]]);
    tables.run("UPDATE stock_info SET industry = '银行', list_date = '1999-11-10', source = 7");
    scene.send(&[list]);
    scene.wait_until_committed();
    assert_eq!(tables.rows(values), [["银行", "1999-11-10", "7"]]);
    assert_eq!(tables.rows("SELECT count(*) FROM stock_info"), [["20"]]);

    server.append_day(last_day);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    assert_eq!(scene.database.bars(), expected(&server), "the increment adds one row per code");
}

#[test]
fn suspended_day_of_tdx_is_not_missing() {
    let Market { codes, mut data, .. } = market(1, 30);
    let mut rows = data.rows(&codes[0]).to_vec();
    let (first, last) = (rows[0].date.format("%Y%m%d").to_string(), rows[29].date.format("%Y%m%d").to_string());
    rows[10] = untraded(rows[10].date);
    data.set_rows(&codes[0], rows);
    let server = TdxServer::start(data).unwrap();
    let mut scene = Scene::new("tdxsuspended", PROGRAM, Dataset::empty());
    scene.set("sources.bars", "[tdx]").set("sources.tdx.hosts", format!("[\"{}\"]", server.address()));
    scene.set("sources.tdx.requests_per_minute", 0).set("quality.report_interval_ms", 1_000);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, &format!(r#""start_date":"{first}","end_date":"{last}""#));
    scene.wait_until_committed();
    let report = wait_for("the report", TIMEOUT, || scene.notifications_with("report_kind", "interval").pop());
    assert_eq!((&report["data"]["records_expected"], &report["data"]["records_missing"]), (&29.into(), &0.into()));
    assert_eq!(scene.database.count(), 29);
}

#[test]
fn stores_tdx_trades_of_the_last_week() {
    let Market { codes, data, .. } = market(1, 30);
    let server = TdxServer::start(data).unwrap();
    let mut scene = Scene::new("tdxticks", PROGRAM, Dataset::empty());
    // TDX is the default source of ticks, because Tushare, the source of bars, has none.
    scene.set("sources.tdx.hosts", format!("[\"{}\"]", server.address()));
    let _worker = scene.start("n1");
    scene.send(&[format!(r#"{{"command":"tick","params":{{"code":"{}"}}}}"#, codes[0]).into_bytes()]);
    scene.wait_until_committed();
    assert_eq!(scene.dead_letters().len(), 0);
    let week_ago = actors::domain::shanghai_clock::today() - chrono::Days::new(7);
    let num_ticks = assert_ticks_stored(&scene, &server, &codes[0], |day| day >= week_ago);
    assert!(num_ticks >= 3 * 2_401, "{num_ticks} trades");
}

/// Asserts that the code's table holds exactly the server's trades of these days; returns their number.
pub fn assert_ticks_stored(
    scene: &Scene,
    server: &TdxServer,
    code: &str,
    is_wanted: impl Fn(NaiveDate) -> bool,
) -> usize {
    let mut expected = Vec::new();
    for row in server.rows(code).iter().filter(|row| is_wanted(row.date)) {
        for tick in ticks(row) {
            let (hour, minute) = (tick.minute / 60, tick.minute % 60);
            let price = Decimal::new(tick.price, 2).normalize();
            expected.push(format!("{} {hour:02}:{minute:02}:00\t{price}\t{}\t{}\t8", row.date, tick.lots, tick.side));
        }
    }
    let table = format!("{}_Tick", code.replace('.', "_"));
    let sql = format!("SELECT toString(timestamp), toString(price), volume, direction, source FROM `{table}`");
    let mut found: Vec<String> = scene.database.query(&sql).lines().map(str::to_owned).collect();
    found.sort();
    expected.sort();
    assert_eq!(found.len(), expected.len(), "trades of {code}");
    assert!(found == expected, "{code}: {:?}", found.iter().zip(&expected).find(|(a, b)| a != b));
    expected.len()
}

#[test]
fn what_no_source_offers_is_counted_and_no_error() {
    let codes = ["430047.BJ", "920001.BJ", "600000.SH"].map(str::to_owned);
    let days = kit::tushare_data::last_trading_days(actors::domain::shanghai_clock::today().pred_opt().unwrap(), 3);
    let server = TdxServer::start(Dataset::generated(&codes, &days)).unwrap();
    let mut scene = Scene::new("notoffered", PROGRAM, Dataset::empty());
    scene.list_codes(&codes);
    scene.set("sources.bars", "[tdx]").set("sources.ticks", "[tdx]").set("quality.job_quiet_ms", 500);
    scene.set("sources.tdx.hosts", format!("[\"{}\"]", server.address())).set("sources.tdx.requests_per_minute", 0);
    let worker = scene.start("n1");
    let send = |command: &str| {
        let day = days[2].format("%Y%m%d");
        let params = format!(r#"{{"start_date":"{day}","end_date":"{day}"}}"#);
        format!(r#"{{"command":"{command}","params":{params},"correlation_id":"{command}s"}}"#).into_bytes()
    };
    scene.send(&[send("tick"), send("bar_snapshot")]);
    scene.wait_until_committed();
    let report = |job: &str| {
        kit::wait::wait_for("the report of the job", kit::scene::TIMEOUT, || {
            scene.notifications().into_iter().find(|message| message["data"]["job"]["id"] == job)
        })
    };
    for job in ["ticks", "bar_snapshots"] {
        let report = report(job);
        assert_eq!(report["data"]["tasks_not_offered"], 2, "{report}");
        assert_eq!(report["data"]["not_offered_codes"], serde_json::json!(["430047.BJ", "920001.BJ"]), "{report}");
        assert_eq!((&report["data"]["tasks_failed"], &report["severity"]), (&0.into(), &"INFO".into()), "{report}");
        let text = report["content"].as_str().unwrap();
        assert!(text.contains("2 tasks for securities that no configured source offers"), "{text}");
    }
    assert_eq!(scene.dead_letters().len(), 0);
    assert!(scene.notifications_with("alert_type", "source_error").is_empty());
    assert!(!worker.log_text().contains("fetch failed permanently"));
}
