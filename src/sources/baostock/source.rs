// Upstream: baostock, sources, tests::it
// Downstream: many
// Role: BaoStock as a source: sessions, pages and the rate limiter.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actors::domain::reference_list::FetchedFormer;
use actors::domain::{
    Code, DateRange, FetchedBar, FetchedFactor, FetchedStock, FetchedTradeDay, Frequency, SourceId, shanghai_clock,
};
use actors::ports::{
    Abilities, BarRequest, DataKind, InterfaceFigures, MarketSource, NotedBars, NotedBarsByCode, SourceError,
    SourceErrorKind,
};
use async_trait::async_trait;
use chrono::NaiveDate;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::adjust_factor::{Days, Events, in_force};
use super::answer::AnswerError;
use super::connection::{Connection, ExchangeError};
use super::k_data::{AllOfDay, KData};
use super::query::{Page, Query, baostock_code};
use super::stock_basic::StockBasic;
use super::trade_dates::TradeDates;
use super::{answer, error_text, frame};
use crate::adapters::probe::Answer;
use crate::config::BaoStockSection;
use crate::sources::SourceSetupError;
use crate::sources::shared::budget::Budget;
use crate::sources::shared::rate_limiter::RateLimiter;
use crate::sources::shared::redact::without_secret;

/// The name in configuration, logs and reports.
const NAME: &str = "baostock";
/// The request of a probe: a bank listed since 1991, on a trading day.
const PROBED_CODE: &str = "000001.SZ";
const PROBED_DAY: &str = "2024-01-02";
/// The password of the account `anonymous`, as in the vendor's client.
const PUBLIC_PASSWORD: &str = "123456";
/// Rows per page, as in requests of the vendor's client 0.9.4.
const PAGE_ROWS: usize = 2_000;
/// Maximum number of pages, to stop a server that sends pages without end. A calendar of 36 years has 7.
const MAX_PAGES: usize = 32;
/// Maximum idle time of a session. After that the server or a device in between may have dropped it, and a new session
/// is opened.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// BaoStock as a source.
pub struct BaoStockSource {
    address: String,
    user: String,
    password: Option<SecretString>,
    timeout: Duration,
    limiter: RateLimiter,
    /// Limits the number of sessions.
    places: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl BaoStockSource {
    /// Creates the source without connecting. Fails if the timeout is zero or the login cannot be sent.
    pub fn new(section: &BaoStockSection, budget: impl Into<Budget>) -> Result<Self, SourceSetupError> {
        let (budget, timeout) = (budget.into(), Duration::from_millis(section.timeout_ms));
        if timeout.is_zero() {
            return Err(SourceSetupError::TimeoutZero { section: NAME });
        }
        let password = section.password.clone().filter(|password| !password.expose_secret().is_empty());
        let fits = |text: &str| !text.contains(char::is_control);
        if !fits(&section.user) || !password.as_ref().is_none_or(|password| fits(password.expose_secret())) {
            return Err(SourceSetupError::ControlCharacters);
        }
        Ok(Self {
            address: section.address.clone(),
            user: section.user.clone(),
            password,
            timeout,
            places: Semaphore::new(budget.limits.max_concurrent.max(1) as usize),
            limiter: RateLimiter::new(budget),
            idle: Mutex::default(),
        })
    }

    /// Probes the vendor and the account with the smallest query: one code on one day.
    pub async fn probe(&self) -> Result<Answer, SourceErrorKind> {
        let (Ok(code), Ok(day)) = (PROBED_CODE.parse::<Code>(), PROBED_DAY.parse()) else {
            return Err(SourceErrorKind::BadRequest(format!("{PROBED_CODE} on {PROBED_DAY}")));
        };
        let query = KData::new(code, DateRange { start: day, end: day }, None)?;
        self.all_pages(&query).await?;
        Ok(Answer::of("the account is accepted"))
    }

    /// All rows of a query. An error names the query.
    async fn rows<Q: Query>(&self, query: Result<Q, SourceErrorKind>, about: &str) -> Result<Vec<Q::Row>, SourceError> {
        let rows = match query {
            Ok(query) => self.all_pages(&query).await,
            Err(kind) => Err(kind),
        };
        let request = || format!("{} {about} at {}", Q::METHOD, self.address);
        rows.map_err(|kind| SourceError { source_name: NAME, request: request(), kind })
    }

    async fn all_pages<Q: Query>(&self, query: &Q) -> Result<Vec<Q::Row>, SourceErrorKind> {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let mut rows: Vec<Q::Row> = Vec::new();
        for number in 1..=MAX_PAGES {
            let page = self.page(query, number).await?;
            if !page.rows.is_empty() && rows.ends_with(&page.rows) {
                return Err(SourceErrorKind::BadAnswer(format!("page {number} repeats the previous page")));
            }
            rows.extend(page.rows);
            // As in the vendor's client, a page that is exactly full has a next one.
            if !Q::PAGED || page.num_records != PAGE_ROWS {
                return Ok(rows);
            }
        }
        Err(SourceErrorKind::BadAnswer(format!("no end after {} rows in {MAX_PAGES} pages", rows.len())))
    }

    /// Reads one page in an open session, or in a new one if the open one has ended.
    async fn page<Q: Query>(&self, query: &Q, number: usize) -> Result<Page<Q::Row>, SourceErrorKind> {
        let request = self.request(query, number);
        let open = self.lock_idle().pop().filter(|session| session.used_at.elapsed() < MAX_IDLE);
        if let Some(session) = open
            && let Some(page) = self.ask(session, true, query, number, &request).await?
        {
            return Ok(page);
        }
        let session = self.limiter.pass(self.timeout, async || self.log_in().await).await?;
        let over = || error_text::classify(error_text::NOT_LOGGED_IN, "the session ended right after the login");
        self.ask(session, false, query, number, &request).await?.ok_or_else(over)
    }

    fn request<Q: Query>(&self, query: &Q, page: usize) -> Vec<u8> {
        let (page, size, params) = (page.to_string(), PAGE_ROWS.to_string(), query.params());
        let mut fields = vec![Q::METHOD, &self.user];
        if Q::PAGED {
            fields.extend([page.as_str(), size.as_str()]);
        }
        fields.extend(params.iter().map(String::as_str));
        frame::request(Q::KIND, &fields)
    }

    /// Sends a request in a session. `None` if the session has ended and the request was not answered.
    async fn ask<Q: Query>(
        &self,
        mut session: Connection,
        was_idle: bool,
        query: &Q,
        page: usize,
        request: &[u8],
    ) -> Result<Option<Page<Q::Row>>, SourceErrorKind> {
        let exchange = async || {
            let message = match timeout(self.timeout, session.exchange(request)).await {
                Ok(Ok(message)) => message,
                Ok(Err(ExchangeError::Closed(_))) if was_idle => return Ok(None),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(SourceErrorKind::Timeout(self.timeout)),
            };
            let answer = query.parse(&message, page);
            match answer {
                Err(AnswerError::Unreadable(reason)) => Err(SourceErrorKind::BadAnswer(reason)),
                Err(AnswerError::Refused { code, .. }) if code == error_text::NOT_LOGGED_IN => Ok(None),
                Err(AnswerError::Refused { code, message }) => {
                    self.lock_idle().push(session);
                    Err(error_text::classify(&code, &message))
                }
                Ok(page) => {
                    self.lock_idle().push(session);
                    Ok(Some(page))
                }
            }
        };
        self.limiter.pass(self.timeout, exchange).await
    }

    /// Opens a new session.
    async fn log_in(&self) -> Result<Connection, SourceErrorKind> {
        let password = self.password.as_ref().map_or(PUBLIC_PASSWORD, |password| password.expose_secret());
        // A paying account would send its key in the last field.
        let request = frame::request("00", &["login", &self.user, password, "0"]);
        let log_in = async {
            let mut session = Connection::open(&self.address).await?;
            let message = session.exchange(&request).await;
            // A server may echo what it received.
            let hide = |text: String| without_secret(text, self.password.as_ref());
            let message = message.map_err(|error| match error {
                ExchangeError::Frame(error) => SourceErrorKind::BadAnswer(hide(error.to_string())),
                other => other.into(),
            })?;
            match answer::check(&message, "login") {
                Ok(()) => Ok(session),
                Err(AnswerError::Refused { code, message }) => Err(error_text::classify(&code, &hide(message))),
                Err(AnswerError::Unreadable(reason)) => Err(SourceErrorKind::BadAnswer(hide(reason))),
            }
        };
        timeout(self.timeout, log_in).await.unwrap_or(Err(SourceErrorKind::Timeout(self.timeout)))
    }

    fn lock_idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl MarketSource for BaoStockSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> SourceId {
        SourceId::BAOSTOCK
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
        let BarRequest { code, frequency, range } = *request;
        let query = KData::new(code, range, frequency.minutes());
        Ok(self.rows(query, &format!("{code} {frequency} {range}")).await?.into_iter().collect())
    }

    fn abilities(&self, kind: DataKind) -> Abilities {
        // The answer for a whole day has no pages.
        let rows_per_day_call = (kind == DataKind::Bars).then_some(usize::MAX);
        let calls_per_minute = self.limiter.calls_per_minute();
        Abilities { rows_per_call: PAGE_ROWS, rows_per_day_call, calls_per_minute, ..Abilities::default() }
    }

    fn covers_in_whole_days(&self, code: Code) -> bool {
        baostock_code(code).is_ok()
    }

    async fn day_bars(&self, day: NaiveDate) -> Result<Vec<(Code, FetchedBar)>, SourceError> {
        self.noted_day_bars(day).await.map(|noted| noted.bars)
    }

    async fn noted_day_bars(&self, day: NaiveDate) -> Result<NotedBarsByCode, SourceError> {
        Ok(self.rows(Ok(AllOfDay(day)), &format!("for all securities on {day}")).await?.into_iter().collect())
    }

    async fn suspensions(&self, code: Code, range: DateRange) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        if !self.covers_in_whole_days(code) {
            return Ok(None);
        }
        let noted = self.noted_bars(&BarRequest { code, frequency: Frequency::Day, range }).await?;
        Ok(Some(noted.notes.into_iter().filter(|note| note.is_suspended).map(|note| note.day).collect()))
    }

