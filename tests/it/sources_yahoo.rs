// Upstream: none
// Downstream: actors, data_worker, kit, main_job
// Role: Tests the Yahoo adapter against a protocol server, and the worker with Yahoo as its source.

use std::time::Duration;

use actors::domain::{DateRange, FetchedBar, Field, Frequency, Price};
use actors::ports::{BarRequest, MarketSource, SourceError, SourceErrorKind};
use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime};
use data_worker::config::{SourcesSection, YahooSection};
use data_worker::sources::yahoo::YahooSource;
use kit::fault::FaultDuration;
use kit::http_serving::raw_server;
use kit::scene::Scene;
use kit::tushare_data::{DailyRow, Dataset, codes, last_trading_days, shanghai_today, trading_days};
use kit::yahoo_server::{Fault, YahooServer};
use rust_decimal::Decimal;

use crate::main_job::{Market, PROGRAM, market};

const CODE: &str = "600000.SH";

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn server() -> YahooServer {
    YahooServer::start(Dataset::generated(&codes(3), &trading_days(day("2024-01-01"), day("2024-03-31")))).unwrap()
}

fn section(url: String) -> YahooSection {
    YahooSection { url, timeout_ms: 20_000, requests_per_minute: 0, ..YahooSection::default() }
}

fn connect(section: &YahooSection) -> YahooSource {
    YahooSource::new(section, section.limits(&SourcesSection::default())).unwrap()
}

fn source(server: &YahooServer) -> YahooSource {
    connect(&section(server.url()))
}

fn request(frequency: Frequency, start: NaiveDate, end: NaiveDate) -> BarRequest {
    BarRequest { code: CODE.parse().unwrap(), frequency, range: DateRange { start, end } }
}

fn first_quarter() -> BarRequest {
    request(Frequency::Day, day("2024-01-01"), day("2024-03-31"))
}

/// Time, prices in hundredths, lots. Rounding removes the error of single precision, as it does when bars are stored.
type Rounded = (NaiveDateTime, [i64; 4], Decimal);

fn rounded(bar: &FetchedBar) -> Rounded {
    let number = |field: &Field<Decimal>| match field {
        Field::Value(value) => *value,
        other => panic!("{other:?}"),
    };
    let price = |field| Price::from_decimal(number(field)).unwrap().to_fen();
    let Field::Value(time) = bar.timestamp else { panic!("{bar:?}") };
    assert_eq!(bar.amount, Field::Missing);
    (time, [&bar.open, &bar.high, &bar.low, &bar.close].map(price), number(&bar.volume).normalize())
}

fn expected(row: &DailyRow) -> Rounded {
    let [open, high, low, close, _, volume, _] = row.cells().map(|cell| cell.parse::<Decimal>().unwrap());
    let prices = [open, high, low, close].map(|price| Price::from_decimal(price).unwrap().to_fen());
    (row.date.and_time(NaiveTime::MIN), prices, volume.normalize())
}

fn expected_of(server: &YahooServer) -> Vec<Rounded> {
    server.rows(CODE).iter().map(expected).collect()
}

async fn days(source: &YahooSource) -> Vec<Rounded> {
    source.bars(&first_quarter()).await.unwrap().iter().map(rounded).collect()
}

#[tokio::test]
async fn days_come_with_the_values_the_server_has() {
    let server = server();
    let source = source(&server);
    assert_eq!(days(&source).await, expected_of(&server));
    let some = source.bars(&request(Frequency::Day, day("2024-01-03"), day("2024-01-05"))).await.unwrap();
    assert_eq!(some.iter().map(rounded).collect::<Vec<_>>(), expected_of(&server)[1..4]);
    let holidays = request(Frequency::Day, day("2024-02-10"), day("2024-02-17"));
    assert_eq!(source.bars(&holidays).await.unwrap(), []);
    let received = server.received();
    assert_eq!(received.len(), 3);
    assert_eq!(received[0].path, "/v8/finance/chart/600000.SS");
    assert_eq!(received[0].user_agent, "Mozilla/5.0");
    assert_eq!((received[0].params["interval"].as_str(), received[0].params["period1"].as_str()), ("1d", "1704038400"));
}

#[tokio::test]
async fn days_before_splits_are_raw_again() {
    let server = server();
    server.set_split(CODE, day("2024-02-01"), 13, 10);
    // The split lies after the requested range but before today.
    server.set_split(CODE, day("2024-06-03"), 2, 1);
    assert_eq!(days(&source(&server)).await, expected_of(&server));
}

#[tokio::test]
async fn nulls_and_days_without_trade_are_no_bars() {
    let server = server();
    let mut rows = server.rows(CODE);
    rows[3] = DailyRow::new(rows[3].date, ["null"; 7]);
    rows[5] = DailyRow::new(rows[5].date, ["5", "5", "5", "5", "5", "0", "0"]);
    server.set_rows(CODE, rows);
    let bars = days(&source(&server)).await;
    let mut rows = server.rows(CODE);
    rows.remove(5);
    rows.remove(3);
    assert_eq!(bars, rows.iter().map(expected).collect::<Vec<_>>());
}

