// Upstream: actor, open_command
// Downstream: domain
// Role: What a task does.

use crate::domain::reference_list::ListKind;
use crate::domain::tick_backfill::{part_until, parts_of};
use crate::domain::{BarSync, OpenRange, SyncMode, TickSync, shanghai_clock};

/// What a task does.
#[derive(Debug, Clone, Copy)]
pub enum Work {
    /// Bars.
    Bars(BarSync),
    /// Adjustment factors.
    Factors(SyncMode),
    /// Ticks.
    Ticks(TickSync),
    /// A list as a whole.
    List(ListKind),
}

impl Work {
    /// Ginkgo's word for what is synchronised.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Bars(_) => "bars",
            Self::Factors(_) => "adjustfactor",
            Self::Ticks(_) => "ticks",
            Self::List(ListKind::Stocks) => "stockinfo",
            Self::List(ListKind::TradeDays) => "trade_day",
        }
    }

    /// The command's word.
    pub fn command(self) -> &'static str {
        match self {
            Self::Bars(_) => "bar_snapshot",
            Self::Factors(_) => "adjustfactor",
            Self::Ticks(_) => "tick",
            Self::List(ListKind::Stocks) => "stockinfo",
            Self::List(ListKind::TradeDays) => "trade_day",
        }
    }

    /// All that has to be done for it: with bars that the caller wants adjusted, the factors that adjust them.
    pub fn with_what_it_needs(self) -> Vec<Self> {
        match self {
            Self::Bars(BarSync { adjusted: true, mode, .. }) => vec![self, Self::Factors(mode)],
            _ => vec![self],
        }
    }

    /// How: a list is always taken as a whole.
    pub fn mode(self) -> SyncMode {
        match self {
            Self::Bars(bars) => bars.mode,
            Self::Factors(mode) => mode,
            Self::Ticks(TickSync { full: false, overwrite: false, .. }) => SyncMode::Incremental,
            Self::Ticks(_) | Self::List(_) => SyncMode::Replace,
        }
    }

    /// The parts of a code's days that a task each is for.
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
