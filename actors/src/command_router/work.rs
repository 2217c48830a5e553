// Upstream: actor, open_command, queue, split
// Downstream: domain, ports
// Role: The kind of work of a task.

use chrono::NaiveDate;

use crate::domain::reference_list::ListKind;
use crate::domain::tick_backfill::{part_until, parts_of};
use crate::domain::{BarSync, DateRange, Frequency, OpenRange, SyncMode, TickSync, shanghai_clock};
use crate::ports::DataKind;

/// The kind of work of a task.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Synchronises bars.
    Bars(BarSync),
    /// Synchronises adjustment factors.
    Factors(SyncMode),
    /// Synchronises ticks.
    Ticks(TickSync),
    /// Synchronises a whole list.
    List(ListKind),
}

impl Work {
    /// Ginkgo's name of the synchronised data.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Bars(_) => "bars",
            Self::Factors(_) => "adjustfactor",
            Self::Ticks(_) => "ticks",
            Self::List(ListKind::Stocks) => "stockinfo",
            Self::List(ListKind::TradeDays) => "trade_day",
        }
    }

    /// The name of the command.
    pub fn command(self) -> &'static str {
        match self {
            Self::Bars(_) => "bar_snapshot",
            Self::Factors(_) => "adjustfactor",
            Self::Ticks(_) => "tick",
            Self::List(ListKind::Stocks) => "stockinfo",
            Self::List(ListKind::TradeDays) => "trade_day",
        }
    }

    /// This work and the work it depends on: adjusted bars also need the adjustment factors.
    pub fn with_dependencies(self) -> Vec<Self> {
        match self {
            Self::Bars(BarSync { adjusted: true, mode, .. }) => vec![self, Self::Factors(mode)],
            _ => vec![self],
        }
    }

    /// The kind of data that a source is asked for.
    pub fn data_kind(self) -> DataKind {
        match self {
            Self::Bars(bars) => DataKind::of(bars.frequency),
            Self::Factors(_) => DataKind::Factors,
            Self::Ticks(_) => DataKind::Ticks,
            Self::List(ListKind::Stocks) => DataKind::Stocks,
            Self::List(ListKind::TradeDays) => DataKind::TradeDays,
        }
    }

    /// Whether the days are fetched for all securities of the command together, so that it is not split by code.
    pub fn is_by_day(self) -> bool {
        matches!(self, Self::Bars(BarSync { by_day: true, mode: SyncMode::Incremental, frequency: Frequency::Day, .. }))
    }

    /// The sync mode. A list is always replaced as a whole.
    pub fn mode(self) -> SyncMode {
        match self {
            Self::Bars(bars) => bars.mode,
            Self::Factors(mode) => mode,
            Self::Ticks(TickSync { full: false, overwrite: false, .. }) => SyncMode::Incremental,
            Self::Ticks(_) | Self::List(_) => SyncMode::Replace,
        }
    }

    /// Securities that were delisted by this day have no rows for this work. An increment without a range begins after
    /// the stored rows, so it concerns what is listed today.
    pub fn listed_since(self) -> NaiveDate {
        let (range, mode) = match self {
            Self::Bars(bars) => (bars.range, bars.mode),
            Self::Ticks(ticks) => (ticks.range, self.mode()),
            Self::Factors(mode) => (OpenRange::default(), mode),
            Self::List(_) => (OpenRange::default(), SyncMode::Replace),
        };
        let today = shanghai_clock::today();
        let first = match mode {
            SyncMode::Replace => DateRange::FIRST_TRADING_DAY,
            SyncMode::Incremental => today,
        };
        range.start.unwrap_or(first).min(today)
    }

    /// The ranges of days, one task each.
    pub fn parts(self) -> Vec<OpenRange> {
        let today = shanghai_clock::today();
        match self {
            Self::Bars(bars) => bars.parts(today),
            Self::Ticks(TickSync { full: true, range, .. }) => {
                vec![part_until(range.until(today).end.unwrap_or(today))]
            }
            Self::Ticks(TickSync { range, .. }) => parts_of(range.until(today), today),
            Self::Factors(_) | Self::List(_) => vec![OpenRange::default()],
        }
    }
}
