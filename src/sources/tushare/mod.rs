// Upstream: sources, tests::it::sources_tushare
// Downstream: actors::domain::bar, actors::domain::code, actors::domain::task, actors::ports, config::sections, probe, sources, sources::tushare::answer, sources::tushare::error_text, sources::tushare::rate_gate, sources::tushare::transport
// Role: Daily bars from Tushare Pro: pages, the gate before the vendor's limit, errors.

//! Tushare Pro's interface `daily`: unadjusted daily bars, newest first, at most 6000 rows an answer (Tushare
//! documentation). Its units are Ginkgo's: lots of 100 shares and thousand yuan.

/// The answer's reader.
pub mod answer;
#[cfg(test)]
mod answer_tests;
/// The meaning of business codes and texts.
pub mod error_text;
/// Keeps calls back after a rate-limited answer.
pub mod rate_gate;
/// HTTP.
mod transport;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::{Code, DateRange, FetchedBar, Frequency, SourceId};
use actors::ports::{BarRequest, MarketSource, SourceError, SourceErrorKind};
use async_trait::async_trait;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

use self::answer::{AnswerError, Page};
use self::rate_gate::RateGate;
use self::transport::Transport;
use crate::config::TushareSection;
use crate::probe::Answer;
use crate::sources::SourceSetupError;

/// The name in configuration, logs and reports.
const NAME: &str = "tushare";
/// The interface for daily bars.
const DAILY: &str = "daily";
/// The most rows of one answer (Tushare documentation).
const PAGE_ROWS: usize = 6_000;
/// What a probe asks for: a bank listed since 1991, on a trading day.
const PROBED_CODE: &str = "000001.SZ";
const PROBED_DAY: &str = "2024-01-02";
/// Far beyond one security's history (an answer holds 24 years of days): a server that never ends is cut off here.
const MAX_PAGES: usize = 32;

/// Tushare Pro as a source of daily bars.
pub struct TushareSource {
    transport: Transport,
    token: SecretString,
    timeout: Duration,
    gate: RateGate,
}

#[derive(Serialize)]
struct Call<'a> {
    api_name: &'static str,
    token: &'a str,
    params: DailyParams<'a>,
    fields: String,
}

#[derive(Serialize)]
struct DailyParams<'a> {
    ts_code: &'a str,
    start_date: String,
    end_date: String,
    offset: usize,
    limit: usize,
}

impl TushareSource {
    /// A source that has not connected yet. Fails where the address or the token cannot work.
    pub fn new(section: &TushareSection) -> Result<Self, SourceSetupError> {
        let token = section.token.as_ref().map(|token| token.expose_secret().trim()).filter(|token| !token.is_empty());
        let token = SecretString::from(token.ok_or(SourceSetupError::TokenMissing)?);
        let timeout = Duration::from_millis(section.timeout_ms);
        if timeout.is_zero() {
            return Err(SourceSetupError::TimeoutZero);
        }
        let transport = Transport::new(&section.url, timeout, token.clone())?;
        Ok(Self { transport, token, timeout, gate: RateGate::default() })
    }

    /// Tries the vendor and the token with the smallest call there is: one code on one day.
    pub async fn probe(&self) -> Result<Answer, SourceErrorKind> {
        let (code, day) = (PROBED_CODE.parse::<Code>(), PROBED_DAY.parse());
        let (Ok(code), Ok(day)) = (code, day) else {
            return Err(SourceErrorKind::BadRequest(format!("{PROBED_CODE} on {PROBED_DAY}")));
        };
        let request = BarRequest { code, frequency: Frequency::Day, range: DateRange { start: day, end: day } };
        match self.page(&request, 0).await {
            Ok(_) => Ok(Answer::of("the token is accepted")),
            Err(SourceErrorKind::RateLimited { message, .. }) => {
                Ok(Answer::of(format!("the token is accepted, but the rate limit is reached: {message}")))
            }
            Err(kind) => Err(kind),
        }
    }

    /// One answer. Waits at the gate for as long as for an answer at most, then for the answer.
    async fn page(&self, request: &BarRequest, offset: usize) -> Result<Page, SourceErrorKind> {
        self.gate.pass(self.timeout).await?;
        let outcome = match self.transport.post(DAILY, self.call(request, offset)?).await {
            Ok(body) => answer::parse(&body, request.code).map_err(|error| match error {
                AnswerError::Refused { code, message } => error_text::classify(code, &message),
                AnswerError::Unreadable(reason) => SourceErrorKind::BadAnswer(reason),
            }),
            Err(kind) => Err(kind),
        };
        if let Err(SourceErrorKind::RateLimited { message, retry_after }) = &outcome {
            self.gate.close(message, *retry_after);
        }
        outcome
    }

    fn call(&self, request: &BarRequest, offset: usize) -> Result<Vec<u8>, SourceErrorKind> {
        let call = Call {
            api_name: DAILY,
            token: self.token.expose_secret(),
            params: DailyParams {
                ts_code: request.code.as_str(),
                start_date: request.range.start.format("%Y%m%d").to_string(),
                end_date: request.range.end.format("%Y%m%d").to_string(),
                offset,
                limit: PAGE_ROWS,
            },
            fields: answer::COLUMNS.join(","),
        };
        serde_json::to_vec(&call).map_err(|error| SourceErrorKind::BadRequest(error.to_string()))
    }

    async fn all_pages(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceErrorKind> {
        let mut bars = Vec::new();
        for _ in 0..MAX_PAGES {
            // Each page begins with the last row of the one before: see `append`.
            let page = self.page(request, bars.len().saturating_sub(1)).await?;
            let num_before = bars.len();
            // Whether a full page says so itself is not promised: it is asked about.
            let may_have_more = page.has_more || page.bars.len() == PAGE_ROWS;
            append(&mut bars, page.bars)?;
            if !may_have_more {
                return Ok(bars);
            }
            if bars.len() == num_before {
                return if page.has_more { Err(promised_nothing(num_before)) } else { Ok(bars) };
            }
        }
        Err(SourceErrorKind::BadAnswer(format!("{} rows in {MAX_PAGES} answers and no end", bars.len())))
    }
}

/// Adds a page that begins with the last row of the one before. Another first row means that rows came or went
/// meanwhile: going on would lose a row or take one twice.
fn append(bars: &mut Vec<FetchedBar>, page: Vec<FetchedBar>) -> Result<(), SourceErrorKind> {
    let mut page = page.into_iter();
    if let Some(last) = bars.last()
        && page.next().as_ref() != Some(last)
    {
        let text = format!("the rows moved between two pages, at row {}; all of them are needed again", bars.len());
        return Err(SourceErrorKind::Server(text));
    }
    bars.extend(page);
    Ok(())
}

fn promised_nothing(num_rows: usize) -> SourceErrorKind {
    SourceErrorKind::BadAnswer(format!("has_more is true after {num_rows} rows, but the next page has none"))
}

#[async_trait]
impl MarketSource for TushareSource {
    fn in_force(self: Arc<Self>) -> Arc<dyn MarketSource> {
        self
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> SourceId {
        SourceId::TUSHARE
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        match request.frequency {
            Frequency::Day => {}
        }
        self.all_pages(request).await.map_err(|kind| SourceError {
            source_name: NAME,
            request: format!("{DAILY} {} {} at {}", request.code, request.range, self.transport.address()),
            kind,
        })
    }
}

impl fmt::Debug for TushareSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TushareSource({})", self.transport.address())
    }
}
