// Upstream: tdx_worker
// Downstream: actors, data_worker, kit
// Role: Tests the TDX adapter against servers that speak TDX's protocol.

use std::time::{Duration, Instant};

use actors::domain::{Code, DateRange, FetchedBar, FetchedTick, Field, Frequency, SourceId};
use actors::ports::{BarRequest, MarketSource, SourceError, SourceErrorKind};
use chrono::{NaiveDate, NaiveTime};
use data_worker::config::{SourcesSection, TdxSection};
use data_worker::sources::ConfiguredSources;
use data_worker::sources::shared::budget::QuotaState;
use data_worker::sources::tdx::TdxSource;
use kit::minute_rows::{MinuteRow, minute_rows};
use kit::tdx_server::{Fault, TdxServer, ticks};
use kit::tushare_data::{DailyRow, Dataset, codes, trading_days};
use rust_decimal::{Decimal, RoundingStrategy};

const CODE: &str = "600000.SH";

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn code() -> Code {
    CODE.parse().unwrap()
}

fn range(start: &str, end: &str) -> DateRange {
    DateRange { start: day(start), end: day(end) }
}

fn request(frequency: Frequency, range: DateRange) -> BarRequest {
    BarRequest { code: code(), frequency, range }
}

/// A server with data of the first quarter of 2024.
fn server() -> TdxServer {
    let days = trading_days(day("2024-01-01"), day("2024-03-31"));
    TdxServer::start(Dataset::generated(&codes(3), &days)).unwrap()
}

fn section(hosts: &[String]) -> TdxSection {
    TdxSection { hosts: hosts.to_vec(), timeout_ms: 20_000, requests_per_minute: 0, ..TdxSection::default() }
}

fn connect(section: &TdxSection) -> TdxSource {
    TdxSource::new(section, section.limits(&SourcesSection::default())).unwrap()
}

fn source(server: &TdxServer) -> TdxSource {
    connect(&section(&[server.address()]))
}

