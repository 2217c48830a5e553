// Upstream: none
// Downstream: actors, data_worker, kit, main_job
// Role: Tests the BaoStock adapter against a protocol server, and the worker with BaoStock as its source.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::{DateRange, FetchedBar, Field, Frequency};
use actors::ports::{BarRequest, MarketSource, SourceError, SourceErrorKind};
use chrono::{Days, NaiveDate, NaiveTime};
use data_worker::config::{BaoStockSection, SourcesSection};
use data_worker::sources::baostock::BaoStockSource;
use kit::baostock_server::{BaoStockServer, Fault, Options, compressed_message, plain_message};
use kit::fault::FaultDuration;
use kit::mysql::Tables;
use kit::scene::Scene;
use kit::tushare_data::{DailyRow, Dataset, codes, shanghai_today, trading_days};
use rust_decimal::Decimal;

use crate::main_job::{Market, PROGRAM, market};

const CODE: &str = "600000.SH";

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn quarter() -> Vec<NaiveDate> {
    trading_days(day("2024-01-01"), day("2024-03-31"))
}

fn server() -> BaoStockServer {
    BaoStockServer::start(Dataset::generated(&codes(3), &quarter())).unwrap()
}

fn section(server: &BaoStockServer) -> BaoStockSection {
    BaoStockSection { address: server.address(), timeout_ms: 20_000, ..BaoStockSection::default() }
}

fn connect(section: &BaoStockSection) -> BaoStockSource {
    BaoStockSource::new(section, section.limits(&SourcesSection::default())).unwrap()
}