#[tokio::test]
async fn minutes_of_each_length_are_labelled_with_their_end() {
    let past = last_trading_days(shanghai_today().pred_opt().unwrap(), 10);
    let server = YahooServer::start(Dataset::generated(&codes(1), &past)).unwrap();
    let source = source(&server);
    for (frequency, a_day, first, requests) in [
        (Frequency::Minute1, 240, "09:31", 4),
        (Frequency::Minute5, 48, "09:35", 1),
        (Frequency::Minute15, 16, "09:45", 1),
        (Frequency::Minute30, 8, "10:00", 1),
        (Frequency::Minute60, 4, "10:30", 1),
    ] {
        let before = server.received().len();
        // Four weeks up to today, whatever the weekday.
        let start = shanghai_today().checked_sub_days(Days::new(27)).unwrap();
        let bars = source.bars(&request(frequency, start, past[9])).await.unwrap();
        let mut times: Vec<NaiveDateTime> = bars.iter().map(|bar| rounded(bar).0).collect();
        assert_eq!(times.len(), 10 * a_day, "{frequency}");
        assert_eq!(times[0].format("%H:%M").to_string(), first);
        assert_eq!(times[a_day - 1].format("%H:%M").to_string(), "15:00");
        let lots: Decimal = bars[..a_day].iter().map(|bar| rounded(bar).2).sum();
        let whole = expected_of(&server)[0].2;
        // Yahoo has no row for the opening auction, which holds 1/241 of the day's volume here.
        let off = if a_day == 240 { whole / Decimal::from(240) } else { Decimal::TWO };
        assert!((lots - whole).abs() < off, "{frequency}: {lots} lots of {whole}");
        times.dedup();
        assert_eq!(times.len(), 10 * a_day, "no minute is duplicated at the border of two requests");
        assert_eq!(server.received().len() - before, requests, "{frequency}");
    }
    server.set_split(CODE, past[6], 2, 1);
    let error = source.bars(&request(Frequency::Minute5, past[5], past[9])).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::BadRequest(text) if text.contains("split of")), "{error}");
    assert_eq!(source.bars(&request(Frequency::Minute5, past[6], past[9])).await.unwrap().len(), 4 * 48);
}

#[tokio::test]
async fn rejects_unsupported_yahoo_requests_without_sending() {
    let server = server();
    let source = source(&server);
    let old = source.bars(&request(Frequency::Minute1, day("2024-01-02"), day("2024-01-03"))).await.unwrap_err();
    let beijing = BarRequest { code: "430047.BJ".parse().unwrap(), ..first_quarter() };
    let beijing = source.bars(&beijing).await.unwrap_err();
    assert!(matches!(&old.kind, SourceErrorKind::BadRequest(text) if text.contains("last 29 days")), "{old}");
    assert!(matches!(&beijing.kind, SourceErrorKind::NotCovered(text) if text.contains("exchange BJ")), "{beijing}");
    let stocks = source.stocks().await.unwrap_err();
    assert!(matches!(stocks.kind, SourceErrorKind::NotOffered(_)));
    assert_eq!(server.received().len(), 0);
    let unknown = BarRequest { code: "600009.SH".parse().unwrap(), ..first_quarter() };
    let error = source.bars(&unknown).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::BadRequest(text) if text.contains("may be delisted")), "{error}");
}

async fn error_under(fault: Fault) -> SourceError {
    let server = server();
    server.set_fault(fault, FaultDuration::UntilCleared);
    let error = source(&server).bars(&first_quarter()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("source yahoo: chart 600000.SH 1d"), "{text}");
    assert!(text.chars().count() < 600, "{text}");
    error
}

