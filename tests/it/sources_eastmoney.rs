// Upstream: none
// Downstream: actors, data_worker, kit, main_job
// Role: Tests the EastMoney adapter against a protocol server, and a worker with EastMoney as its only source.

use std::io::Read;
use std::time::Duration;

use actors::domain::{DateRange, FetchedBar, Field, Frequency, SourceId};
use actors::ports::{BarRequest, MarketSource, SourceError, SourceErrorKind};
use chrono::{NaiveDate, NaiveTime};
use data_worker::config::{EastMoneySection, SourceName, SourcesSection};
use data_worker::sources::ConfiguredSources;
use data_worker::sources::eastmoney::EastMoneySource;
use data_worker::sources::shared::budget::QuotaState;
use kit::clickhouse::StoredBar;
use kit::eastmoney_server::{EastMoneyServer, Fault, Options};
use kit::http_serving::raw_server;
use kit::minute_rows::{MinuteRow, minute_rows};
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::tdx_server::TdxServer;
use kit::tushare_data::{DailyRow, Dataset, codes, trading_days};
use kit::wait::wait_for;
use rust_decimal::Decimal;

use crate::main_job::{Market, PROGRAM, market, stored};

const CODE: &str = "600000.SH";

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn range(start: &str, end: &str) -> DateRange {
    DateRange { start: day(start), end: day(end) }
}

fn request(frequency: Frequency, range: DateRange) -> BarRequest {
    BarRequest { code: CODE.parse().unwrap(), frequency, range }
}

fn first_quarter() -> BarRequest {
    request(Frequency::Day, range("2024-01-01", "2024-03-31"))
}

fn data() -> Dataset {
    Dataset::generated(&codes(3), &trading_days(day("2024-01-01"), day("2024-03-31")))
}

fn server() -> EastMoneyServer {
    EastMoneyServer::start(data()).unwrap()
}

fn section(url: String) -> EastMoneySection {
    EastMoneySection {
        list_url: url.clone(),
        url,
        timeout_ms: 20_000,
        requests_per_minute: 0,
        ..EastMoneySection::default()
    }
}

fn connect(section: &EastMoneySection) -> EastMoneySource {
    EastMoneySource::new(section, section.limits(&SourcesSection::default())).unwrap()
}

