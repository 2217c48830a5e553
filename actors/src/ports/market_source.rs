// Upstream: data_worker, fetcher, market_sources, ports, simulation, tests::it
// Downstream: data_kind, domain, source_error
// Role: The port to a source of market data.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use crate::domain::reference_list::FetchedFormer;
use crate::domain::{
    Code, DateRange, DayNote, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Frequency,
    SourceId,
};
use crate::ports::{DataKind, SourceError, SourceErrorKind};

/// The requests to one interface of a vendor, and the configured limits of them. A limit of 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceFigures {
    /// The interface.
    pub name: &'static str,
    /// Total time that requests have waited so far because of rate limits, the worker's own and the vendor's.
    pub throttled: Duration,
    /// Requests within the last minute; only counted where a limit is configured.
    pub sent_in_minute: u32,
    /// The limit of a minute.
    pub limit_of_minute: u32,
    /// Requests since midnight in Shanghai.
    pub sent_today: u32,
    /// The limit of a day.
    pub limit_of_day: u32,
}

/// A vendor or a database of market data. An adapter implements the methods for the data that its source has.
///
/// One call is one attempt: adapters paginate but do not retry. Rows are converted to Ginkgo's units and time zone but
/// not checked or sorted. An answer without rows is a success.
#[async_trait]
pub trait MarketSource: Send + Sync {
    /// The source's name in configuration, logs and reports.
    fn name(&self) -> &'static str;

    /// Ginkgo's number of the source.
    fn id(&self) -> SourceId;

    /// The requests and waits of each interface used so far; `all` if the vendor counts all requests together.
    fn interface_figures(&self) -> Vec<InterfaceFigures> {
        Vec::new()
    }

    /// Another source replaces this one. Requests that wait for a rate limit and later requests fail with
    /// [`SourceErrorKind::Replaced`]; requests that are already sent complete.
    fn retire(&self) {}

    /// All bars of one security in a range of days.
    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        Err(self.not_offered(DataKind::of(request.frequency)))
    }

    /// The same bars, with the source's notes on days. The default implementation returns [`Self::bars`] without notes.
    async fn noted_bars(&self, request: &BarRequest) -> Result<NotedBars, SourceError> {
        Ok(NotedBars { bars: self.bars(request).await?, ..NotedBars::default() })
    }

    /// What one call can return, for whoever plans calls.
    fn abilities(&self, kind: DataKind) -> Abilities {
        let _unused = kind;
        Abilities::default()
    }

    /// Whether whole days contain this security, where the source gives them.
    fn covers_in_whole_days(&self, code: Code) -> bool {
        let _unused = code;
        true
    }

    /// The bars of all securities on one day.
    async fn day_bars(&self, day: NaiveDate) -> Result<Vec<(Code, FetchedBar)>, SourceError> {
        let _unused = day;
        Err(self.not_offered(DataKind::Bars))
    }

    /// The same bars, with the source's notes on that day.
    async fn noted_day_bars(&self, day: NaiveDate) -> Result<NotedBarsByCode, SourceError> {
        Ok(NotedBarsByCode { bars: self.day_bars(day).await?, notes: Vec::new() })
    }

    /// The bars of several securities in a range of days, in one call, with the source's notes. Only for sources with
    /// [`Abilities::codes_per_call`].
    async fn bars_of_several(&self, codes: &[Code], range: DateRange) -> Result<NotedBarsByCode, SourceError> {
        let _unused = (codes, range);
        Err(self.not_offered(DataKind::Bars))
    }

    /// The days of a range on which one security was suspended all day; `None` if the source does not provide this.
    async fn suspensions(&self, code: Code, range: DateRange) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let _unused = (code, range);
        Ok(None)
    }

    /// Whether [`Self::suspensions`] names every suspended day. Otherwise a source without a day may not know it.
    fn knows_all_suspensions(&self) -> bool {
        true
    }

    /// The securities that were suspended all day, with the day, in one call for all securities and days; `None` if the
    /// source does not provide this.
    async fn all_suspensions(&self, range: DateRange) -> Result<Option<Vec<(Code, NaiveDate)>>, SourceError> {
        let _unused = range;
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

    /// The raw adjustment factors of all securities on one day, in one call.
    async fn day_factors(&self, day: NaiveDate) -> Result<Vec<(Code, FetchedFactor)>, SourceError> {
        let _unused = day;
        Err(self.not_offered(DataKind::Factors))
    }

    /// The raw adjustment factors of several securities in a range of days, in one call, as [`Self::bars_of_several`].
    async fn factors_of_several(
        &self,
        codes: &[Code],
        range: DateRange,
    ) -> Result<Vec<(Code, FetchedFactor)>, SourceError> {
        let _unused = (codes, range);
        Err(self.not_offered(DataKind::Factors))
    }

    /// Every listed security.
    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        Err(self.not_offered(DataKind::Stocks))
    }

    /// Whether [`Self::former_stocks`] gives an answer.
    fn has_former_stocks(&self) -> bool {
        false
    }

    /// The securities that are not traded any more: paused or delisted. A rate limit is not waited for.
    async fn former_stocks(&self) -> Result<FetchedFormer, SourceError> {
        Err(self.not_offered(DataKind::Stocks))
    }

    /// Every day of the trading calendar.
    async fn trade_days(&self) -> Result<Vec<FetchedTradeDay>, SourceError> {
        Err(self.not_offered(DataKind::TradeDays))
    }

    /// The error for data that the source does not have.
    fn not_offered(&self, kind: DataKind) -> SourceError {
        SourceError { source_name: self.name(), request: kind.to_string(), kind: SourceErrorKind::NotOffered(kind) }
    }
}