/// A number after single precision: a whole number above 2^24, else the shortest decimal of the float.
fn float(value: f64) -> Decimal {
    let float = value as f32;
    if float >= 16_777_216.0 {
        Decimal::try_from(f64::from(float)).unwrap()
    } else {
        float.to_string().parse().unwrap()
    }
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn value(number: Decimal) -> Field<Decimal> {
    Field::Value(number)
}

/// The daily bar that the adapter must return: whole lots, thousand yuan.
pub fn daily(row: &DailyRow) -> FetchedBar {
    let [open, high, low, close, _, volume, amount] = row.cells().map(decimal);
    let yuan = (amount * Decimal::ONE_THOUSAND).to_string().parse::<f64>().unwrap();
    FetchedBar {
        timestamp: Field::Value(row.date.and_time(NaiveTime::MIN)),
        open: value(open),
        high: value(high),
        low: value(low),
        close: value(close),
        volume: value(volume.trunc()),
        amount: value(float(yuan) / Decimal::ONE_THOUSAND),
    }
}

/// The minute bar that the adapter must return: shares become lots, yuan become thousand yuan.
fn minutes(row: &MinuteRow) -> FetchedBar {
    let price = |hundredths| value(Decimal::new(hundredths, 2));
    FetchedBar {
        timestamp: Field::Value(row.end),
        open: price(row.open),
        high: price(row.high()),
        low: price(row.low()),
        close: price(row.close),
        volume: value(float(row.shares as f64) / Decimal::ONE_HUNDRED),
        amount: value(float(row.amount() as f64 / 100.0) / Decimal::ONE_THOUSAND),
    }
}

fn rows_of(server: &TdxServer, range: DateRange) -> Vec<DailyRow> {
    server.rows(CODE).into_iter().filter(|row| range.contains(row.date)).collect()
}

#[tokio::test]
async fn daily_bars_come_with_the_values_the_server_has() {
    let server = server();
    let source = source(&server);
    let quarter = range("2024-01-01", "2024-03-31");
    let bars = source.bars(&request(Frequency::Day, quarter)).await.unwrap();
    assert_eq!(bars, rows_of(&server, quarter).iter().map(daily).collect::<Vec<_>>());
    assert_eq!(bars.len(), 58);
    let few = range("2024-01-03", "2024-01-05");
    let bars = source.bars(&request(Frequency::Day, few)).await.unwrap();
    assert_eq!(bars, rows_of(&server, few).iter().map(daily).collect::<Vec<_>>());
    assert_eq!(source.bars(&request(Frequency::Day, range("2024-02-10", "2024-02-17"))).await.unwrap(), []);
    assert_eq!(server.connections(), 1, "sequential requests share a connection");
    assert_eq!((source.name(), source.id()), ("tdx", SourceId::TDX));
    assert_eq!(source.probe().await.unwrap().facts, [format!("{} has 3 securities of Shanghai", server.address())]);
}

/// A row of a day without any trade, as the day file has it for a suspended security.
pub fn untraded(date: NaiveDate) -> DailyRow {
    DailyRow::new(date, ["0", "0", "0", "0", "0", "0", "0"])
}

#[tokio::test]
async fn untraded_days_of_the_day_file_are_suspensions() {
    let days = trading_days(day("2024-01-01"), day("2024-01-31"));
    let mut data = Dataset::generated(&codes(1), &days);
    let mut rows = data.rows(CODE).to_vec();
    (rows[2], rows[5]) = (untraded(days[2]), untraded(days[5]));
    data.set_rows(CODE, rows);
    let server = TdxServer::start(data).unwrap();
    let source = source(&server);
    let january = range("2024-01-01", "2024-01-31");
    let noted = source.noted_bars(&request(Frequency::Day, january)).await.unwrap();
    assert_eq!(noted.bars.len(), days.len() - 2);
    let mut suspended: Vec<NaiveDate> = noted.notes.iter().map(|note| note.day).collect();
    suspended.sort_unstable();
    assert!(noted.notes.iter().all(|note| note.is_suspended));
    assert_eq!(suspended, [days[2], days[5]]);
    let only = DateRange { start: days[5], end: days[6] };
    assert_eq!(source.suspensions(code(), only).await, Ok(Some(vec![days[5]])));
    let none = DateRange { start: days[6], end: days[7] };
    assert_eq!(source.suspensions(code(), none).await, Ok(Some(Vec::new())));
    assert!(!source.knows_all_suspensions(), "another source may know more");
}

#[tokio::test]
async fn minutes_of_every_frequency_are_exact_across_pages() {
    let server = server();
    let source = source(&server);
    let quarter = range("2024-01-02", "2024-03-29");
    for (frequency, step) in [
        (Frequency::Minute1, 1),
        (Frequency::Minute5, 5),
        (Frequency::Minute15, 15),
        (Frequency::Minute30, 30),
        (Frequency::Minute60, 60),
    ] {
        let bars = source.bars(&request(frequency, quarter)).await.unwrap();
        let rows = rows_of(&server, quarter);
        let expected: Vec<FetchedBar> =
            rows.iter().flat_map(|row| minute_rows(row, step, false)).map(|row| minutes(&row)).collect();
        assert_eq!(bars.len(), 58 * 240 / step, "{frequency}");
        assert!(bars == expected, "{frequency} bars differ");
    }
}

#[tokio::test]
async fn full_pages_of_800_are_exact() {
    for count in [799, 800, 801, 1_600] {
        let mut days = trading_days(day("2010-01-01"), day("2024-03-31"));
        days = days.split_off(days.len() - count);
        let server = TdxServer::start(Dataset::generated(&[CODE.to_owned()], &days)).unwrap();
        let bars = source(&server).bars(&request(Frequency::Day, range("1990-12-19", "2024-03-31"))).await.unwrap();
        assert!(bars == server.rows(CODE).iter().map(daily).collect::<Vec<_>>(), "{count} days differ");
    }
}

#[tokio::test]
async fn rejects_minutes_beyond_server_depth() {
    let server = server();
    server.set_minute_depth(48 * 10);
    let source = source(&server);
    let oldest = server.rows(CODE)[48].date;
    let error = source.bars(&request(Frequency::Minute5, range("2024-01-02", "2024-03-29"))).await.unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(error.kind, SourceErrorKind::BadRequest(_)) && text.contains(&format!("begin on {oldest}")),
        "{text}"
    );
    let error = source.bars(&request(Frequency::Minute5, range("2024-01-02", "2024-01-05"))).await.unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::BadRequest(_)), "{error}");
    let recent = DateRange { start: oldest, end: day("2024-03-29") };
    assert_eq!(source.bars(&request(Frequency::Minute5, recent)).await.unwrap().len(), 480);
    // A range that begins a day earlier succeeds only if that day is no trading day.
    let before = DateRange { start: oldest.pred_opt().unwrap(), ..recent };
    let is_monday = !server.rows(CODE).iter().any(|row| row.date == before.start);
    assert_eq!(source.bars(&request(Frequency::Minute5, before)).await.is_ok(), is_monday);
    // No minutes are missing before the security's first day.
    server.set_minute_depth(usize::MAX);
    let long = range("2020-01-01", "2024-03-29");
    assert_eq!(source.bars(&request(Frequency::Minute60, long)).await.unwrap().len(), 58 * 4);
    assert_eq!(source.bars(&request(Frequency::Minute60, range("2020-01-01", "2020-12-31"))).await.unwrap(), []);
}