fn source(server: &EastMoneyServer) -> EastMoneySource {
    connect(&section(server.url()))
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// The daily bar that the adapter must return: whole lots, thousand yuan.
fn daily(row: &DailyRow) -> FetchedBar {
    let [open, high, low, close, _, volume, amount] = row.cells().map(decimal);
    let value = Field::Value;
    let timestamp = Field::Value(row.date.and_time(NaiveTime::MIN));
    let (open, high, low, close) = (value(open), value(high), value(low), value(close));
    FetchedBar { timestamp, open, high, low, close, volume: value(volume.trunc()), amount: value(amount) }
}

/// The minute bar that the adapter must return: whole lots, thousand yuan.
fn minutes(row: &MinuteRow) -> FetchedBar {
    let price = |hundredths| Field::Value(Decimal::new(hundredths, 2));
    FetchedBar {
        timestamp: Field::Value(row.end),
        open: price(row.open),
        high: price(row.high()),
        low: price(row.low()),
        close: price(row.close),
        volume: Field::Value(Decimal::from(row.shares / 100)),
        amount: Field::Value(Decimal::new(row.amount(), 5)),
    }
}

#[tokio::test]
async fn daily_bars_come_with_the_values_the_server_has() {
    let server = server();
    let source = source(&server);
    let expected: Vec<FetchedBar> = server.rows(CODE).iter().map(daily).collect();
    assert_eq!(source.bars(&first_quarter()).await.unwrap(), expected);
    let few = request(Frequency::Day, range("2024-01-03", "2024-01-05"));
    assert_eq!(source.bars(&few).await.unwrap(), expected[1..4]);
    assert_eq!(source.bars(&request(Frequency::Day, range("2024-02-10", "2024-02-17"))).await.unwrap(), []);
    assert_eq!(server.requests().len(), 3);
    assert!(server.requests()[1].contains("fqt=0&secid=1.600000&beg=20240103&end=20240105"), "{:?}", server.requests());
    assert_eq!((source.name(), source.id()), ("eastmoney", SourceId::OTHER));
    assert_eq!(source.probe().await.unwrap().facts, ["it answers"]);
}

#[tokio::test]
async fn minutes_of_every_frequency_reach_their_depth() {
    let server = server();
    let source = source(&server);
    let rows = server.rows(CODE).split_off(53);
    let week = DateRange { start: rows[0].date, end: day("2024-03-31") };
    for (frequency, step) in [
        (Frequency::Minute1, 1),
        (Frequency::Minute5, 5),
        (Frequency::Minute15, 15),
        (Frequency::Minute30, 30),
        (Frequency::Minute60, 60),
    ] {
        let bars = source.bars(&request(frequency, week)).await.unwrap();
        // One-minute bars include a row for the opening auction.
        let expected: Vec<FetchedBar> =
            rows.iter().flat_map(|row| minute_rows(row, step, step == 1)).map(|row| minutes(&row)).collect();
        assert_eq!(bars.len(), expected.len(), "{frequency}");
        assert!(bars == expected, "{frequency} bars differ");
        let one = DateRange { start: rows[2].date, end: rows[2].date };
        assert_eq!(source.bars(&request(frequency, one)).await.unwrap().len(), expected.len() / 5);

        let error = source.bars(&request(frequency, range("2024-01-02", "2024-03-31"))).await.unwrap_err();
        let text = error.to_string();
        let begin = format!("begin on {}", rows[0].date);
        assert!(matches!(error.kind, SourceErrorKind::BadRequest(_)) && text.contains(&begin), "{text}");
    }
    // A weekend before the first day has no missing bars.
    let with_holidays = DateRange { start: rows[0].date - chrono::Days::new(1), ..week };
    let is_traded = server.rows(CODE).iter().any(|row| row.date == with_holidays.start);
    assert_eq!(source.bars(&request(Frequency::Minute60, with_holidays)).await.is_err(), is_traded);
}

#[tokio::test]
async fn minutes_without_an_open_are_not_offered_or_completed() {
    let options = Options { zero_opens: true, ..Options::default() };
    let server = EastMoneyServer::start_with(data(), options).unwrap();
    let rows = server.rows(CODE).split_off(53);
    let week = request(Frequency::Minute1, DateRange { start: rows[0].date, end: day("2024-03-31") });
    let expected: Vec<FetchedBar> =
        rows.iter().flat_map(|row| minute_rows(row, 1, true)).map(|row| minutes(&row)).collect();
    let (newest, single) = (rows[4].date, |bar: &FetchedBar| bar.low == bar.high);
    let date = |bar: &FetchedBar| if let Field::Value(time) = bar.timestamp { time.date() } else { panic!("{bar:?}") };
    let noted = source(&server).noted_bars(&week).await.unwrap();
    let offered: Vec<FetchedBar> = expected.iter().filter(|bar| date(bar) == newest || single(bar)).cloned().collect();
    assert!(noted.bars == offered, "the newest day, and bars with a single price");
    assert_eq!(noted.not_offered.len(), expected.len() - offered.len());
    assert!(noted.not_offered.len() > 50 && noted.not_offered.iter().all(|time| time.date() < newest));

    let section = EastMoneySection { open_from_close: true, ..section(server.url()) };
    let noted = connect(&section).noted_bars(&week).await.unwrap();
    // The server's minutes begin at the close of the minute before, except the first of a day.
    let is_offered =
        |bar: &&FetchedBar| matches!(bar.timestamp, Field::Value(time) if !noted.not_offered.contains(&time));
    assert!(noted.not_offered.iter().all(|time| time.time() == NaiveTime::from_hms_opt(9, 30, 0).unwrap()));
    assert!(noted.bars == expected.iter().filter(is_offered).cloned().collect::<Vec<_>>(), "the vendor's opens");
}

#[test]
fn minutes_without_an_open_are_no_validation_errors() {
    let Market { codes, data, .. } = market(1, 5);
    let options = Options { zero_opens: true, ..Options::default() };
    let server = EastMoneyServer::start_with(data, options).unwrap();
    let rows = server.rows(&codes[0]);
    let mut scene = Scene::new("zeroopens", PROGRAM, Dataset::empty());
    scene.set("sources.bars", "[eastmoney]").set("sources.eastmoney.url", server.url());
    scene.set("sources.eastmoney.requests_per_minute", 0).set("quality.report_interval_ms", 1_000);
    scene.set("quality.alerts.min_rows", 1);
    let _worker = scene.start("n1");
    let [first, last] = [0, 4].map(|number: usize| rows[number].date.format("%Y%m%d"));
    scene.send_snapshots(&codes, &format!(r#""frequency":"1m","start_date":"{first}","end_date":"{last}""#));
    scene.wait_until_committed();
    let report = wait_for("the report", TIMEOUT, || scene.notifications_with("report_kind", "interval").pop());
    let data = &report["data"];
    assert_eq!((&data["records_skipped"], &data["records_missing"]), (&0.into(), &0.into()), "{report}");
    let not_offered = data["warned_by_rule"]["not_offered"].as_u64().unwrap();
    assert!(not_offered > 50, "{report}");
    let stored = scene.database.count();
    assert!(stored >= 240 && stored + not_offered == 5 * 241, "{stored} stored, {not_offered} not offered");
    assert_eq!(scene.notifications_with("alert_type", "validation_error").len(), 0);
    assert_eq!(scene.dead_letters().len(), 0);
}

#[tokio::test]
async fn stock_list_is_paged_over_three_exchanges() {
    let codes = codes(4_200);
    let options = Options { page_size: 100, ..Options::default() };
    let server = EastMoneyServer::start_with(Dataset::generated(&codes, &[day("2024-03-29")]), options).unwrap();
    let stocks = source(&server).stocks().await.unwrap();
    let code_of = |field: &Field<String>| match field {
        Field::Value(text) => text.parse::<actors::domain::Code>().unwrap().to_string(),
        other => panic!("{other:?}"),
    };
    let mut found: Vec<String> = stocks.iter().map(|stock| code_of(&stock.code)).collect();
    let mut expected = codes.clone();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert_eq!(server.requests().len(), 42);
    let bank = stocks.iter().find(|stock| code_of(&stock.code) == CODE).unwrap();
    assert_eq!((&bank.name, &bank.industry), (&Field::Value("股票600000".into()), &Field::Value("银行".into())));
    assert_eq!(bank.list_date, Field::Value("2000-01-01T00:00:00".parse().unwrap()));
}

async fn error_under(fault: Fault) -> SourceError {
    let server = server();
    server.set_fault(Some(fault));
    let error = source(&server).bars(&first_quarter()).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("source eastmoney: 1d bars of 600000.SH 2024-01-01..2024-03-31 at http://127.0.0.1"),
        "{text}"
    );
    error
}

#[tokio::test]
async fn each_fault_of_the_server_has_its_kind() {
    use SourceErrorKind as Kind;
    let kind = |fault| async { error_under(fault).await.kind };
    assert!(matches!(kind(Fault::Status(500, None)).await, Kind::Server(text) if text.contains("500")));
    assert!(matches!(kind(Fault::Status(502, None)).await, Kind::Server(_)));
    assert!(matches!(kind(Fault::Status(404, None)).await, Kind::BadRequest(_)));
    assert!(
        matches!(kind(Fault::Status(429, Some(7))).await, Kind::RateLimited { retry_after, .. } if retry_after.as_secs() == 7)
    );
    assert!(matches!(kind(Fault::Html).await, Kind::BadAnswer(text) if text.contains("<html>")));
    assert!(matches!(kind(Fault::Truncated).await, Kind::BadAnswer(text) if text.contains("no answer object")));
    let nothing = Fault::Body(r#"{"rc":102,"rt":17,"data":null}"#.to_owned());
    assert!(matches!(kind(nothing).await, Kind::BadRequest(text) if text.contains("rc 102")));
    for text in ["", r#"{"rc":0,"rt":17,"data":null}"#] {
        assert!(matches!(kind(Fault::Body(text.to_owned())).await, Kind::BadAnswer(_)), "{text}");
    }
    let page =
        "<!DOCTYPE html><html><head><title>访问验证</title></head><body><div id=\"captcha\"></div></body></html>";
    for text in [page, "Too Many Requests"] {
        assert!(matches!(kind(Fault::Body(text.to_owned())).await, Kind::RateLimited { .. }), "{text}");
    }
    let other = Fault::Body(r#"{"rc":0,"data":{"code":"000001","klines":[]}}"#.to_owned());
    assert!(matches!(kind(other).await, Kind::BadAnswer(text) if text.contains("about 000001")));
}

#[tokio::test]
async fn unknown_security_is_a_bad_request() {
    let server = server();
    let unknown = BarRequest { code: "699999.SH".parse().unwrap(), ..first_quarter() };
    let error = source(&server).bars(&unknown).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::BadRequest(text) if text.contains("rc 100")), "{error}");
}

#[tokio::test]
async fn closed_connections_are_a_rate_limit() {
    let server = server();
    let source = source(&server);
    server.set_fault(Some(Fault::CloseConnection));
    for _ in 0..10 {
        let error = source.bars(&first_quarter()).await.unwrap_err();
        let SourceErrorKind::RateLimited { message, retry_after } = &error.kind else { panic!("{error}") };
        assert!(message.contains("frequent callers") && *retry_after > Duration::from_secs(50), "{error}");
    }
    assert_eq!(server.requests().len(), 2, "one retry on a new connection, then none until the pause ends");
}

#[tokio::test]
async fn closed_port_is_unreachable_and_silence_times_out() {
    let server = server();
    let impatient = EastMoneySection { timeout_ms: 200, ..section(server.url()) };
    let source = connect(&impatient);
    server.set_fault(Some(Fault::Hang));
    let error = source.bars(&first_quarter()).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Timeout(Duration::from_millis(200)));
    server.set_fault(None);
    let source = connect(&section(server.url()));
    assert_eq!(source.bars(&first_quarter()).await.unwrap().len(), 58);
    drop(server);
    let error = source.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_packed_or_not() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::copy(&mut std::io::repeat(b' ').take(80 << 20), &mut encoder).unwrap();
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 1 << 20);
    for url in [
        raw_server("HTTP/1.1 200 OK\r\n\r\n", vec![b' '; 1 << 20], 80),
        raw_server("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n", bomb, 1),
    ] {
        let error = connect(&section(url)).bars(&first_quarter()).await.unwrap_err();
        assert!(matches!(&error.kind, SourceErrorKind::BadAnswer(text) if text.contains("more than")), "{error}");
    }
}

