// Upstream: none
// Downstream: actors, data_worker, kit
// Role: Tests the Tushare adapter against a server that speaks Tushare's protocol.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actors::domain::{DateRange, FetchedBar, Field, Frequency};
use actors::ports::{BarRequest, MarketSource, SourceError, SourceErrorKind};
use chrono::{Days, NaiveDate, NaiveTime};
use data_worker::config::{SourcesSection, TushareSection};
use data_worker::sources::ConfiguredSources;
use data_worker::sources::shared::budget::QuotaState;
use data_worker::sources::tushare::TushareSource;
use kit::tushare_server::{
    DailyRow, Dataset, Fault, FaultDuration, InterfaceLimit, LabelForm, Options, TushareServer, Window, codes,
    trading_days,
};
use rust_decimal::Decimal;

const CODE: &str = "600000.SH";
const TOKEN: &str = TushareServer::TOKEN;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn quarter() -> Vec<NaiveDate> {
    trading_days(day("2024-01-01"), day("2024-03-31"))
}

fn server() -> TushareServer {
    TushareServer::start(Dataset::generated(&codes(3), &quarter())).unwrap()
}

fn section(url: String, token: &str) -> TushareSection {
    TushareSection { url, token: Some(token.to_owned().into()), timeout_ms: 20_000, ..TushareSection::default() }
}

fn connect(section: &TushareSection) -> TushareSource {
    TushareSource::new(section, section.limits(&SourcesSection::default())).unwrap()
}

fn source(server: &TushareServer) -> TushareSource {
    connect(&section(server.url(), TOKEN))
}

fn request(start: &str, end: &str) -> BarRequest {
    let range = DateRange { start: day(start), end: day(end) };
    BarRequest { code: CODE.parse().unwrap(), frequency: Frequency::Day, range }
}

fn first_quarter() -> BarRequest {
    request("2024-01-01", "2024-03-31")
}

/// The bar that the adapter must return for a server's row.
fn expected(row: &DailyRow) -> FetchedBar {
    let [open, high, low, close, _, volume, amount] =
        row.cells().map(|cell| Field::Value(cell.parse::<Decimal>().unwrap()));
    FetchedBar { timestamp: Field::Value(row.date.and_time(NaiveTime::MIN)), open, high, low, close, volume, amount }
}

fn expected_of(server: &TushareServer) -> Vec<FetchedBar> {
    server.rows(CODE).iter().rev().map(expected).collect()
}

async fn error_under(fault: Fault) -> SourceError {
    let server = server();
    server.set_fault(fault, FaultDuration::UntilCleared);
    let error = source(&server).bars(&first_quarter()).await.unwrap_err();
    assert!(error.to_string().contains(CODE), "{error}");
    error
}

#[tokio::test]
async fn bars_match_server_at_both_address_forms() {
    let server = server();
    let bars = source(&server).bars(&first_quarter()).await.unwrap();
    assert_eq!(bars.len(), 58);
    assert_eq!(bars, expected_of(&server));
    let received = server.last_request();
    assert_eq!(received.path, "/dataapi/daily");
    assert_eq!(received.user_agent, concat!("ginkgo-data-worker/", env!("CARGO_PKG_VERSION")));
    let root = connect(&section(server.root_url(), TOKEN));
    assert_eq!(root.bars(&first_quarter()).await.unwrap(), bars);
    assert_eq!(server.last_request().path, "/");
    assert_eq!((server.requests(), server.rejected()), (2, 0));
}