/// The ticks that the adapter must return for a day.
fn expected_ticks(row: &DailyRow) -> Vec<FetchedTick> {
    let tick = |tick: kit::tdx_server::TickRow| {
        let minute = u32::from(tick.minute);
        FetchedTick {
            timestamp: Field::Value(row.date.and_hms_opt(minute / 60, minute % 60, 0).unwrap()),
            price: value(Decimal::new(tick.price, 2)),
            volume: value(Decimal::from(tick.lots)),
            direction: value(Decimal::from(tick.side)),
        }
    };
    ticks(row).into_iter().map(tick).collect()
}

#[tokio::test]
async fn trades_keep_order_across_pages() {
    let server = server();
    let source = source(&server);
    let row = &server.rows(CODE)[50];
    let ticks = source.ticks(code(), row.date).await.unwrap();
    assert_eq!(ticks.len(), 2_401);
    assert!(ticks == expected_ticks(row), "the trades differ");
    assert_eq!(server.requests(), [0x0fb5, 0x0fb5]);
    assert_eq!(source.ticks(code(), day("2024-03-23")).await.unwrap(), [], "a Saturday");
}

#[tokio::test]
async fn asks_for_todays_trades_only_on_trading_days() {
    let today = actors::domain::shanghai_clock::today();
    let yesterday = today.pred_opt().unwrap();
    let server = TdxServer::start(Dataset::generated(&codes(3), &[yesterday])).unwrap();
    let source = source(&server);
    assert_eq!(source.ticks(code(), today).await.unwrap(), [], "the newest trades are yesterday's");
    assert_eq!(source.ticks(code(), yesterday).await.unwrap().len(), 2_401);
    server.append_day(today);
    let ticks = source.ticks(code(), today).await.unwrap();
    assert!(ticks == expected_ticks(&server.rows(CODE)[1]), "the trades differ");
    assert!(server.requests().ends_with(&[0x052d, 0x0fc5, 0x0fc5]), "{:04x?}", server.requests());
}

