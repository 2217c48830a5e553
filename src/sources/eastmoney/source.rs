// Upstream: eastmoney, sources, tests::it
// Downstream: many
// Role: EastMoney as a source: pages, reach of minute bars, throttling and the rate limiter.

use std::fmt;
use std::time::Duration;

use actors::domain::{Code, DateRange, FetchedBar, FetchedStock, Field, Frequency, SourceId};
use actors::ports::{
    Abilities, BarRequest, DataKind, InterfaceFigures, MarketSource, NotedBars, SourceError, SourceErrorKind,
};
use async_trait::async_trait;
use chrono::NaiveDate;

use super::answer::AnswerError;
use super::clist;
use super::klines::{Klines, Query};
use super::opens;
use crate::adapters::probe::Answer;
use crate::config::EastMoneySection;
use crate::sources::SourceSetupError;
use crate::sources::shared::budget::Budget;
use crate::sources::shared::http::{HttpClient, HttpSettings};
use crate::sources::shared::rate_limiter::RateLimiter;
use crate::sources::shared::reach;

/// The name in configuration, logs and reports.
const NAME: &str = "eastmoney";
/// The request of a probe: a bank listed since 1991, on a trading day.
const PROBED_CODE: &str = "000001.SZ";
const PROBED_DAY: &str = "2024-01-02";
/// Maximum number of pages, to stop a server that sends pages without end. 5,800 shares have 58 pages.
const MAX_PAGES: u32 = 500;
/// The wait after the vendor throttles by closing the connection. How long it keeps throttling is not known.
const THROTTLING_WAIT: Duration = Duration::from_secs(60);

/// EastMoney as a source.
pub struct EastMoneySource {
    bars: HttpClient,
    list: HttpClient,
    limiter: RateLimiter,
    open_from_close: bool,
}

impl EastMoneySource {
    /// Creates the source without connecting. Fails if a URL is invalid.
    pub fn new(section: &EastMoneySection, budget: impl Into<Budget>) -> Result<Self, SourceSetupError> {
        let client = |url| {
            HttpClient::new(HttpSettings {
                section: NAME,
                url,
                timeout_ms: section.timeout_ms,
                user_agent: concat!("ginkgo-data-worker/", env!("CARGO_PKG_VERSION")),
                secret: None,
            })
        };
        let (bars, list) = (client(&section.url)?, client(&section.list_url)?);
        Ok(Self { bars, list, limiter: RateLimiter::new(budget), open_from_close: section.open_from_close })
    }

    /// Probes the vendor with the smallest call: one code on one day.
    pub async fn probe(&self) -> Result<Answer, SourceErrorKind> {
        let (code, day) = (PROBED_CODE.parse::<Code>(), PROBED_DAY.parse());
        let (Ok(code), Ok(day)) = (code, day) else {
            return Err(SourceErrorKind::BadRequest(format!("{PROBED_CODE} on {PROBED_DAY}")));
        };
        let call = Klines { code, frequency: Frequency::Day, range: DateRange { start: day, end: day } };
        match self.klines(&call).await {
            Ok(_) => Ok(Answer::of("it answers")),
            Err(SourceErrorKind::RateLimited { message, .. }) => {
                Ok(Answer::of(format!("it is reachable, but {message}")))
            }
            Err(kind) => Err(kind),
        }
    }

