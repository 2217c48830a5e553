// Upstream: sources, tests::it, tushare
// Downstream: many
// Role: Tushare Pro as a source: pages, rate limiters, errors.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actors::domain::reference_list::FetchedFormer;
use actors::domain::{Code, DateRange, FetchedBar, FetchedFactor, FetchedStock, FetchedTradeDay, SourceId};
use actors::ports::{
    Abilities, BarRequest, DataKind, InterfaceFigures, MarketSource, NotedBars, NotedBarsByCode, SourceError,
    SourceErrorKind,
};
use async_trait::async_trait;
use chrono::NaiveDate;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};

use super::adj_factor::{AdjFactor, AdjFactorOfAll};
use super::daily::{Daily, DailyOfAll};
use super::error_text;
use super::interface::Interface;
use super::stk_mins::StkMins;
use super::stock_basic::{FormerStockBasic, StockBasic};
use super::suspend_d::SuspendD;
use super::table::{AnswerError, Page};
use super::trade_cal::TradeCal;
use super::transport::Transport;
use crate::adapters::probe::Answer;
use crate::config::TushareSection;
use crate::sources::SourceSetupError;
use crate::sources::shared::budget::Budget;
use crate::sources::shared::rate_limiter::RateLimiter;

/// The name in configuration, logs and reports.
const NAME: &str = "tushare";
/// The request of a probe: a bank listed since 1991, on a trading day.
const PROBED_CODE: &str = "000001.SZ";
const PROBED_DAY: &str = "2024-01-02";
/// Maximum number of pages, to stop a server that sends pages without end. One page holds 24 years of a security's
/// days.
const MAX_PAGES: usize = 32;

/// Maximum number of securities in the parameter `ts_code`: a list of 1,000 characters. The vendor documents no limit.
const CODES_PER_CALL: usize = 100;

/// Tushare Pro as a source.
pub struct TushareSource {
    transport: Transport,
    token: SecretString,
    timeout: Duration,
    /// Tushare counts each interface separately.
    limiter: RateLimiter,
    /// Whether the account may not query suspensions. This is logged once and not tried again before a reload.
    no_suspensions: AtomicBool,
}

#[derive(Serialize)]
struct Call<'a> {
    api_name: &'static str,
    token: &'a str,
    params: Map<String, Value>,
    fields: String,
}

impl TushareSource {
    /// Creates the source without connecting. Fails if the URL or the token is invalid.
    pub fn new(section: &TushareSection, budget: impl Into<Budget>) -> Result<Self, SourceSetupError> {
        let token = section.token.as_ref().map(|token| token.expose_secret().trim()).filter(|token| !token.is_empty());
        let token = SecretString::from(token.ok_or(SourceSetupError::TokenMissing)?);
        let timeout = Duration::from_millis(section.timeout_ms);
        let transport = Transport::new(&section.url, section.timeout_ms, token.clone())?;
        let limiter = RateLimiter::new(budget);
        Ok(Self { transport, token, timeout, limiter, no_suspensions: AtomicBool::new(false) })
    }

    /// Probes the vendor and the token with the smallest call: one code on one day.
    pub async fn probe(&self) -> Result<Answer, SourceErrorKind> {
        let (code, day) = (PROBED_CODE.parse::<Code>(), PROBED_DAY.parse());
        let (Ok(code), Ok(day)) = (code, day) else {
            return Err(SourceErrorKind::BadRequest(format!("{PROBED_CODE} on {PROBED_DAY}")));
        };
        let call = Daily { codes: &[code], range: DateRange { start: day, end: day } };
        match self.page(&call, 0).await {
            Ok(_) => Ok(Answer::of("the token is accepted")),
            Err(SourceErrorKind::RateLimited { message, .. }) => {
                Ok(Answer::of(format!("the token is accepted, but the rate limit is reached: {message}")))
            }
            Err(kind) => Err(kind),
        }
    }