#[tokio::test]
async fn range_includes_both_ends_and_may_be_empty() {
    let server = server();
    let source = source(&server);
    let bars = source.bars(&request("2024-01-03", "2024-01-05")).await.unwrap();
    assert_eq!(bars, expected_of(&server)[54..57].to_vec());
    assert_eq!(source.bars(&request("2024-02-10", "2024-02-17")).await.unwrap(), []);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn every_written_form_of_a_day_gives_the_same_bars() {
    let server = server();
    let source = source(&server);
    let forms = [LabelForm::Number, LabelForm::Dashed, LabelForm::Zoned, LabelForm::Close, LabelForm::EpochSeconds];
    for form in forms {
        server.set_fault(Fault::Labels(form), FaultDuration::UntilCleared);
        assert_eq!(source.bars(&first_quarter()).await.unwrap(), expected_of(&server), "{form:?}");
    }
}

/// A server with a row on each of `count` consecutive days up to 2024-01-31.
fn long_history(count: usize) -> TushareServer {
    let mut days: Vec<NaiveDate> = (0..count as u64).map(|back| day("2024-01-31") - Days::new(back)).collect();
    days.reverse();
    TushareServer::start(Dataset::generated(&[CODE.to_owned()], &days)).unwrap()
}

#[tokio::test]
async fn no_row_is_lost_or_doubled_at_the_borders_of_pages() {
    for (count, calls) in [(5_999, 1), (6_000, 2), (6_001, 2), (11_999, 3), (12_000, 3), (13_000, 3)] {
        let server = long_history(count);
        let bars = source(&server).bars(&request("1980-01-01", "2024-01-31")).await.unwrap();
        assert_eq!(bars.len(), count);
        assert!(bars == expected_of(&server), "{count} rows differ");
        assert_eq!(server.requests(), calls, "{count} rows");
    }
}

#[tokio::test]
async fn detects_endless_and_moving_pages() {
    let server = server();
    let source = source(&server);
    let row = |date: &str| format!(r#"["{CODE}","{date}",1,1,1,1,1,1,1]"#);
    let page = |rows: &[String]| {
        let fields = r#"["ts_code","trade_date","open","high","low","close","vol","amount","pre_close"]"#;
        let items = rows.join(",");
        format!(r#"{{"code":0,"data":{{"fields":{fields},"items":[{items}],"has_more":true}},"msg":null}}"#)
    };
    server.set_fault(Fault::Body(page(&[row("20240103"), row("20240102")])), FaultDuration::UntilCleared);
    let moved = source.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(&moved.kind, SourceErrorKind::Server(text) if text.contains("moved")), "{moved}");
    server.set_fault(Fault::Body(page(&[row("20240102")])), FaultDuration::UntilCleared);
    let endless = source.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(&endless.kind, SourceErrorKind::BadAnswer(text) if text.contains("has_more")), "{endless}");
}

#[tokio::test]
async fn changed_server_rows_show_in_next_answer() {
    let server = server();
    let source = source(&server);
    let before = source.bars(&first_quarter()).await.unwrap();
    server.append_day(day("2024-04-01"));
    let mut rows = server.rows(CODE);
    rows[0] = DailyRow::new(rows[0].date, ["1.005", "null", "\"8.85\"", "true", "1", "123456789012.34", "1e3"]);
    server.set_rows(CODE, rows);
    let after = source.bars(&request("2024-01-01", "2024-04-01")).await.unwrap();
    assert_eq!(after.len(), before.len() + 1);
    let changed = after.last().unwrap();
    assert_eq!(changed.open, Field::Value(Decimal::new(1005, 3)));
    assert_eq!(changed.high, Field::Missing);
    assert_eq!(changed.low, Field::Value(Decimal::new(885, 2)));
    assert_eq!(changed.close, Field::unreadable("true"));
    assert_eq!(changed.amount, Field::Value(Decimal::from(1_000)));
}

#[tokio::test]
async fn each_fault_of_the_server_has_its_kind() {
    use SourceErrorKind as Kind;
    let kind = |fault| async { error_under(fault).await.kind };
    assert!(matches!(kind(Fault::Down).await, Kind::Unreachable(_)));
    assert!(matches!(kind(Fault::Status(500, None)).await, Kind::Server(text) if text.contains("500")));
    assert!(matches!(kind(Fault::Status(502, None)).await, Kind::Server(_)));
    assert!(matches!(kind(Fault::Status(401, None)).await, Kind::Unauthorized(_)));
    assert!(matches!(kind(Fault::Status(403, None)).await, Kind::Forbidden(_)));
    assert!(matches!(kind(Fault::Status(404, None)).await, Kind::BadRequest(_)));
    assert!(matches!(kind(Fault::Html).await, Kind::BadAnswer(text) if text.contains("<html>")));
    let body = |text: &str| kind(Fault::Body(text.to_owned()));
    for text in ["", r#"{"code":0,"msg":null,"data":null}"#] {
        assert!(matches!(body(text).await, Kind::BadAnswer(_)), "{text}");
    }
    for text in ["Too Many Requests", "<html>请完成安全验证</html>"] {
        let limited = body(text).await;
        assert!(matches!(&limited, Kind::RateLimited { message, .. } if message.contains(text)), "{limited}");
    }
    assert!(matches!(kind(Fault::Truncated).await, Kind::BadAnswer(text) if text.contains("request_id")));
    let refused = |code, text: &str| kind(Fault::Refused(code, text.to_owned()));
    assert!(matches!(refused(40203, "抱歉，您没有接口访问权限").await, Kind::Forbidden(_)));
    assert!(matches!(refused(-2001, "必填参数").await, Kind::BadRequest(_)));
    let others = r#"{"code":0,"data":{"fields":["ts_code","trade_date","open","high","low","close","vol","amount","pre_close"],
        "items":[["000001.SZ","20240102",1,1,1,1,1,1,1]]}}"#;
    assert!(matches!(kind(Fault::Body(others.to_owned())).await, Kind::BadAnswer(text) if text.contains("000001.SZ")));
    assert!(error_under(Fault::Html).await.to_string().contains("127.0.0.1"));
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let server = server();
    let source = source(&server);
    drop(server);
    let error = source.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn silent_server_times_out_and_slow_one_answers() {
    let server = server();
    let impatient = TushareSection { timeout_ms: 200, ..section(server.url(), TOKEN) };
    let source = connect(&impatient);
    server.set_fault(Fault::Hang, FaultDuration::Next(1));
    let error = source.bars(&first_quarter()).await.unwrap_err();
    assert_eq!(error.kind, SourceErrorKind::Timeout(Duration::from_millis(200)));
    server.set_fault(Fault::Slow(Duration::from_millis(20)), FaultDuration::Next(1));
    assert_eq!(source.bars(&first_quarter()).await.unwrap().len(), 58);
}