#[tokio::test]
async fn each_fault_of_the_server_has_its_kind() {
    use SourceErrorKind as Kind;
    let kind = |fault| async { error_under(fault).await.kind };
    let status = |status| kind(Fault::Status(status, "<html>Edge</html>".to_owned(), None));
    assert!(matches!(kind(Fault::Down).await, Kind::Unreachable(_)));
    assert!(matches!(status(500).await, Kind::Server(_)));
    assert!(matches!(status(502).await, Kind::Server(_)));
    assert!(matches!(status(401).await, Kind::Unauthorized(_)));
    assert!(matches!(status(422).await, Kind::BadRequest(_)));
    assert!(matches!(status(302).await, Kind::BadAnswer(text) if text.contains("sources.yahoo.url")));
    let limited = Fault::Status(429, "Too Many Requests".to_owned(), Some(7));
    let seven = Duration::from_secs(7);
    assert!(matches!(kind(limited).await, Kind::RateLimited { retry_after, .. } if retry_after == seven));
    assert!(matches!(status(429).await, Kind::RateLimited { .. }));
    let body = |body: &str| kind(Fault::Body(body.to_owned()));
    assert!(matches!(body("<html>502</html>").await, Kind::BadAnswer(text) if text.contains("<html>")));
    assert!(matches!(body(r#"{"chart":{"result":null,"error":{"code":"Bad Request"}}}"#).await, Kind::BadRequest(_)));
    for text in ["{}", "", r#"{"chart":{"result":[{"meta":"#] {
        assert!(matches!(body(text).await, Kind::BadAnswer(_)), "{text}");
    }
    let in_json = r#"{"chart":{"result":null,"error":{"code":"Too Many Requests","description":"Rate limited"}}}"#;
    for text in ["Too Many Requests\r\n", "<html><body>Edge: Too Many Requests</body></html>", in_json] {
        assert!(matches!(body(text).await, Kind::RateLimited { .. }), "{text}");
    }
    assert!(matches!(kind(Fault::Truncated).await, Kind::BadAnswer(text) if text.contains("EOF")));
    let replaced = |from: &str, to: &str| kind(Fault::Replaced(from.to_owned(), to.to_owned()));
    assert!(matches!(replaced("600000.SS", "000001.SZ").await, Kind::BadAnswer(text) if text.contains("000001.SZ")));
    let granularity = replaced("\"dataGranularity\":\"1d\"", "\"dataGranularity\":\"1mo\"").await;
    assert!(matches!(granularity, Kind::BadAnswer(text) if text.contains("1mo")));
    assert!(
        matches!(replaced("\"timestamp\":[", "\"timestamp\":[1,").await, Kind::BadAnswer(text) if text.contains("58 values for 59"))
    );
}

#[tokio::test]
async fn keeps_rows_of_other_body_for_the_validator() {
    let server = server();
    server.set_fault(Fault::Replaced("\"high\":[".to_owned(), "\"high\":[\"x\",".to_owned()), FaultDuration::Next(1));
    let error = source(&server).bars(&first_quarter()).await.unwrap_err();
    assert!(error.to_string().contains("59 values for 58"), "{error}");
    let first = "\"timestamp\":[1704159000";
    server.set_fault(Fault::Replaced(first.to_owned(), "\"timestamp\":[null".to_owned()), FaultDuration::Next(1));
    let bars = source(&server).bars(&first_quarter()).await.unwrap();
    assert_eq!((bars.len(), &bars[0].timestamp), (58, &Field::Missing));
}

#[tokio::test]
async fn cuts_off_bombs_and_endless_bodies() {
    let bomb = error_under(Fault::Bomb(200)).await;
    assert!(matches!(&bomb.kind, SourceErrorKind::BadAnswer(text) if text.contains("more than")), "{bomb}");
    let endless = connect(&section(raw_server("HTTP/1.1 200 OK\r\n\r\n", vec![b' '; 1 << 20], 1_000)));
    let error = endless.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::BadAnswer(text) if text.contains("more than")), "{error}");
    let url = raw_server("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", b"{\"chart\":".to_vec(), 1);
    let error = connect(&section(url)).bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn silent_server_times_out_and_slow_one_answers() {
    let server = server();
    let source = connect(&YahooSection { timeout_ms: 1_000, ..section(server.url()) });
    server.set_fault(Fault::Hang, FaultDuration::Next(1));
    let error = source.bars(&first_quarter()).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Timeout(Duration::from_secs(1)));
    server.set_fault(Fault::Slow(Duration::from_millis(20)), FaultDuration::Next(1));
    assert_eq!(days(&source).await.len(), 58);
    drop(server);
    let error = source.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Unreachable(_)), "{error}");
}

#[test]
fn worker_stores_yahoo_bars_with_zero_amount() {
    let Market { codes, .. } = market(4, 0);
    let past = last_trading_days(shanghai_today().pred_opt().unwrap(), 10);
    let data = Dataset::generated(&codes, &past);
    let mut scene = Scene::new("yahoo", PROGRAM, data.clone());
    let server = YahooServer::start(data).unwrap();
    server.set_split(&codes[1], past[5], 13, 10);
    scene.set("sources.bars", "[yahoo]").set("sources.yahoo.url", server.url());
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    let mut expected = scene.expected(&codes);
    for bar in &mut expected {
        "0".clone_into(&mut bar.values[5]);
    }
    assert_eq!(scene.database.bars(), expected);
    let minutes = |code: &String| {
        format!(
            r#"{{"command":"bar_snapshot","params":{{"code":"{code}","frequency":"5m","start_date":"{}"}}}}"#,
            past[5].format("%Y%m%d")
        )
        .into_bytes()
    };
    scene.send(&codes.iter().map(minutes).collect::<Vec<_>>());
    scene.wait_until_committed();
    let sql = "SELECT frequency, source, count(), uniqExact(code, timestamp), sum(amount) FROM bar \
               GROUP BY frequency, source ORDER BY frequency";
    assert_eq!(scene.database.query(sql).trim(), "1\t6\t40\t40\t0\n3\t6\t960\t960\t0");
    assert_eq!(scene.dead_letters().len(), 0);
}
