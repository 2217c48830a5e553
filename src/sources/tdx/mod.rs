// Upstream: sources, sources::tdx::walk, tests::it::sources_tdx
// Downstream: actors::domain::adjust_factor, actors::domain::bar, actors::domain::code, actors::domain::frequency, actors::domain::stock_info, actors::domain::task, actors::domain::tick, actors::ports::market_source, actors::shanghai, config::source_sections, probe, sources, sources::budget, sources::gate, sources::reach, sources::tdx::bars, sources::tdx::ex_rights, sources::tdx::factors, sources::tdx::pool, sources::tdx::request, sources::tdx::securities, sources::tdx::ticks
// Role: TDX as a source: pages of its requests joined, how far its history reaches, the gate before its servers.

//! TDX, the quotation servers of a trading program, over TCP. Each request has a file that knows its bytes and reads its
//! answers; the protocol is not published, but known from public clients.

/// Bars.
pub mod bars;
/// One connection.
mod connection;
/// Numbers in answers.
pub mod cursor;
/// Ex-right days.
pub mod ex_rights;
/// Factors from them.
pub mod factors;
/// Requests and answers as bytes.
pub mod frame;
/// All connections.
mod pool;
/// What requests have in common.
pub mod request;
/// The list of securities.
pub mod securities;
/// Trades.
pub mod ticks;
/// Pages, joined.
mod walk;

use std::fmt;
use std::time::Duration;

use actors::domain::{
    Code, DateRange, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, Field, Frequency, SourceId,
};
use actors::ports::{BarRequest, MarketSource, SourceError, SourceErrorKind};
use actors::shanghai;
use async_trait::async_trait;
use chrono::NaiveDate;

use self::bars::Bars;
use self::ex_rights::ExRights;
use self::pool::Pool;
use self::request::{Market, Request, Security};
use self::securities::{SecurityCount, SecurityList};
use self::ticks::{PastTicks, TodaysTicks};
use crate::config::TdxSection;
use crate::probe::Answer;
use crate::sources::SourceSetupError;
use crate::sources::budget::Budget;
use crate::sources::gate::Gate;
use crate::sources::reach;

/// The name in configuration, logs and reports.
const NAME: &str = "tdx";

/// TDX as a source.
pub struct TdxSource {
    pool: Pool,
    timeout: Duration,
    gate: Gate,
}

impl TdxSource {
    /// A source that has not connected yet. Fails where there is no server to connect to.
    pub fn new(section: &TdxSection, budget: impl Into<Budget>) -> Result<Self, SourceSetupError> {
        if !section.names_servers() {
            return Err(SourceSetupError::BadHosts(section.hosts.join(", ")));
        }
        let hosts = section.hosts.iter().map(|host| host.trim().to_owned()).collect();
        let timeout = Duration::from_millis(section.timeout_ms.max(1));
        Ok(Self { pool: Pool::new(hosts, timeout), timeout, gate: Gate::new(budget) })
    }

    /// Tries the servers with the smallest request there is.
    pub async fn probe(&self) -> Result<Answer, SourceErrorKind> {
        let count = self.ask(&SecurityCount(Market::Shanghai)).await?;
        Ok(Answer::of(format!("{} has {count} securities of Shanghai", self.pool.address())))
    }

    /// One answer. Waits at a closed gate for as long as for an answer at most, then for the answer.
    async fn ask<R: Request>(&self, request: &R) -> Result<R::Answer, SourceErrorKind> {
        self.gate.pass(self.timeout, async || self.pool.ask(request).await).await
    }

    async fn bars_of(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceErrorKind> {
        let BarRequest { code, frequency, range } = *request;
        let security = Security::of(code)?;
        let found = self.walk(security, frequency, range).await?;
        if frequency != Frequency::Day
            && let Some(before) = reach::days_before(found.oldest, range)
            && !self.walk(security, Frequency::Day, before).await?.bars.is_empty()
        {
            return Err(reach::too_far_back(request, found.oldest));
        }
        Ok(found.bars)
    }

    async fn ticks_of(&self, code: Code, day: NaiveDate) -> Result<Vec<FetchedTick>, SourceErrorKind> {
        let security = Security::of(code)?;
        if day < shanghai::today() {
            return self.all_ticks::<PastTicks>(security, day).await;
        }
        // The trades of today are those of the newest trading day, which may be an earlier one.
        let newest = self.ask(&Bars { security, frequency: Frequency::Day, skip: 0, count: 1 }).await?;
        let is_today = newest.iter().any(|bar| matches!(bar.timestamp, Field::Value(time) if time.date() == day));
        if is_today { self.all_ticks::<TodaysTicks>(security, day).await } else { Ok(Vec::new()) }
    }

    async fn factors_of(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceErrorKind> {
        let security = Security::of(code)?;
        let events = self.ask(&ExRights { security }).await?;
        let first_event = events.iter().map(|event| event.day).min();
        let start = first_event.map_or(range.start, |day| day.min(range.start));
        let history = self.walk(security, Frequency::Day, DateRange { start, end: range.end }).await?;
        let bars: Vec<FetchedBar> = history.before.into_iter().chain(history.bars).collect();
        factors::of_days(&events, &bars, range)
            .map_err(|error| SourceErrorKind::BadAnswer(format!("{}: {error}", self.pool.address())))
    }

    async fn shares(&self) -> Result<Vec<FetchedStock>, SourceErrorKind> {
        let mut shares = Vec::new();
        for market in Market::ALL {
            let count = self.ask(&SecurityCount(market)).await?;
            let mut skip = 0;
            while skip < count {
                let page = self.ask(&SecurityList { market, skip }).await?;
                if page.records == 0 {
                    let (address, suffix) = (self.pool.address(), market.suffix());
                    let text = format!("{address}: {suffix} has {count} securities, but the list ends after {skip}");
                    return Err(SourceErrorKind::BadAnswer(text));
                }
                shares.extend(page.shares);
                skip = skip.saturating_add(page.records);
            }
        }
        Ok(shares)
    }

    /// Puts the request into the error's words.
    fn told<T>(&self, outcome: Result<T, SourceErrorKind>, about: String) -> Result<T, SourceError> {
        outcome.map_err(|kind| SourceError { source_name: NAME, request: about, kind })
    }
}

#[async_trait]
impl MarketSource for TdxSource {
    fn name(&self) -> &'static str {
        NAME
    }

    fn id(&self) -> SourceId {
        SourceId::TDX
    }

    fn held_back(&self) -> Duration {
        self.gate.held_back()
    }

    fn retire(&self) {
        self.gate.retire();
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        let BarRequest { code, frequency, range } = request;
        self.told(self.bars_of(request).await, format!("{frequency} bars of {code} {range}"))
    }

    async fn ticks(&self, code: Code, day: NaiveDate) -> Result<Vec<FetchedTick>, SourceError> {
        self.told(self.ticks_of(code, day).await, format!("ticks of {code} {day}"))
    }

    async fn factors(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceError> {
        self.told(self.factors_of(code, range).await, format!("factors of {code} {range}"))
    }

    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        self.told(self.shares().await, "list of securities".to_owned())
    }
}

impl fmt::Debug for TdxSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TdxSource({})", self.pool.address())
    }
}
