// Upstream: actors::cross_check, actors::cross_section, actors::day_knowledge, actors::failure_alerts, actors::fetcher, actors::observation, actors::ports, actors::quality_monitor, actors::shared_days, actors::source_calls, actors::supervisor, actors::suspensions, actors::tick_fetch, actors::ticket, actors::validator, cli::gaps, config::check, config::source_name, config::source_sections, service_hub, sources, sources::baostock, sources::baostock::adjust_factor, sources::baostock::connection, sources::baostock::error_text, sources::baostock::k_data, sources::baostock::query, sources::databases, sources::databases::errors, sources::databases::query, sources::databases::redis, sources::databases::shape, sources::eastmoney, sources::files, sources::files::fixture_tests, sources::files::table, sources::gate, sources::http, sources::reach, sources::tdx, sources::tdx::connection, sources::tdx::pool, sources::tdx::request, sources::tdx::walk, sources::tushare, sources::tushare::daily, sources::tushare::error_text, sources::tushare::transport, sources::yahoo, sources::yahoo::candles, sources::yahoo::window, switch, tests::it::databases_types, tests::it::sources_baostock, tests::it::sources_databases, tests::it::sources_eastmoney, tests::it::sources_tdx, tests::it::sources_tushare, tests::it::sources_yahoo, worker_view
// Downstream: actors::domain::adjust_factor, actors::domain::bar, actors::domain::code, actors::domain::frequency, actors::domain::known_days, actors::domain::stock_info, actors::domain::task, actors::domain::tick, actors::domain::trade_day
// Role: The port to market data: kinds of data, sources of each in order, requests, and what may go wrong.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::domain::{
    Code, DateRange, DayNote, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Frequency,
    SourceId,
};

/// What a source may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataKind {
    /// Daily bars.
    Bars,
    /// Minute bars.
    MinuteBars,
    /// Trades.
    Ticks,
    /// Adjustment factors.
    Factors,
    /// The list of securities.
    Stocks,
    /// The exchanges' calendar.
    TradeDays,
}

impl DataKind {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Bars, Self::MinuteBars, Self::Ticks, Self::Factors, Self::Stocks, Self::TradeDays];

    /// The kind of bars of a frequency.
    pub fn of(frequency: Frequency) -> Self {
        if frequency == Frequency::Day { Self::Bars } else { Self::MinuteBars }
    }

    /// The setting below `sources` that lists its sources.
    pub fn key(self) -> &'static str {
        match self {
            Self::Bars => "bars",
            Self::MinuteBars => "minute_bars",
            Self::Ticks => "ticks",
            Self::Factors => "factors",
            Self::Stocks => "stocks",
            Self::TradeDays => "trade_days",
        }
    }
}

impl fmt::Display for DataKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bars => "daily bars",
            Self::MinuteBars => "minute bars",
            Self::Ticks => "ticks",
            Self::Factors => "adjustment factors",
            Self::Stocks => "list of securities",
            Self::TradeDays => "calendar",
        })
    }
}

/// The sources of each kind of data.
pub trait MarketSources: Send + Sync {
    /// Those in force now, the preferred one first. The next one is asked when one fails for good.
    fn of(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>>;

    /// Those that rows of this kind are compared with, the preferred one first.
    fn to_compare(&self, kind: DataKind) -> Vec<Arc<dyn MarketSource>> {
        let _unused = kind;
        Vec::new()
    }

    /// Others have taken the place of all of these: see [`MarketSource::retire`].
    fn retire(&self) {}
}

/// A vendor or a store of market data. An adapter implements what the source has.
///
/// One call is one attempt: adapters page, but they do not retry. Rows come in Ginkgo's units and zone, oldest first or
/// not, as the source has them: unchecked. No rows is a success.
#[async_trait]
pub trait MarketSource: Send + Sync {
    /// The name in configuration, logs and reports.
    fn name(&self) -> &'static str;

    /// Ginkgo's number for it.
    fn id(&self) -> SourceId;

    /// For how long requests have waited so far, all added up, because of limits: our own and the vendor's.
    fn held_back(&self) -> Duration {
        Duration::ZERO
    }

    /// Another source has taken this one's place: requests that wait for a limit end with [`SourceErrorKind::Replaced`], so do
    /// later ones; those that are sent come to their end.
    fn retire(&self) {}

    /// All bars of one security in a range of days.
    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        Err(self.not_offered(DataKind::of(request.frequency)))
    }

    /// The same bars, with what the source says of days beside them. One that says nothing offers [`Self::bars`] alone.
    async fn noted_bars(&self, request: &BarRequest) -> Result<NotedBars, SourceError> {
        Ok(NotedBars { bars: self.bars(request).await?, notes: Vec::new() })
    }

    /// Whether [`Self::day_bars`] can be asked for, and would have this security's bar.
    fn has_day_bars(&self, code: Code) -> bool {
        let _unused = code;
        false
    }

    /// The bars of all securities of one day, by one call.
    async fn day_bars(&self, day: NaiveDate) -> Result<Vec<(Code, FetchedBar)>, SourceError> {
        let _unused = day;
        Err(self.not_offered(DataKind::Bars))
    }

    /// The same bars, with what the source says of that day beside them.
    async fn noted_day_bars(&self, day: NaiveDate) -> Result<NotedDay, SourceError> {
        Ok(NotedDay { bars: self.day_bars(day).await?, notes: Vec::new() })
    }

