// Upstream: many
// Downstream: domain
// Role: The kinds of market data.

use std::fmt;

use crate::domain::Frequency;

/// A kind of market data that a source may provide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DataKind {
    /// Daily bars.
    Bars,
    /// Minute bars.
    MinuteBars,
    /// Ticks (single trades).
    Ticks,
    /// Adjustment factors.
    Factors,
    /// The list of securities.
    Stocks,
    /// The trading calendar.
    TradeDays,
}

impl DataKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Bars, Self::MinuteBars, Self::Ticks, Self::Factors, Self::Stocks, Self::TradeDays];

    /// The kind of the bars of a frequency.
    pub fn of(frequency: Frequency) -> Self {
        if frequency == Frequency::Day { Self::Bars } else { Self::MinuteBars }
    }

    /// The setting in section `sources` that lists the sources of this kind.
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