#[tokio::test]
async fn factors_follow_events_and_previous_closes() {
    let server = server();
    let rows = server.rows(CODE);
    let source = source(&server);
    let (first, second) = (rows[10].date, rows[30].date);
    server.set_events(
        CODE,
        vec![
            (second, 1, [0.0, 4.5, 0.0, 2.5]),
            (first, 1, [3.0, 0.0, 5.0, 0.0]),
            (day("2024-02-20"), 5, [1e9, 1e9, 1e9, 1e9]),
            (day("1999-12-31"), 1, [1.0, 0.0, 0.0, 0.0]),
        ],
    );
    let close = |at: usize| decimal(rows[at].cells()[3]);
    let rounded = |price: Decimal| price.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero);
    let ten = Decimal::TEN;
    let after_first = close(9) / rounded((close(9) * ten - decimal("3")) / decimal("15"));
    let after_second = after_first * (close(29) / rounded((close(29) * ten + decimal("11.25")) / decimal("12.5")));
    let factors = source.factors(code(), range("2024-01-01", "2024-03-31")).await.unwrap();
    assert_eq!(factors.len(), 58, "one factor per trading day, as Tushare returns them");
    for (at, factor) in factors.iter().enumerate() {
        assert_eq!(factor.timestamp, Field::Value(rows[at].date.and_time(NaiveTime::MIN)));
        let expected = if at < 10 {
            Decimal::ONE
        } else if at < 30 {
            after_first
        } else {
            after_second
        };
        assert_eq!(factor.factor, value(expected), "{}", rows[at].date);
    }
    let one = source.factors(code(), range("2024-03-29", "2024-03-29")).await.unwrap();
    assert_eq!(one, factors[57..], "an increment continues the series");
    let without = source.factors("000001.SZ".parse().unwrap(), range("2024-03-29", "2024-03-29")).await.unwrap();
    assert_eq!(without[0].factor, value(Decimal::ONE));
}

#[tokio::test]
async fn stock_list_has_names_of_both_markets() {
    // More than a page of Shanghai codes, and Beijing codes, which the servers do not list.
    let codes = codes(4_400);
    let server = TdxServer::start(Dataset::generated(&codes, &[day("2024-03-29")])).unwrap();
    let stocks = source(&server).stocks().await.unwrap();
    let mut listed: Vec<String> = codes.iter().filter(|code| !code.ends_with("BJ")).cloned().collect();
    listed.sort();
    let mut found: Vec<String> = stocks
        .iter()
        .map(|stock| match (&stock.code, &stock.name) {
            (Field::Value(code), Field::Value(name)) if *name == format!("股{}", &code[..6]) => code.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    found.sort();
    assert_eq!(found, listed);
}

async fn error_under(fault: Fault) -> SourceError {
    let server = server();
    server.set_fault(Some(fault));
    let patient = TdxSection { timeout_ms: 3_000, ..section(&[server.address()]) };
    let error = connect(&patient).bars(&request(Frequency::Day, range("2024-01-01", "2024-03-31"))).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("source tdx: 1d bars of 600000.SH 2024-01-01..2024-03-31"), "{text}");
    error
}

#[tokio::test]
async fn server_faults_have_kinds_and_name_the_server() {
    for fault in [Fault::Down, Fault::Close, Fault::Half] {
        let error = error_under(fault).await;
        let text = error.to_string();
        assert!(
            matches!(error.kind, SourceErrorKind::Unreachable(_)) && text.contains("127.0.0.1:"),
            "{fault:?}: {text}"
        );
    }
    for (fault, part) in [
        (Fault::Html, "no answer of TDX's protocol"),
        (Fault::WrongId, "it answers request 151587081"),
        (Fault::WrongKind, "of kind 0x0777"),
        (Fault::CutBody, "the answer ends at byte"),
        (Fault::NoBody, "the answer ends at byte 0"),
        (Fault::Count(0xffff), "65535 records are announced"),
        (Fault::Count(59), "the answer ends at byte"),
        (Fault::Bomb, "more bytes, but 1000 were announced"),
        (Fault::BrokenZip, "cannot be read"),
    ] {
        let error = error_under(fault).await;
        let text = error.to_string();
        assert!(matches!(error.kind, SourceErrorKind::BadAnswer(_)) && text.contains(part), "{fault:?}: {text}");
        assert!(text.contains("127.0.0.1:"), "{text}");
    }
}

#[tokio::test]
async fn a_silent_server_is_left_after_the_timeout() {
    let server = server();
    let impatient = TdxSection { timeout_ms: 300, ..section(&[server.address()]) };
    let source = connect(&impatient);
    let quarter = request(Frequency::Day, range("2024-01-01", "2024-03-31"));
    for fault in [Fault::Hang, Fault::NoGreeting] {
        server.set_fault(Some(fault));
        let begun = Instant::now();
        let error = source.bars(&quarter).await.unwrap_err();
        assert!(error.kind.is_transient() && begun.elapsed() < Duration::from_secs(5), "{fault:?}: {error}");
    }
    server.set_fault(None);
    assert_eq!(source.bars(&quarter).await.unwrap().len(), 58);
}

#[tokio::test]
async fn pages_that_repeat_or_come_twice_are_found_out() {
    let days = trading_days(day("2018-01-01"), day("2024-03-31"));
    let server = TdxServer::start(Dataset::generated(&[CODE.to_owned()], &days)).unwrap();
    let source = source(&server);
    let long = request(Frequency::Day, range("2018-01-01", "2024-03-31"));
    server.set_fault(Some(Fault::SamePage));
    let error = source.bars(&long).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::BadAnswer(text) if text.contains("no older ones")), "{error}");
    // A surplus answer is never taken for the answer to another request.
    server.set_fault(Some(Fault::Twice));
    let before = server.connections();
    let outcome = source.bars(&long).await;
    assert!(
        outcome.as_ref().is_err_and(|error| error.to_string().contains("it answers request"))
            || outcome.as_ref().is_ok_and(|bars| bars.len() == days.len()),
        "{outcome:?}"
    );
    server.set_fault(None);
    assert_eq!(source.bars(&long).await.unwrap().len(), days.len());
    assert!(server.connections() > before, "a connection with a surplus answer is not reused");
}