    /// Sends one call. It waits for a block of the rate limiter, then for the answer, each at most `timeout_ms`.
    async fn get<T>(
        &self,
        client: &HttpClient,
        path: &str,
        query: Query,
        parse: impl Fn(&str) -> Result<T, AnswerError>,
    ) -> Result<T, SourceErrorKind> {
        let mut url = client.base().clone();
        url.set_path(&format!("{}/{path}", client.base().path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(query);
        let request = async || {
            let body = match client.get(url.clone()).await {
                // An idle connection may have been closed meanwhile. A retry on a new connection shows whether it was
                // throttling.
                Err(kind) if is_throttling(&kind) => client.get(url).await.map_err(as_rate_limit)?,
                outcome => outcome?,
            };
            parse(&body).map_err(|error| match error {
                AnswerError::Nothing(_) => SourceErrorKind::BadRequest(error.to_string()),
                AnswerError::Unreadable(reason) => SourceErrorKind::BadAnswer(reason),
            })
        };
        self.limiter.pass(client.timeout(), request).await
    }

    async fn klines(&self, call: &Klines) -> Result<Vec<FetchedBar>, SourceErrorKind> {
        self.get(&self.bars, call.path(), call.query(), |body| call.parse(body)).await
    }

    async fn bars_of(&self, request: &BarRequest) -> Result<NotedBars, SourceErrorKind> {
        let BarRequest { code, frequency, range } = *request;
        let mut bars = self.klines(&Klines { code, frequency, range }).await?;
        let oldest = bars.iter().filter_map(day_of).min();
        if frequency != Frequency::Day
            && let Some(before) = reach::days_before(oldest, range)
            && !self.klines(&Klines { code, frequency: Frequency::Day, range: before }).await?.is_empty()
        {
            return Err(reach::too_far_back(request, oldest));
        }
        bars.retain(|bar| day_of(bar).is_none_or(|day| range.contains(day)));
        let not_offered = match frequency {
            Frequency::Minute1 => opens::complete(&mut bars, self.open_from_close),
            _ => Vec::new(),
        };
        Ok(NotedBars { bars, not_offered, ..NotedBars::default() })
    }

    async fn all_stocks(&self) -> Result<Vec<FetchedStock>, SourceErrorKind> {
        let mut stocks = Vec::new();
        for page in 1..=MAX_PAGES {
            let clist::Page { total, rows } =
                self.get(&self.list, clist::CLIST, clist::query(page), clist::parse).await?;
            let is_empty = rows.is_empty();
            stocks.extend(rows);
            if stocks.len() >= total {
                return Ok(stocks);
            }
            if is_empty {
                let text =
                    format!("page {page} is empty, but the list has only {} of {total} securities", stocks.len());
                return Err(SourceErrorKind::BadAnswer(text));
            }
        }
        Err(SourceErrorKind::BadAnswer(format!("no end after {} securities in {MAX_PAGES} pages", stocks.len())))
    }
}

/// Whether the vendor throttles: it closes the connection to frequent callers without an answer.
fn is_throttling(kind: &SourceErrorKind) -> bool {
    let closed_connection = ["connection closed before message completed", "onnection reset by peer"];
    matches!(kind, SourceErrorKind::Unreachable(text) if closed_connection.iter().any(|words| text.contains(words)))
}

fn as_rate_limit(kind: SourceErrorKind) -> SourceErrorKind {
    if !is_throttling(&kind) {
        return kind;
    }
    let message =
        format!("the vendor closed the connection without an answer, as it does to frequent callers ({kind})");
    SourceErrorKind::RateLimited { message, retry_after: THROTTLING_WAIT }
}

fn day_of(bar: &FetchedBar) -> Option<NaiveDate> {
    match bar.timestamp {
        Field::Value(time) => Some(time.date()),
        _ => None,
    }
}

#[async_trait]
impl MarketSource for EastMoneySource {
    fn name(&self) -> &'static str {
        NAME
    }

    /// Ginkgo has no number for EastMoney.
    fn id(&self) -> SourceId {
        SourceId::OTHER
    }

    fn interface_figures(&self) -> Vec<InterfaceFigures> {
        self.limiter.figures()
    }

    fn retire(&self) {
        self.limiter.retire();
    }

    fn abilities(&self, _kind: DataKind) -> Abilities {
        Abilities { calls_per_minute: self.limiter.calls_per_minute(), ..Abilities::default() }
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        Ok(self.noted_bars(request).await?.bars)
    }

    async fn noted_bars(&self, request: &BarRequest) -> Result<NotedBars, SourceError> {
        let BarRequest { code, frequency, range } = request;
        self.bars_of(request).await.map_err(|kind| SourceError {
            source_name: NAME,
            request: format!("{frequency} bars of {code} {range} at {}", self.bars.base()),
            kind,
        })
    }

    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        self.all_stocks().await.map_err(|kind| SourceError {
            source_name: NAME,
            request: format!("list of securities at {}", self.list.base()),
            kind,
        })
    }
}

impl fmt::Debug for EastMoneySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EastMoneySource({})", self.bars.base())
    }
}