#[tokio::test]
async fn wrong_token_is_reported_and_never_shown() {
    let server = server();
    let source = connect(&section(server.url(), "geheim-4711"));
    let error = source.bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::Unauthorized(text) if text.contains("40101")), "{error}");
    // A server that echoes the token.
    let echoes = [
        Fault::Body("<html>geheim-4711</html>".to_owned()),
        Fault::Refused(-1, "unknown: geheim-4711".to_owned()),
        Fault::Refused(40203, "geheim-4711: 每分钟最多访问".to_owned()),
    ];
    for echo in echoes {
        server.set_fault(echo, FaultDuration::Next(1));
        let error = source.bars(&first_quarter()).await.unwrap_err();
        for text in [error.to_string(), format!("{error:?}"), format!("{source:?}")] {
            assert!(!text.contains("geheim"), "{text}");
        }
    }
    assert!(!format!("{:?}", section(server.url(), "geheim-4711")).contains("geheim"));
    let without = TushareSection { token: None, ..section(server.url(), "") };
    for section in [without, section(server.url(), " ")] {
        let sources = SourcesSection { tushare: section, ..SourcesSection::default() };
        let error = ConfiguredSources::build(&sources, &QuotaState::default()).err().unwrap().to_string();
        assert!(error.contains("sources.tushare.token"), "{error}");
    }
}

fn window_of(error: &SourceError) -> Duration {
    match &error.kind {
        SourceErrorKind::RateLimited { retry_after, .. } => *retry_after,
        other => panic!("expected the rate limit, got {other}"),
    }
}

#[tokio::test]
async fn the_rate_limit_names_its_window_in_every_form() {
    let refused = |text: &str| error_under(Fault::Refused(40203, text.to_owned()));
    assert_eq!(window_of(&error_under(Fault::rate_limited()).await).as_secs(), 60);
    assert_eq!(window_of(&refused("抱歉，您每小时最多访问该接口20次").await).as_secs(), 3_600);
    assert_eq!(window_of(&refused("抱歉，您每天最多访问该接口5次").await).as_secs(), 86_400);
    assert_eq!(window_of(&error_under(Fault::Status(429, Some(7))).await).as_secs(), 7);
    assert_eq!(window_of(&error_under(Fault::Status(429, None)).await).as_secs(), 60);
}