#[tokio::test]
async fn the_next_server_takes_over_and_keeps_the_work() {
    let (broken, good) = (server(), server());
    broken.set_fault(Some(Fault::Down));
    let closed = "127.0.0.1:1".to_owned();
    let source = connect(&section(&[closed, broken.address(), good.address()]));
    let quarter = request(Frequency::Day, range("2024-01-01", "2024-03-31"));
    for _ in 0..3 {
        assert_eq!(source.bars(&quarter).await.unwrap().len(), 58);
    }
    assert_eq!((broken.connections(), good.connections()), (1, 1), "the failed server is not used again");
    good.set_fault(Some(Fault::Close));
    broken.set_fault(None);
    source.bars(&quarter).await.unwrap_err();
    assert_eq!(source.bars(&quarter).await.unwrap().len(), 58, "after the last server the first one is used again");
}

#[tokio::test]
async fn opens_no_more_connections_than_allowed() {
    let server = server();
    let few = TdxSection { max_concurrent: 3, ..section(&[server.address()]) };
    let source = std::sync::Arc::new(connect(&few));
    let calls: Vec<_> = (0..30)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { source.bars(&request(Frequency::Day, range("2024-01-01", "2024-03-31"))).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().len(), 58);
    }
    assert!((1..=3).contains(&server.connections()), "{} connections", server.connections());
}

#[tokio::test]
async fn rejects_unsupported_tdx_requests_without_sending() {
    let server = server();
    let source = source(&server);
    let beijing =
        BarRequest { code: "430047.BJ".parse().unwrap(), ..request(Frequency::Day, range("2024-01-01", "2024-03-31")) };
    let error = source.bars(&beijing).await.unwrap_err();
    assert!(matches!(&error.kind, SourceErrorKind::NotCovered(text) if text.contains("430047.BJ is of BJ")), "{error}");
    assert!(matches!(source.trade_days().await.unwrap_err().kind, SourceErrorKind::NotOffered(_)));
    assert_eq!(server.connections(), 0);
    for hosts in
        [vec![], vec!["host".to_owned()], vec![":7709".to_owned()], vec!["a:7709".to_owned(), "b:0".to_owned()]]
    {
        let tdx = TdxSection { hosts, ..TdxSection::default() };
        let sources =
            SourcesSection { bars: vec![data_worker::config::SourceName::Tdx], tdx, ..SourcesSection::default() };
        let error = ConfiguredSources::build(&sources, &QuotaState::default()).err().unwrap().to_string();
        assert!(error.contains("sources.tdx.hosts"), "{error}");
    }
}