    async fn all_suspensions(&self, range: DateRange) -> Result<Option<Vec<(Code, NaiveDate)>>, SourceError> {
        // Each day of bars notes its suspensions. Asked for several days, this would be a call for each of them again.
        if range.start != range.end {
            return Ok(None);
        }
        let noted = self.noted_day_bars(range.start).await?;
        let suspended = noted.notes.into_iter().filter(|(_, note)| note.is_suspended);
        Ok(Some(suspended.map(|(code, note)| (code, note.day)).collect()))
    }

    async fn factors(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceError> {
        let about = format!("{code} {range}");
        let events = self.rows(Events::new(code, range), &about).await?;
        let days = self.rows(Days::new(code, range), &about).await?;
        Ok(in_force(days, events))
    }

    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        self.rows(Ok(StockBasic::Listed), "for all securities").await
    }

    fn has_former_stocks(&self) -> bool {
        true
    }

    async fn former_stocks(&self) -> Result<FetchedFormer, SourceError> {
        let delisted = self.rows(Ok(StockBasic::Delisted), "for delisted securities").await?;
        Ok(FetchedFormer { paused: Vec::new(), delisted })
    }

    async fn trade_days(&self) -> Result<Vec<FetchedTradeDay>, SourceError> {
        self.rows(Ok(TradeDates::up_to_year_of(shanghai_clock::today())), "for all years").await
    }
}

impl fmt::Debug for BaoStockSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaoStockSource({} at {})", self.user, self.address)
    }
}