fn source(server: &BaoStockServer) -> BaoStockSource {
    connect(&section(server))
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

/// The bar that the adapter must return for a server's row.
fn expected(row: &DailyRow) -> FetchedBar {
    let [open, high, low, close, _, volume, amount] =
        row.cells().map(|cell| Field::Value(cell.parse::<Decimal>().unwrap()));
    FetchedBar { timestamp: Field::Value(row.date.and_time(NaiveTime::MIN)), open, high, low, close, volume, amount }
}

fn expected_of(server: &BaoStockServer) -> Vec<FetchedBar> {
    server.rows(CODE).iter().map(expected).collect()
}

#[tokio::test]
async fn days_match_server_in_one_session() {
    let server = server();
    let source = source(&server);
    for _ in 0..5 {
        assert_eq!(source.bars(&first_quarter()).await.unwrap(), expected_of(&server));
    }
    let some = source.bars(&request(Frequency::Day, range("2024-01-03", "2024-01-05"))).await.unwrap();
    assert_eq!(some, expected_of(&server)[1..4]);
    assert_eq!(source.bars(&request(Frequency::Day, range("2024-02-10", "2024-02-17"))).await.unwrap(), []);
    assert_eq!((server.logins(), server.connections(), server.requests()), (1, 1, 7));
}

#[tokio::test]
async fn minutes_have_end_labels_and_ginkgo_units() {
    let server = server();
    let source = source(&server);
    for (frequency, a_day, first) in [
        (Frequency::Minute5, 48, "09:35"),
        (Frequency::Minute15, 16, "09:45"),
        (Frequency::Minute30, 8, "10:00"),
        (Frequency::Minute60, 4, "10:30"),
    ] {
        let bars = source.bars(&request(frequency, range("2024-01-02", "2024-01-03"))).await.unwrap();
        assert_eq!(bars.len(), 2 * a_day);
        let time = |bar: &FetchedBar| match bar.timestamp {
            Field::Value(time) => time.format("%d %H:%M").to_string(),
            _ => panic!("{bar:?}"),
        };
        assert_eq!((time(&bars[0]), time(&bars[a_day - 1])), (format!("02 {first}"), "02 15:00".to_owned()));
        let lots: Decimal = bars[..a_day].iter().map(|bar| value(&bar.volume)).sum();
        let whole = value(&expected_of(&server)[0].volume);
        assert!((lots - whole).abs() < Decimal::ONE, "{lots} lots of {whole}");
        for bar in &bars {
            let average = value(&bar.amount) * Decimal::TEN / value(&bar.volume);
            assert!(value(&bar.low) <= average && average <= value(&bar.high), "{bar:?}");
        }
    }
}

fn value(field: &Field<Decimal>) -> Decimal {
    match field {
        Field::Value(value) => *value,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_row_is_lost_or_doubled_at_the_borders_of_pages() {
    for (count, calls) in [(1_999_u64, 1), (2_000, 2), (2_001, 2), (4_000, 3), (6_500, 4)] {
        let mut days: Vec<NaiveDate> = (0..count).map(|back| day("2024-01-31") - Days::new(back)).collect();
        days.reverse();
        let server = BaoStockServer::start(Dataset::generated(&[CODE.to_owned()], &days)).unwrap();
        let bars = source(&server).bars(&request(Frequency::Day, range("1990-12-19", "2024-01-31"))).await.unwrap();
        assert!(bars == expected_of(&server), "{count} rows differ");
        assert_eq!(server.requests(), calls, "{count} rows");
        if count == 6_500 {
            server.set_fault(Fault::FirstPageAlways, FaultDuration::UntilCleared);
            let all = request(Frequency::Day, range("1990-12-19", "2024-01-31"));
            let error = source(&server).bars(&all).await.unwrap_err();
            assert!(matches!(&error.kind, SourceErrorKind::BadAnswer(text) if text.contains("repeats")), "{error}");
        }
    }
}

#[tokio::test]
async fn skips_suspended_day_and_keeps_unreadable_cells() {
    let server = server();
    let mut rows = server.rows(CODE);
    rows[0] = DailyRow::new(rows[0].date, ["5", "5", "5", "5", "5", "0", "0"]);
    rows[1] = DailyRow::new(rows[1].date, ["1.005", "null", "\"x\"", "1e3", "1", "12.34", "123456789012.345"]);
    server.set_rows(CODE, rows);
    let bars = source(&server).bars(&request(Frequency::Day, range("2024-01-02", "2024-01-03"))).await.unwrap();
    assert_eq!(bars.len(), 1);
    assert_eq!((value(&bars[0].open), value(&bars[0].volume)), (Decimal::new(1005, 3), Decimal::new(1234, 2)));
    assert_eq!(value(&bars[0].amount), "123456789012.345".parse().unwrap());
    assert_eq!((&bars[0].high, &bars[0].low), (&Field::Missing, &Field::unreadable("x")));
}

#[tokio::test]
async fn factors_lists_and_whole_days_match_server() {
    let server = server();
    let source = source(&server);
    server.set_factor(CODE, day("2024-01-03"), 2.5);
    server.set_factor(CODE, day("2024-02-01"), 3.125);
    let factors = source.factors(CODE.parse().unwrap(), range("2024-01-31", "2024-02-02")).await.unwrap();
    let found: Vec<_> = factors.iter().map(|row| value(&row.factor).normalize().to_string()).collect();
    assert_eq!(found, ["2.5", "3.125", "3.125"], "the event of 3 January still applies");
    let whole = source.factors(CODE.parse().unwrap(), range("1990-12-19", "2024-03-31")).await.unwrap();
    assert_eq!((whole.len(), value(&whole[0].factor)), (58, Decimal::ONE));

    let stocks = source.stocks().await.unwrap();
    let names: Vec<_> = stocks.iter().map(|stock| (stock.code.clone(), stock.name.clone())).collect();
    let text = |text: &str| Field::Value(text.to_owned());
    assert_eq!(stocks.len(), 3, "neither the index nor the delisted share");
    assert!(names.contains(&(text("sh.600000"), text("股票600000"))), "{names:?}");

    let days = source.trade_days().await.unwrap();
    assert_eq!(days.len(), 88, "from 2 January to 29 March");
    assert_eq!(days.iter().filter(|day| value(&day.is_open) == Decimal::ONE).count(), 58);

    let all = source.day_bars(day("2024-01-02")).await.unwrap();
    assert_eq!(all.len(), 3);
    let (_, bar) = all.iter().find(|(code, _)| code.as_str() == CODE).unwrap();
    assert_eq!(*bar, expected_of(&server)[0]);
}

#[tokio::test]
async fn rejects_unsupported_requests_without_connecting() {
    let server = server();
    let source = source(&server);
    let minute = source.bars(&request(Frequency::Minute1, range("2024-01-02", "2024-01-03"))).await.unwrap_err();
    let beijing = BarRequest { code: "430047.BJ".parse().unwrap(), ..first_quarter() };
    let beijing = source.bars(&beijing).await.unwrap_err();
    let is_named = matches!(&minute.kind, SourceErrorKind::BadRequest(text) if text.contains("no 1-minute bars"));
    assert!(is_named, "{minute}");
    assert!(matches!(&beijing.kind, SourceErrorKind::NotCovered(text) if text.contains("exchange BJ")), "{beijing}");
    let tick = source.ticks(CODE.parse().unwrap(), day("2024-01-02")).await.unwrap_err();
    assert!(matches!(tick.kind, SourceErrorKind::NotOffered(_)));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn renews_expired_session() {
    let server = server();
    let source = source(&server);
    source.bars(&first_quarter()).await.unwrap();
    server.end_sessions();
    assert_eq!(source.bars(&first_quarter()).await.unwrap(), expected_of(&server));
    assert_eq!(server.logins(), 2);
    // The server closes the idle connection at its next use.
    server.set_fault(Fault::Down, FaultDuration::Next(1));
    assert_eq!(source.bars(&first_quarter()).await.unwrap(), expected_of(&server));
    assert_eq!(server.logins(), 3);
    // An unknown code is refused; the session stays valid.
    let unknown = BarRequest { code: "600009.SH".parse().unwrap(), ..first_quarter() };
    let error = source.bars(&unknown).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::BadRequest(text) if text.contains("10004011")), "{error}");
    source.bars(&first_quarter()).await.unwrap();
    assert_eq!(server.logins(), 3);
}

#[tokio::test]
async fn no_more_connections_are_open_than_allowed() {
    let server = server();
    let source = Arc::new(source(&server));
    server.set_fault(Fault::Slow(Duration::from_millis(5)), FaultDuration::UntilCleared);
    let calls: Vec<_> = (0..40)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { source.bars(&first_quarter()).await.unwrap().len() })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap(), 58);
    }
    assert_eq!((server.requests(), server.connections(), server.logins()), (40, 2, 2));
}

