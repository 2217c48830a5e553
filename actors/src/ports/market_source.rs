// Upstream: data_worker, fetcher, market_sources, ports, tests::it
// Downstream: data_kind, domain, source_error
// Role: The port to a source of market data.

use std::time::Duration;

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::domain::{
    Code, DateRange, DayNote, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Frequency,
    SourceId,
};
use crate::ports::{DataKind, SourceError, SourceErrorKind};

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
    fn throttled(&self) -> Duration {
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
