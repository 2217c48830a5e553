// Upstream: backfill, estimate, feed, pieces, plan
// Downstream: actors
// Role: What a backfill is asked for: securities, kind, days.

use actors::domain::calendar::TradingCalendar;
use actors::domain::{Code, DateRange, Frequency};
use actors::ports::DataKind;

/// The kind of data of a backfill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Bars.
    Bar,
    /// Ticks.
    Tick,
    /// Adjustment factors; always the whole series of a code.
    Adjustfactor,
}

/// The parameters of a backfill.
#[derive(Debug, Clone)]
pub struct Request {
    /// The securities, without duplicates.
    pub codes: Vec<Code>,
    /// The kind of data.
    pub kind: Kind,
    /// The frequency of bars.
    pub frequency: Frequency,
    /// The days, both ends included.
    pub range: DateRange,
    /// Whether fetched rows replace stored rows.
    pub force: bool,
}

impl Request {
    /// The kind of data that a source is asked for.
    pub fn data_kind(&self) -> DataKind {
        match self.kind {
            Kind::Bar => DataKind::of(self.frequency),
            Kind::Tick => DataKind::Ticks,
            Kind::Adjustfactor => DataKind::Factors,
        }
    }

    /// The name of the data, as it begins the name of a part.
    pub fn what(&self) -> &'static str {
        match self.kind {
            Kind::Bar => self.frequency.as_str(),
            Kind::Tick => "tick",
            Kind::Adjustfactor => "adjustfactor",
        }
    }

    /// The range in its smallest parts that can be done by themselves: a trading day with the closed days after it. A
    /// series of factors is one part, because its values depend on each other.
    pub fn units(&self, calendar: &TradingCalendar) -> Vec<DateRange> {
        match self.kind {
            Kind::Bar | Kind::Tick => calendar.cut(self.range, 1),
            Kind::Adjustfactor => vec![self.range],
        }
    }

    /// Maximum number of rows of one security in one unit.
    pub fn rows_per_unit(&self, num_days: usize) -> usize {
        match self.kind {
            Kind::Bar => self.frequency.most_bars(1),
            Kind::Tick => TICKS_PER_DAY,
            Kind::Adjustfactor => num_days.max(1),
        }
    }
}

/// Trades of a security on a busy day.
const TICKS_PER_DAY: usize = 4_800;