#[tokio::test]
async fn a_list_without_end_or_with_a_hole_is_refused() {
    let server = server();
    let source = source(&server);
    let page = |rows: &str| Some(Fault::Body(format!(r#"{{"rc":0,"data":{{"total":100000,"diff":[{rows}]}}}}"#)));
    server.set_fault(page(""));
    let error = source.stocks().await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::BadAnswer(text) if text.contains("0 of 100000")), "{error}");
    server.set_fault(page(r#"{"f12":"600000","f13":1}"#));
    let error = source.stocks().await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::BadAnswer(text) if text.contains("no end")), "{error}");
}

#[test]
fn an_address_that_cannot_work_is_refused() {
    for url in ["ftp://host", "host", "http://me:geheim@host"] {
        let eastmoney = section(url.to_owned());
        let bars = vec![SourceName::EastMoney];
        let error = ConfiguredSources::build(
            &SourcesSection { bars, eastmoney, ..SourcesSection::default() },
            &QuotaState::default(),
        );
        let text = error.err().unwrap().to_string();
        assert!(text.contains("sources.eastmoney.url") && !text.contains("geheim"), "{text}");
    }
}

#[test]
fn commands_become_exact_rows_with_eastmoney_alone() {
    let Market { codes, data, last_day } = market(20, 5);
    let server = EastMoneyServer::start(data).unwrap();
    let mut scene = Scene::new("eastmoney", PROGRAM, Dataset::empty());
    let tables = Tables::create(&scene.name);
    scene.set("sources.bars", "[eastmoney]").set("sources.eastmoney.url", server.url());
    scene.set("sources.eastmoney.list_url", server.url()).set("sources.eastmoney.requests_per_minute", 0);
    let _worker = scene.start("n1");
    let first = server.rows(&codes[0])[0].date.format("%Y%m%d");
    let command = |code: &String, frequency: &str| {
        let params = format!(r#"{{"code":"{code}","frequency":"{frequency}","start_date":"{first}"}}"#);
        format!(r#"{{"command":"bar_snapshot","params":{params}}}"#).into_bytes()
    };
    scene.send_snapshots(&codes, "");
    let list = br#"{"command":"stockinfo","params":{}}"#.to_vec();
    scene.send(&[command(&codes[0], "1m"), command(&codes[0], "15m"), list]);
    scene.wait_until_committed();
    assert_eq!(scene.dead_letters().len(), 0);
    let expected = |server: &EastMoneyServer| {
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
    assert_eq!(count("frequency = 2").trim(), format!("{0}\t{0}", 5 * 241));
    assert_eq!(count("frequency = 4").trim(), format!("{0}\t{0}", 5 * 16));
    assert_eq!(scene.database.query("SELECT DISTINCT source FROM bar").trim(), "0");
    assert_eq!(
        tables.rows("SELECT count(*), min(source), max(list_date) FROM stock_info"),
        [["20", "0", "2000-01-01 00:00:00"]]
    );
    scene.database.query("DELETE FROM bar WHERE frequency != 1");
    assert_eq!(scene.database.bars(), expected(&server));

    server.append_day(last_day);
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    assert_eq!(scene.database.bars(), expected(&server), "the increment adds one row per code");
}

#[test]
fn what_tdx_does_not_have_comes_from_the_next_source() {
    let codes = ["430047.BJ".to_owned(), "600000.SH".to_owned()];
    let days = kit::tushare_data::last_trading_days(actors::domain::shanghai_clock::today().pred_opt().unwrap(), 5);
    let data = Dataset::generated(&codes, &days);
    let (first, second) = (TdxServer::start(data.clone()).unwrap(), EastMoneyServer::start(data).unwrap());
    let mut scene = Scene::new("tdxnext", PROGRAM, Dataset::empty());
    scene.set("sources.bars", "[tdx, eastmoney]").set("sources.eastmoney.url", second.url());
    scene.set("sources.tdx.hosts", format!("[\"{}\"]", first.address()));
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let by_code = scene.database.query("SELECT code, source, count() FROM bar GROUP BY code, source ORDER BY code");
    assert_eq!(by_code.trim(), "430047.BJ\t0\t5\n600000.SH\t8\t5");
    assert_eq!(scene.dead_letters().len(), 0);
}