/// What one call to a source can return for a kind of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// Maximum number of rows in an answer for named securities. Further rows take further calls.
    pub rows_per_call: usize,
    /// Maximum number of securities that one call may name.
    pub codes_per_call: usize,
    /// Maximum number of rows in an answer for all securities of one day; `None` if there is no such call.
    pub rows_per_day_call: Option<usize>,
    /// Maximum number of calls per minute; 0 if there is no limit.
    pub calls_per_minute: u32,
}

impl Abilities {
    /// What tasks can use that share calls or do not.
    pub fn of_tasks(self, share_calls: bool) -> Self {
        Self { codes_per_call: if share_calls { self.codes_per_call } else { 1 }, ..self }
    }
}

impl Default for Abilities {
    /// Calls for one security, with any number of rows.
    fn default() -> Self {
        Self { rows_per_call: usize::MAX, codes_per_call: 1, rows_per_day_call: None, calls_per_minute: 0 }
    }
}

/// A request for bars.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarRequest {
    /// The security.
    pub code: Code,
    /// The frequency of the bars.
    pub frequency: Frequency,
    /// Shanghai days, both ends included.
    pub range: DateRange,
}

/// Bars of one security, with the source's notes on days.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotedBars {
    /// The bars.
    pub bars: Vec<FetchedBar>,
    /// The notes, in any order, on days with and without a bar.
    pub notes: Vec<DayNote>,
    /// The times of bars of which the source offers only some values. They are no errors, are not stored, and do not
    /// count as missing.
    pub not_offered: Vec<NaiveDateTime>,
}

/// One row of a source's answer: the bar, if there is one, and the note on the day, if there is one.
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

impl FromIterator<(Code, NotedRow)> for NotedBarsByCode {
    fn from_iter<I: IntoIterator<Item = (Code, NotedRow)>>(rows: I) -> Self {
        let mut noted = Self::default();
        for (code, (bar, note)) in rows {
            noted.bars.extend(bar.map(|bar| (code, bar)));
            noted.notes.extend(note.map(|note| (code, note)));
        }
        noted
    }
}

/// Bars of many securities, with the source's notes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NotedBarsByCode {
    /// The bars.
    pub bars: Vec<(Code, FetchedBar)>,
    /// The notes, on securities with and without a bar.
    pub notes: Vec<(Code, DayNote)>,
}