    /// The days of a range on which one security was suspended from the opening to the close; `None`: the source does not say.
    async fn suspensions(&self, code: Code, range: DateRange) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let _unused = (code, range);
        Ok(None)
    }

    /// All securities that were suspended for the whole of a day, by one call; `None`: the source does not say.
    async fn day_suspensions(&self, day: NaiveDate) -> Result<Option<Vec<Code>>, SourceError> {
        let _unused = day;
        Ok(None)
    }

    /// All trades of one security on a day, in their order.
    async fn ticks(&self, code: Code, day: NaiveDate) -> Result<Vec<FetchedTick>, SourceError> {
        let _unused = (code, day);
        Err(self.not_offered(DataKind::Ticks))
    }

    /// The raw adjustment factors of one security in a range of days.
    async fn factors(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceError> {
        let _unused = (code, range);
        Err(self.not_offered(DataKind::Factors))
    }

    /// Every listed security.
    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        Err(self.not_offered(DataKind::Stocks))
    }

    /// Every day of the exchanges' calendar.
    async fn trade_days(&self) -> Result<Vec<FetchedTradeDay>, SourceError> {
        Err(self.not_offered(DataKind::TradeDays))
    }

    /// The error of a source that is asked for what it does not have.
    fn not_offered(&self, kind: DataKind) -> SourceError {
        SourceError { source_name: self.name(), request: kind.to_string(), kind: SourceErrorKind::NotOffered(kind) }
    }
}

/// What to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarRequest {
    /// The security.
    pub code: Code,
    /// How long a bar lasts.
    pub frequency: Frequency,
    /// Shanghai days, both ends included.
    pub range: DateRange,
}

/// Bars of one security, with what their source says of days beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotedBars {
    /// The bars.
    pub bars: Vec<FetchedBar>,
    /// The notes, in any order; of days with a bar and of others.
    pub notes: Vec<DayNote>,
}

/// A row of a source's answer: a bar, if there is one, and what it says of the day, if anything.
pub type NotedRow = (Option<FetchedBar>, Option<DayNote>);

impl FromIterator<NotedRow> for NotedBars {
    fn from_iter<I: IntoIterator<Item = NotedRow>>(rows: I) -> Self {
        let mut noted = Self::default();
        for (bar, note) in rows {
            noted.bars.extend(bar);
            noted.notes.extend(note);
        }
        noted
    }
}

impl FromIterator<(Code, NotedRow)> for NotedDay {
    fn from_iter<I: IntoIterator<Item = (Code, NotedRow)>>(rows: I) -> Self {
        let mut noted = Self::default();
        for (code, (bar, note)) in rows {
            noted.bars.extend(bar.map(|bar| (code, bar)));
            noted.notes.extend(note.map(|note| (code, note)));
        }
        noted
    }
}

/// Bars of all securities on one day, with what their source says of it beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotedDay {
    /// The bars.
    pub bars: Vec<(Code, FetchedBar)>,
    /// The notes; of securities with a bar and of others.
    pub notes: Vec<(Code, DayNote)>,
}

/// Why a fetch failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("source {source_name}: {request}: {kind}")]
pub struct SourceError {
    /// The source's name.
    pub source_name: &'static str,
    /// The request in short, without the token.
    pub request: String,
    /// What happened.
    pub kind: SourceErrorKind,
}

/// What happened at a source; decides whether another attempt makes sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceErrorKind {
    /// No connection, or it broke.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// No complete answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server failed (HTTP 5xx and the like).
    #[error("server error: {0}")]
    Server(String),
    /// The vendor asks to slow down; `retry_after` is its own word or the window its text names.
    #[error("rate limit: {message} (next try in {retry_after:?})")]
    RateLimited {
        /// The vendor's text.
        message: String,
        /// How long to stay away.
        retry_after: Duration,
    },
    /// The token is wrong. An operator must act.
    #[error("login refused: {0}; check the source's token or password in the configuration")]
    Unauthorized(String),
    /// The account may not use this interface. An operator must act.
    #[error("no permission: {0}; the account needs more points or rights, or name another source")]
    Forbidden(String),
    /// The source does not know what was asked for.
    #[error("request refused: {0}")]
    BadRequest(String),
    /// The answer is not what the protocol promises.
    #[error("unreadable answer: {0}")]
    BadAnswer(String),
    /// A reload put another source in this one's place while the request waited to be sent.
    #[error("not sent: another source has taken its place")]
    Replaced,
    /// The source has no such data.
    #[error("it has no {0}; name another source in sources.{key}", key = .0.key())]
    NotOffered(DataKind),
}

impl SourceErrorKind {
    /// The kind's name in figures.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Timeout(_) => "timeout",
            Self::Server(_) => "server_error",
            Self::RateLimited { .. } => "rate_limited",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::BadRequest(_) => "bad_request",
            Self::BadAnswer(_) => "bad_answer",
            Self::Replaced => "replaced",
            Self::NotOffered(_) => "not_offered",
        }
    }

    /// Whether the same request may succeed later without anybody's doing.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Timeout(_) | Self::Server(_) | Self::RateLimited { .. } | Self::Replaced => {
                true
            }
            Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::BadRequest(_)
            | Self::BadAnswer(_)
            | Self::NotOffered(_) => false,
        }
    }
}
