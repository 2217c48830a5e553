// Upstream: sources, tests::it, yahoo
// Downstream: many
// Role: Yahoo Finance as a source: the chart interface and the rate limiter.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use actors::domain::{Code, FetchedBar, Frequency, SourceId, shanghai_clock};
use actors::ports::{Abilities, BarRequest, DataKind, InterfaceFigures, MarketSource, SourceError, SourceErrorKind};
use async_trait::async_trait;
use reqwest::Url;

use super::chart::{Chart, ChartError};
use super::{candles, chart, window};
use crate::adapters::probe::Answer;
use crate::config::YahooSection;
use crate::sources::SourceSetupError;
use crate::sources::shared::budget::Budget;
use crate::sources::shared::http::{HttpClient, HttpSettings};
use crate::sources::shared::rate_limiter::RateLimiter;
use crate::sources::shared::throttling::is_throttling_text;

/// The name in configuration, logs and reports.
const NAME: &str = "yahoo";

/// Ginkgo's number of Yahoo. It reports no amounts, and its prices are computed back from split-adjusted ones.
const ID: SourceId = SourceId::new(6).without_amounts().without_exact_prices();
/// The request of a probe: a bank listed since 1991, on a trading day (2024-01-02 in Shanghai).
const PROBED_SYMBOL: &str = "000001.SZ";
const PROBED_PERIOD: Range<i64> = 1_704_124_800..1_704_211_200;

/// The wait after a refusal in an answer with status 200, which names no time.
const THROTTLING_WAIT: Duration = Duration::from_secs(60);

/// Yahoo Finance as a source.
pub struct YahooSource {
    http: HttpClient,
    limiter: RateLimiter,
}

impl YahooSource {
    /// Creates the source without connecting. Fails if the URL is invalid.
    pub fn new(section: &YahooSection, budget: impl Into<Budget>) -> Result<Self, SourceSetupError> {
        let YahooSection { url, user_agent, timeout_ms, .. } = section;
        let http =
            HttpClient::new(HttpSettings { section: NAME, url, timeout_ms: *timeout_ms, user_agent, secret: None })?;
        Ok(Self { http, limiter: RateLimiter::new(budget) })
    }

    /// Probes the vendor with the smallest request: one code on one day.
    pub async fn probe(&self) -> Result<Answer, SourceErrorKind> {
        self.chart(PROBED_SYMBOL, Frequency::Day, PROBED_PERIOD).await.map(|_| Answer::of("it answers"))
    }

    async fn chart(&self, symbol: &str, frequency: Frequency, period: Range<i64>) -> Result<Chart, SourceErrorKind> {
        let interval = window::interval(frequency);
        let url = self.url_of(symbol, interval, &period);
        let request = async || {
            let body = self.http.get(url).await?;
            chart::parse(&body, symbol, interval).map_err(|error| match error {
                ChartError::Refused(message) if is_throttling_text(&message) => {
                    SourceErrorKind::RateLimited { message, retry_after: THROTTLING_WAIT }
                }
                ChartError::Refused(text) => SourceErrorKind::BadRequest(text),
                ChartError::Unreadable(reason) => SourceErrorKind::BadAnswer(reason),
            })
        };
        self.limiter.pass(self.http.timeout(), request).await
    }

    fn url_of(&self, symbol: &str, interval: &str, period: &Range<i64>) -> Url {
        let mut url = self.http.base().clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["v8", "finance", "chart", symbol]);
        }
        url.query_pairs_mut()
            .append_pair("period1", &period.start.to_string())
            .append_pair("period2", &period.end.to_string())
            .append_pair("interval", interval)
            .append_pair("includePrePost", "false")
            .append_pair("events", "div,splits");
        url
    }

    async fn fetch(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceErrorKind> {
        let BarRequest { code, frequency, range } = *request;
        let symbol = symbol(code)?;
        let mut charts = Vec::new();
        for period in window::periods(frequency, range, shanghai_clock::today())? {
            charts.push(self.chart(&symbol, frequency, period).await?);
        }
        candles::bars(&charts, frequency, range)
    }
}

/// The code in Yahoo's format: `600000.SS`.
fn symbol(code: Code) -> Result<String, SourceErrorKind> {
    match code.exchange() {
        "SH" => Ok(format!("{}.SS", code.digits())),
        "SZ" => Ok(format!("{}.SZ", code.digits())),
        other => Err(SourceErrorKind::NotCovered(format!("Yahoo has no securities of the exchange {other}"))),
    }
}

#[async_trait]
impl MarketSource for YahooSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> SourceId {
        ID
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
        let BarRequest { code, frequency, range } = request;
        self.fetch(request).await.map_err(|kind| SourceError {
            source_name: NAME,
            request: format!("chart {code} {frequency} {range} at {}", self.http.base()),
            kind,
        })
    }
}

impl fmt::Debug for YahooSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "YahooSource({})", self.http.base())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shanghai_is_ss_and_beijing_is_unknown() {
        let of = |text: &str| symbol(text.parse().unwrap());
        assert_eq!(of("600000.SH"), Ok("600000.SS".to_owned()));
        assert_eq!(of("000001.SZ"), Ok("000001.SZ".to_owned()));
        assert!(of("920001.BJ").unwrap_err().to_string().contains("BJ"));
    }
}