    /// Sends one call. It waits for a block of the rate limiter for at most the timeout of an answer, then for the
    /// answer. A call of an optional interface does not wait for a block.
    async fn page<I: Interface>(&self, call: &I, offset: usize) -> Result<Page<I::Row>, SourceErrorKind> {
        let body = self.body(call, offset)?;
        let request = async || {
            let answer = self.transport.post(I::NAME, body).await?;
            call.parse(&answer).map_err(|error| match error {
                AnswerError::Refused { code, message } => error_text::classify(code, &message),
                AnswerError::Unreadable(reason) => SourceErrorKind::BadAnswer(reason),
            })
        };
        let max_wait = if I::IS_OPTIONAL { Duration::ZERO } else { self.timeout };
        self.limiter.pass_to(I::NAME, max_wait, request).await
    }

    fn body<I: Interface>(&self, call: &I, offset: usize) -> Result<Vec<u8>, SourceErrorKind> {
        let mut params = call.params();
        params.insert("offset".to_owned(), offset.into());
        params.insert("limit".to_owned(), I::PAGE_ROWS.into());
        let call = Call { api_name: I::NAME, token: self.token.expose_secret(), params, fields: I::COLUMNS.join(",") };
        serde_json::to_vec(&call).map_err(|error| SourceErrorKind::BadRequest(error.to_string()))
    }

    async fn all_pages<I: Interface>(&self, call: &I) -> Result<Vec<I::Row>, SourceErrorKind> {
        let mut rows = Vec::new();
        for _ in 0..MAX_PAGES {
            // Each page begins with the last row of the previous page: see `append`.
            let page = self.page(call, rows.len().saturating_sub(1)).await?;
            let num_before = rows.len();
            // The documentation does not promise `has_more` for a full page, so the next page is requested.
            let may_have_more = page.has_more || page.rows.len() == I::PAGE_ROWS;
            append(&mut rows, page.rows)?;
            if !may_have_more {
                return Ok(rows);
            }
            if rows.len() == num_before {
                return if page.has_more { Err(missing_page(num_before)) } else { Ok(rows) };
            }
        }
        Err(SourceErrorKind::BadAnswer(format!("no end after {} rows in {MAX_PAGES} pages", rows.len())))
    }

    /// Suspensions of whole days; `None` if the account may not query them.
    async fn suspended(&self, call: &SuspendD, about: &str) -> Result<Option<Vec<(Code, NaiveDate)>>, SourceError> {
        if self.no_suspensions.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match self.rows(call, about).await {
            Ok(rows) => Ok(Some(rows.into_iter().flatten().collect())),
            Err(error) if error.kind.is_transient() => Err(error),
            Err(error) => {
                if !self.no_suspensions.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "Tushare suspensions are unavailable; suspended days count as missing");
                }
                Ok(None)
            }
        }
    }

    /// All rows of a call. An error names the call.
    async fn rows<I: Interface>(&self, call: &I, about: &str) -> Result<Vec<I::Row>, SourceError> {
        self.all_pages(call).await.map_err(|kind| SourceError {
            source_name: NAME,
            request: format!("{}{about} at {}", I::NAME, self.transport.address()),
            kind,
        })
    }
}

/// Adds a page that begins with the last row of the previous page. If its first row differs, rows were added or removed
/// meanwhile, and continuing would lose a row or duplicate one.
fn append<R: PartialEq>(rows: &mut Vec<R>, page: Vec<R>) -> Result<(), SourceErrorKind> {
    let mut page = page.into_iter();
    if let Some(last) = rows.last()
        && page.next().as_ref() != Some(last)
    {
        let text = format!("the rows moved between two pages, at row {}; all pages must be read again", rows.len());
        return Err(SourceErrorKind::Server(text));
    }
    rows.extend(page);
    Ok(())
}

fn missing_page(num_rows: usize) -> SourceErrorKind {
    SourceErrorKind::BadAnswer(format!("has_more is true after {num_rows} rows, but the next page has none"))
}