async fn error_under(fault: Fault) -> SourceError {
    let server = server();
    server.set_fault(fault, FaultDuration::UntilCleared);
    let section = BaoStockSection { timeout_ms: 20_000, ..section(&server) };
    let error = connect(&section).bars(&first_quarter()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("source baostock: query_history_k_data_plus 600000.SH 1d"), "{text}");
    assert!(text.chars().count() < 600, "{text}");
    error
}

#[tokio::test]
async fn each_fault_of_the_server_has_its_kind() {
    use SourceErrorKind as Kind;
    let kind = |fault| async { error_under(fault).await.kind };
    assert!(matches!(kind(Fault::Down).await, Kind::Unreachable(_)));
    assert!(matches!(kind(Fault::Truncated).await, Kind::Unreachable(text) if text.contains("bytes of an answer")));
    let refused = |code: &str| kind(Fault::Refused(code.to_owned(), "文字".to_owned()));
    assert!(matches!(refused("10004011").await, Kind::BadRequest(text) if text.contains("文字")));
    assert!(matches!(refused("10005001").await, Kind::Server(_)));
    assert!(matches!(refused("10001011").await, Kind::Unauthorized(_)), "black-listed");
    assert!(matches!(refused("10001001").await, Kind::Server(text) if text.contains("ended right after the login")));
    let login = |code: &str| kind(Fault::LoginRefused(code.to_owned(), "文字".to_owned()));
    assert!(matches!(login("10001011").await, Kind::Unauthorized(text) if text.contains("文字")));
    assert!(matches!(login("10001005").await, Kind::RateLimited { .. }));
    let json = |json: &str| kind(Fault::Json(json.to_owned()));
    assert!(matches!(json("<html>").await, Kind::BadAnswer(_)));
    assert!(
        matches!(json(r#"{"record":[["2024-01-02"]]}"#).await, Kind::BadAnswer(text) if text.contains("1 cells for 11"))
    );
    assert!(matches!(json(r#"{"record":null}"#).await, Kind::BadAnswer(_)));
    let others = r#"{"record":[["2024-01-02","sz.000001","1","1","1","1","1","1","1","1","0"]]}"#;
    assert!(matches!(json(others).await, Kind::BadAnswer(text) if text.contains("sz.000001")));
}

#[tokio::test]
async fn rejects_garbage_answers_cheaply() {
    let raw = |bytes: Vec<u8>| async {
        match error_under(Fault::Raw(bytes)).await.kind {
            SourceErrorKind::BadAnswer(text) => text,
            other => panic!("{other}"),
        }
    };
    assert!(raw(b"HTTP/1.1 400 Bad Request\r\n\r\n<html></html>".to_vec()).await.contains("HTTP/1.1 400"));
    assert!(raw(b"00.9.00\x0196\x019999999999".to_vec()).await.contains("more than"));
    assert!(raw(b"00.9.00\x0196\x01-000000005".to_vec()).await.contains("no header"));
    let bomb = compressed_message("96", &vec![b'0'; 200 << 20]);
    assert!(bomb.len() < 1 << 20);
    assert!(raw(bomb).await.contains("holds more than"));
    let mut torn = compressed_message("96", b"0\x01success\x01and so on, a text of some length that is pressed");
    torn[30] ^= 0x55;
    assert!(raw(torn).await.contains("cannot be read"));
    assert!(raw(plain_message("96", "<html>")).await.contains("no code"));
    let shorter = String::from_utf8(plain_message("34", "0\u{1}success")).unwrap().replace("0000000009", "0000000003");
    assert!(raw(shorter.into_bytes()).await.contains("its length is 3"));
    assert!(
        matches!(error_under(Fault::Endless).await.kind, SourceErrorKind::BadAnswer(text) if text.contains("more than"))
    );
}

#[tokio::test]
async fn silent_server_times_out_and_slow_one_answers() {
    let server = server();
    let source = connect(&BaoStockSection { timeout_ms: 1_000, ..section(&server) });
    for _login_then_query in 0..2 {
        server.set_fault(Fault::Hang, FaultDuration::Next(1));
        let error = source.bars(&first_quarter()).await.unwrap_err();
        assert_eq!(error.kind, SourceErrorKind::Timeout(Duration::from_secs(1)));
        server.set_fault(Fault::Slow(Duration::from_millis(20)), FaultDuration::Next(1));
        assert_eq!(source.bars(&first_quarter()).await.unwrap().len(), 58);
    }
    // Half an answer, then nothing.
    server.set_fault(Fault::Raw(b"00.9.00\x0196\x010000000100abc".to_vec()), FaultDuration::Next(1));
    let error = source.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Timeout(_)), "{error}");
    let address = server.address();
    drop(server);
    let gone = connect(&BaoStockSection { address, timeout_ms: 1_000, ..BaoStockSection::default() });
    let error = gone.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn own_account_logs_in_without_showing_password() {
    let options = Options { user: "me".to_owned(), password: "geheim-4711".to_owned(), ..Options::default() };
    let data = Dataset::generated(&codes(1), &quarter());
    let server = BaoStockServer::start_with(data, options).unwrap();
    let account = |user: &str, password: &str| BaoStockSection {
        user: user.to_owned(),
        password: Some(password.to_owned().into()),
        ..section(&server)
    };
    let right = connect(&account("me", "geheim-4711"));
    assert_eq!(right.bars(&first_quarter()).await.unwrap().len(), 58);
    let wrong = connect(&account("me", "geheim-0815"));
    let error = wrong.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::Unauthorized(text) if text.contains("10001002")), "{error}");
    // A server that echoes the password.
    server.set_fault(Fault::LoginRefused("10001002".to_owned(), "geheim-0815?".to_owned()), FaultDuration::Next(1));
    let error = wrong.bars(&first_quarter()).await.unwrap_err();
    for text in [error.to_string(), format!("{error:?}"), format!("{wrong:?} {:?}", account("me", "geheim-0815"))] {
        assert!(!text.contains("geheim"), "{text}");
    }
    let limits = account("me", "x").limits(&SourcesSection::default());
    let error = BaoStockSource::new(&account("m\u{1}e", "x"), limits).err().unwrap();
    assert!(error.to_string().contains("control character"), "{error}");
}

fn command(name: &str, params: &str) -> Vec<u8> {
    format!(r#"{{"command":"{name}","params":{{{params}}}}}"#).into_bytes()
}

#[test]
fn worker_stores_baostock_data_and_falls_back() {
    let Market { codes, .. } = market(4, 0);
    let beijing = "430047.BJ".to_owned();
    let today = shanghai_today();
    let days = kit::tushare_data::last_trading_days(today.pred_opt().unwrap(), 12);
    let of = |codes: &[String]| Dataset::generated(codes, &days);
    let all = [codes.as_slice(), std::slice::from_ref(&beijing)].concat();
    let mut scene = Scene::new("baostock", PROGRAM, of(&all));
    let tables = Tables::create(&scene.name);
    let server = BaoStockServer::start(of(&codes)).unwrap();
    scene.set("sources.bars", "[baostock, tushare]").set("sources.baostock.address", server.address());
    let _worker = scene.start("n1");
    scene.send_snapshots(&all, "");
    let per_code = |name: &str, params: &str| -> Vec<Vec<u8>> {
        codes.iter().map(|code| command(name, &format!(r#""code":"{code}"{params}"#))).collect()
    };
    scene.wait_until_committed();
    scene.assert_exact(&all);
    let by_source = |scene: &Scene| {
        scene.database.query("SELECT source, count() FROM bar GROUP BY source ORDER BY source").trim().to_owned()
    };
    assert_eq!(by_source(&scene), "4\t48\n7\t12");

    scene.send(&per_code("bar_snapshot", r#","frequency":"5m""#));
    scene.send(&per_code("adjustfactor", ""));
    scene.send(&[command("stockinfo", ""), command("trade_day", "")]);
    scene.wait_until_committed();
    let minutes = "SELECT source, count(), uniqExact(code, timestamp) FROM bar WHERE frequency = 3 GROUP BY source";
    assert_eq!(scene.database.query(minutes).trim(), "4\t2304\t2304");
    let factors = "SELECT source, count(), sum(adjustfactor) FROM adjustfactor GROUP BY source";
    // Half of the days lie before the event, half after it.
    assert_eq!(scene.database.query(factors).trim(), "4\t48\t49.2");
    assert_eq!(tables.rows("SELECT source, count(*) FROM stock_info GROUP BY source"), [["4", "4"]]);
    let open = tables.rows("SELECT source, count(*) FROM trade_day WHERE is_open = 1 GROUP BY source");
    assert_eq!(open, [["4", "12"]]);
    assert_eq!(scene.dead_letters().len(), 0);
}