#[tokio::test]
async fn sends_no_call_within_the_rate_limit_window() {
    let server = server();
    let source = Arc::new(source(&server));
    server.set_fault(Fault::rate_limited(), FaultDuration::Next(1));
    window_of(&source.bars(&first_quarter()).await.unwrap_err());
    let calls: Vec<_> = (0..32)
        .map(|_| {
            let source = Arc::clone(&source);
            tokio::spawn(async move { source.bars(&first_quarter()).await })
        })
        .collect();
    for call in calls {
        // The window of a minute exceeds the timeout of 20 s, so the calls fail instead of waiting.
        let error = call.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("not sent") && error.to_string().contains("500次"), "{error}");
        assert!(window_of(&error) > Duration::from_secs(50));
    }
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_short_window_is_waited_for() {
    let server = server();
    let source = source(&server);
    server.set_fault(Fault::Status(429, Some(1)), FaultDuration::Next(1));
    let before = Instant::now();
    window_of(&source.bars(&first_quarter()).await.unwrap_err());
    assert_eq!(source.bars(&first_quarter()).await.unwrap().len(), 58);
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert_eq!((server.requests(), server.rejected()), (2, 1));
}

#[tokio::test]
async fn the_servers_own_limit_is_met_and_counted() {
    let dataset = Dataset::generated(&codes(3), &quarter());
    let options = Options { limits: vec![InterfaceLimit::new("daily", Window::Minute, 3)], ..Options::default() };
    let server = TushareServer::start_with(dataset, options).unwrap();
    let source = source(&server);
    for _ in 0..3 {
        source.bars(&first_quarter()).await.unwrap();
    }
    let error = source.bars(&first_quarter()).await.unwrap_err();
    assert!(error.to_string().contains("每分钟最多访问该接口3次"), "{error}");
    assert_eq!((server.requests_of(CODE), server.rejected()), (4, 1));
}

/// The URL of a raw server as the vendor's client uses it.
fn raw_server(head: &'static str, chunk: Vec<u8>, count: usize) -> String {
    format!("{}/dataapi", kit::http_serving::raw_server(head, chunk, count))
}

#[tokio::test]
async fn broken_connection_is_unreachable() {
    let url = raw_server("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n", b"{\"code\":0".to_vec(), 1);
    let error = connect(&section(url, TOKEN)).bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Unreachable(_)), "{error:?}");
    let url = raw_server("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"3\r\nabc\r\n".to_vec(), 1);
    let error = connect(&section(url, TOKEN)).bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off() {
    let url = raw_server("HTTP/1.1 200 OK\r\n\r\n", vec![b' '; 1 << 20], 80);
    let error = connect(&section(url, TOKEN)).bars(&first_quarter()).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::BadAnswer(text) if text.contains("more than")), "{error:?}");
}

#[tokio::test]
async fn suspensions_are_listed_by_code_and_by_day() {
    let server = server();
    let other = &codes(3)[1];
    server.suspend(CODE, day("2024-01-04"), "");
    server.suspend(CODE, day("2024-01-05"), "09:30-10:00");
    server.suspend(other, day("2024-01-04"), "");
    let source = source(&server);
    let range = DateRange { start: day("2024-01-02"), end: day("2024-01-31") };
    let reported = source.suspensions(CODE.parse().unwrap(), range).await.unwrap();
    assert_eq!(reported, Some(vec![day("2024-01-04")]));
    let all = async |start, end| source.all_suspensions(DateRange { start: day(start), end: day(end) }).await.unwrap();
    let reported = all("2024-01-02", "2024-01-31").await.unwrap();
    let reported: Vec<String> = reported.iter().map(|(code, day)| format!("{code} {day}")).collect();
    assert_eq!(reported, [format!("{other} 2024-01-04"), format!("{CODE} 2024-01-04")]);
    let partial = all("2024-01-05", "2024-01-05").await;
    assert_eq!(partial, Some(vec![]), "a partial suspension and a resumption do not count");
}

#[tokio::test]
async fn forbidden_suspensions_are_asked_for_once() {
    let server = server();
    let source = source(&server);
    let one_day = DateRange { start: day("2024-01-04"), end: day("2024-01-04") };
    let ask = async || source.all_suspensions(one_day).await;
    // A rate limit on this interface does not block the others.
    server.set_fault(Fault::rate_limited(), FaultDuration::Next(1));
    assert!(matches!(ask().await.unwrap_err().kind, SourceErrorKind::RateLimited { .. }));
    assert_eq!(source.bars(&first_quarter()).await.unwrap().len(), 58);
    let of_another = connect(&section(server.url(), TOKEN));
    let ask = async || of_another.all_suspensions(one_day).await;
    server.set_fault(Fault::Refused(40203, "抱歉，您没有接口访问权限".to_owned()), FaultDuration::Next(1));
    let before = server.requests();
    for _ in 0..3 {
        assert_eq!(ask().await.unwrap(), None);
    }
    assert_eq!(server.requests() - before, 1);
}
