// Upstream: none
// Downstream: actors, data_worker, kit
// Role: Tests the Tushare adapter against a server that limits each interface by itself, as the vendor does.

use std::time::Duration;

use actors::domain::{DateRange, Frequency};
use actors::ports::{BarRequest, MarketSource, SourceError, SourceErrorKind};
use chrono::NaiveDate;
use data_worker::config::{SourcesSection, TushareSection};
use data_worker::sources::tushare::TushareSource;
use kit::tushare_server::{Dataset, InterfaceLimit, Options, TushareServer, Window, codes, trading_days};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn server(limits: &[(&'static str, Window, u32)]) -> TushareServer {
    let limits = limits.iter().map(|(name, window, calls)| InterfaceLimit::new(name, *window, *calls)).collect();
    let dataset = Dataset::generated(&codes(3), &trading_days(day("2024-01-01"), day("2024-01-31")));
    TushareServer::start_with(dataset, Options { limits, ..Options::default() }).unwrap()
}

fn source(server: &TushareServer) -> TushareSource {
    let token = Some(TushareServer::TOKEN.to_owned().into());
    let section = TushareSection { url: server.url(), token, timeout_ms: 20_000, ..TushareSection::default() };
    TushareSource::new(&section, section.limits(&SourcesSection::default())).unwrap()
}

fn january(frequency: Frequency) -> BarRequest {
    let range = DateRange { start: day("2024-01-01"), end: day("2024-01-31") };
    BarRequest { code: "600000.SH".parse().unwrap(), frequency, range }
}

/// The text and the wait of a refusal by a rate limit.
fn limited<T: std::fmt::Debug>(answer: Result<T, SourceError>) -> (String, Duration) {
    match answer.unwrap_err().kind {
        SourceErrorKind::RateLimited { message, retry_after } => (message, retry_after),
        other => panic!("expected the rate limit, got {other}"),
    }
}

#[tokio::test]
async fn one_interface_at_its_limit_spares_the_others() {
    let server =
        server(&[("stock_basic", Window::Hour, 1), ("stk_mins", Window::Day, 2), ("daily", Window::Minute, 9)]);
    let source = source(&server);
    source.stocks().await.unwrap();
    let (text, wait) = limited(source.stocks().await);
    assert!(text.contains("每小时最多访问该接口1次") && wait == HOUR, "{text} {wait:?}");
    for _ in 0..2 {
        assert!(!source.bars(&january(Frequency::Minute60)).await.unwrap().is_empty());
    }
    let (text, wait) = limited(source.bars(&january(Frequency::Minute60)).await);
    assert!(text.contains("每天最多访问该接口2次") && wait == DAY, "{text} {wait:?}");

    // Each of them is blocked with its own words, and nothing is sent.
    let (text, wait) = limited(source.stocks().await);
    assert!(text.contains("not sent") && text.contains("`stock_basic`") && text.contains("每小时"), "{text}");
    assert!(wait <= HOUR && wait > HOUR / 2, "{wait:?}");
    let (text, wait) = limited(source.bars(&january(Frequency::Minute60)).await);
    assert!(text.contains("not sent") && text.contains("`stk_mins`") && text.contains("每天"), "{text}");
    assert!(wait > DAY / 2, "{wait:?}");
    assert_eq!((server.requests_to("stock_basic"), server.requests_to("stk_mins")), (2, 3));

    // The others go on up to limits of their own.
    for _ in 0..9 {
        source.bars(&january(Frequency::Day)).await.unwrap();
    }
    let (text, wait) = limited(source.bars(&january(Frequency::Day)).await);
    assert!(text.contains("每分钟最多访问该接口9次") && wait.as_secs() == 60, "{text} {wait:?}");
    source.trade_days().await.unwrap();
    source.factors("600000.SH".parse().unwrap(), january(Frequency::Day).range).await.unwrap();
    assert_eq!(server.rejected(), 3);
}

#[tokio::test]
async fn configured_limit_counts_each_interface_by_itself() {
    let server = server(&[("daily", Window::Minute, 4), ("adj_factor", Window::Minute, 4)]);
    let section = TushareSection { requests_per_day: 4, ..TushareSection::default() };
    let token = Some(TushareServer::TOKEN.to_owned().into());
    let section = TushareSection { url: server.url(), token, ..section };
    let source = TushareSource::new(&section, section.limits(&SourcesSection::default())).unwrap();
    let request = january(Frequency::Day);
    for _ in 0..4 {
        source.bars(&request).await.unwrap();
        source.factors(request.code, request.range).await.unwrap();
    }
    let (text, _) = limited(source.factors(request.code, request.range).await);
    assert!(text.contains("`adj_factor`") && text.contains("limit of 4 requests"), "{text}");
    assert_eq!((server.requests(), server.rejected()), (8, 0));
}
