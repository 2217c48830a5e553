// Upstream: sources, tdx, tests::it
// Downstream: many
// Role: TDX as a source: pages, reach of its history and the rate limiter.

use std::fmt;
use std::time::Duration;

use actors::domain::{
    Code, DateRange, DayNote, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, Field, Frequency, SourceId,
    shanghai_clock,
};
use actors::ports::{
    Abilities, BarRequest, DataKind, InterfaceFigures, MarketSource, NotedBars, SourceError, SourceErrorKind,
};
use async_trait::async_trait;
use chrono::NaiveDate;

use super::bars::Bars;
use super::client::TdxClient;
use super::ex_rights::ExRights;
use super::request::{Market, Security};
use super::securities::{SecurityCount, SecurityList};
use super::ticks::{PastTicks, TodaysTicks};
use super::{factors, paginate};
use crate::adapters::probe::Answer;
use crate::config::TdxSection;
use crate::sources::SourceSetupError;
use crate::sources::shared::budget::Budget;
use crate::sources::shared::reach;

/// The name in configuration, logs and reports.
const NAME: &str = "tdx";

/// TDX as a source.
pub struct TdxSource {
    client: TdxClient,
}

impl TdxSource {
    /// Creates the source without connecting. Fails if there is no server to connect to.
    pub fn new(section: &TdxSection, budget: impl Into<Budget>) -> Result<Self, SourceSetupError> {
        if !section.names_servers() {
            return Err(SourceSetupError::BadHosts(section.hosts.join(", ")));
        }
        let hosts = section.hosts.iter().map(|host| host.trim().to_owned()).collect();
        let timeout = Duration::from_millis(section.timeout_ms.max(1));
        Ok(Self { client: TdxClient::new(hosts, timeout, budget) })
    }

    /// Probes the servers with the smallest request.
    pub async fn probe(&self) -> Result<Answer, SourceErrorKind> {
        let count = self.client.ask(&SecurityCount(Market::Shanghai)).await?;
        Ok(Answer::of(format!("{} has {count} securities of Shanghai", self.client.address())))
    }

    async fn bars_of(&self, request: &BarRequest) -> Result<NotedBars, SourceErrorKind> {
        let BarRequest { code, frequency, range } = *request;
        let security = Security::of(code)?;
        let found = paginate::bars(&self.client, security, frequency, range).await?;
        if frequency != Frequency::Day
            && let Some(before) = reach::days_before(found.oldest, range)
            && !paginate::bars(&self.client, security, Frequency::Day, before).await?.bars.is_empty()
        {
            return Err(reach::too_far_back(request, found.oldest));
        }
        let notes = found.suspended.into_iter().map(DayNote::suspended).collect();
        Ok(NotedBars { bars: found.bars, notes, ..NotedBars::default() })
    }

    /// The days of the day file without any trade.
    async fn suspended_days(&self, code: Code, range: DateRange) -> Result<Vec<NaiveDate>, SourceErrorKind> {
        let found = paginate::bars(&self.client, Security::of(code)?, Frequency::Day, range).await?;
        Ok(found.suspended)
    }

    async fn ticks_of(&self, code: Code, day: NaiveDate) -> Result<Vec<FetchedTick>, SourceErrorKind> {
        let security = Security::of(code)?;
        if day < shanghai_clock::today() {
            return paginate::ticks::<PastTicks>(&self.client, security, day).await;
        }
        // Today's trades are those of the newest trading day, which may be an earlier day.
        let newest = self.client.ask(&Bars { security, frequency: Frequency::Day, skip: 0, count: 1 }).await?;
        let is_today = newest.iter().any(|bar| matches!(bar.timestamp, Field::Value(time) if time.date() == day));
        if is_today { paginate::ticks::<TodaysTicks>(&self.client, security, day).await } else { Ok(Vec::new()) }
    }

    async fn factors_of(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceErrorKind> {
        let security = Security::of(code)?;
        let events = self.client.ask(&ExRights { security }).await?;
        let first_event = events.iter().map(|event| event.day).min();
        let start = first_event.map_or(range.start, |day| day.min(range.start));
        let history =
            paginate::bars(&self.client, security, Frequency::Day, DateRange { start, end: range.end }).await?;
        let bars: Vec<FetchedBar> = history.before.into_iter().chain(history.bars).collect();
        factors::of_days(&events, &bars, range)
            .map_err(|error| SourceErrorKind::BadAnswer(format!("{}: {error}", self.client.address())))
    }

    async fn shares(&self) -> Result<Vec<FetchedStock>, SourceErrorKind> {
        let mut shares = Vec::new();
        for market in Market::ALL {
            let count = self.client.ask(&SecurityCount(market)).await?;
            let mut skip = 0;
            while skip < count {
                let page = self.client.ask(&SecurityList { market, skip }).await?;
                if page.records == 0 {
                    let (address, suffix) = (self.client.address(), market.suffix());
                    let text = format!("{address}: {suffix} has {count} securities, but the list ends after {skip}");
                    return Err(SourceErrorKind::BadAnswer(text));
                }
                shares.extend(page.shares);
                skip = skip.saturating_add(page.records);
            }
        }
        Ok(shares)
    }

    /// Adds the request to the error.
    fn with_request<T>(&self, outcome: Result<T, SourceErrorKind>, about: String) -> Result<T, SourceError> {
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

    fn interface_figures(&self) -> Vec<InterfaceFigures> {
        self.client.limiter.figures()
    }

    fn retire(&self) {
        self.client.limiter.retire();
    }

    fn abilities(&self, _kind: DataKind) -> Abilities {
        // Pages are counted from the newest bar back, so several requests for older days would read these again.
        Abilities { calls_per_minute: self.client.limiter.calls_per_minute(), ..Abilities::default() }
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        Ok(self.noted_bars(request).await?.bars)
    }

    async fn noted_bars(&self, request: &BarRequest) -> Result<NotedBars, SourceError> {
        let BarRequest { code, frequency, range } = request;
        self.with_request(self.bars_of(request).await, format!("{frequency} bars of {code} {range}"))
    }

    /// A server may also leave out the bar of a suspended day.
    fn knows_all_suspensions(&self) -> bool {
        false
    }

    async fn suspensions(&self, code: Code, range: DateRange) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let suspended = self.suspended_days(code, range).await.map(Some);
        self.with_request(suspended, format!("suspensions of {code} {range}"))
    }

    async fn ticks(&self, code: Code, day: NaiveDate) -> Result<Vec<FetchedTick>, SourceError> {
        self.with_request(self.ticks_of(code, day).await, format!("ticks of {code} {day}"))
    }

    async fn factors(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceError> {
        self.with_request(self.factors_of(code, range).await, format!("factors of {code} {range}"))
    }

    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        self.with_request(self.shares().await, "list of securities".to_owned())
    }
}

impl fmt::Debug for TdxSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TdxSource({})", self.client.address())
    }
}