#[async_trait]
impl MarketSource for TushareSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> SourceId {
        SourceId::TUSHARE
    }

    fn interface_figures(&self) -> Vec<InterfaceFigures> {
        self.limiter.figures()
    }

    fn retire(&self) {
        self.limiter.retire();
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        self.noted_bars(request).await.map(|noted| noted.bars)
    }

    async fn noted_bars(&self, request: &BarRequest) -> Result<NotedBars, SourceError> {
        let (code, range) = (request.code, request.range);
        let about = format!(" {code} {} {range}", request.frequency);
        match request.frequency.minutes() {
            None => {
                let bars = self.rows(&Daily { codes: &[code], range }, &about).await?;
                Ok(bars.into_iter().map(|(_, row)| row).collect())
            }
            Some(minutes) => {
                let bars = self.rows(&StkMins { code, range, minutes }, &about).await?;
                Ok(NotedBars { bars, ..NotedBars::default() })
            }
        }
    }

    fn abilities(&self, kind: DataKind) -> Abilities {
        let (rows_per_call, rows_per_day_call) = match kind {
            DataKind::Bars => (Daily::PAGE_ROWS, Some(DailyOfAll::PAGE_ROWS)),
            DataKind::Factors => (AdjFactor::PAGE_ROWS, Some(AdjFactorOfAll::PAGE_ROWS)),
            DataKind::MinuteBars => (StkMins::PAGE_ROWS, None),
            DataKind::Ticks | DataKind::Stocks | DataKind::TradeDays => (usize::MAX, None),
        };
        let codes_per_call = if rows_per_day_call.is_some() { CODES_PER_CALL } else { 1 };
        let calls_per_minute = self.limiter.calls_per_minute();
        Abilities { rows_per_call, codes_per_call, rows_per_day_call, calls_per_minute }
    }

    async fn day_bars(&self, day: NaiveDate) -> Result<Vec<(Code, FetchedBar)>, SourceError> {
        self.noted_day_bars(day).await.map(|noted| noted.bars)
    }

    async fn noted_day_bars(&self, day: NaiveDate) -> Result<NotedBarsByCode, SourceError> {
        let rows = self.rows(&DailyOfAll { day }, &format!(" for all securities on {day}")).await?;
        Ok(rows.into_iter().collect())
    }

    async fn bars_of_several(&self, codes: &[Code], range: DateRange) -> Result<NotedBarsByCode, SourceError> {
        let about = format!(" for {} securities {range}", codes.len());
        Ok(self.rows(&Daily { codes, range }, &about).await?.into_iter().collect())
    }

    async fn suspensions(&self, code: Code, range: DateRange) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let suspended_days = self.suspended(&SuspendD { code: Some(code), range }, &format!(" {code} {range}")).await?;
        Ok(suspended_days.map(|rows| rows.into_iter().filter(|(of, _)| *of == code).map(|(_, day)| day).collect()))
    }

    async fn all_suspensions(&self, range: DateRange) -> Result<Option<Vec<(Code, NaiveDate)>>, SourceError> {
        let call = SuspendD { code: None, range };
        let suspended_days = self.suspended(&call, &format!(" for all securities {range}")).await?;
        Ok(suspended_days.map(|rows| rows.into_iter().filter(|(_, day)| range.contains(*day)).collect()))
    }

    async fn factors(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceError> {
        let factors = self.rows(&AdjFactor { codes: &[code], range }, &format!(" {code} {range}")).await?;
        Ok(factors.into_iter().map(|(_, factor)| factor).collect())
    }

    async fn day_factors(&self, day: NaiveDate) -> Result<Vec<(Code, FetchedFactor)>, SourceError> {
        self.rows(&AdjFactorOfAll { day }, &format!(" for all securities on {day}")).await
    }

    async fn factors_of_several(
        &self,
        codes: &[Code],
        range: DateRange,
    ) -> Result<Vec<(Code, FetchedFactor)>, SourceError> {
        let about = format!(" for {} securities {range}", codes.len());
        self.rows(&AdjFactor { codes, range }, &about).await
    }

    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        self.rows(&StockBasic, "").await
    }

    fn has_former_stocks(&self) -> bool {
        true
    }

    async fn former_stocks(&self) -> Result<FetchedFormer, SourceError> {
        // Delisted ones first: an account with few calls learns what is more useful.
        let delisted = self.rows(&FormerStockBasic::Delisted, " (delisted)").await?;
        let paused = match self.rows(&FormerStockBasic::Paused, " (paused)").await {
            Ok(paused) => paused,
            Err(error) => {
                tracing::warn!(%error, "securities with a paused listing are not known today");
                Vec::new()
            }
        };
        Ok(FetchedFormer { paused, delisted })
    }

    async fn trade_days(&self) -> Result<Vec<FetchedTradeDay>, SourceError> {
        self.rows(&TradeCal, "").await
    }
}

impl fmt::Debug for TushareSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TushareSource({})", self.transport.address())
    }
}
