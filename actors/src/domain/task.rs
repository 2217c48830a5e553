// Upstream: many
// Downstream: code
// Role: A unit of work (one code of one command): its range, its mode, what came of it.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{NaiveDate, NaiveDateTime};

use crate::domain::Code;

/// Days from `start` to `end`, both included, Shanghai calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DateRange {
    /// First day.
    pub start: NaiveDate,
    /// Last day.
    pub end: NaiveDate,
}

impl DateRange {
    /// The first trading day of an A-share exchange (Shanghai, 19 December 1990): no bar can be older.
    pub const FIRST_TRADING_DAY: NaiveDate = match NaiveDate::from_ymd_opt(1990, 12, 19) {
        Some(day) => day,
        None => NaiveDate::MIN,
    };

    /// Whether `day` lies inside.
    pub fn contains(&self, day: NaiveDate) -> bool {
        self.start <= day && day <= self.end
    }

    /// Midnight of the first day and the last second of the last day.
    pub fn timestamps(&self) -> (NaiveDateTime, NaiveDateTime) {
        let midnight = self.start.and_time(chrono::NaiveTime::MIN);
        let next = self.end.succ_opt().unwrap_or(self.end).and_time(chrono::NaiveTime::MIN);
        (midnight, next - chrono::Duration::seconds(1))
    }
}

impl fmt::Display for DateRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// Days of which either end may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenRange {
    /// First day, if there is one.
    pub start: Option<NaiveDate>,
    /// Last day, if there is one.
    pub end: Option<NaiveDate>,
}

impl OpenRange {
    /// Without the days on which nothing can have been traded: before the first trading day of all, and after `today`. An
    /// open end stays open.
    pub fn until(self, today: NaiveDate) -> Self {
        let start = self.start.map(|start| start.max(DateRange::FIRST_TRADING_DAY));
        Self { start, end: self.end.map(|end| end.min(today)) }
    }
}

/// What a task is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// One security.
    Code(Code),
    /// The list of securities.
    StockList,
    /// The exchanges' calendar.
    Calendar,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => f.write_str(code.as_str()),
            Self::StockList => f.write_str("stock list"),
            Self::Calendar => f.write_str("calendar"),
        }
    }
}

/// Where a task is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waits for a free slot.
    Waiting,
    /// Its rows are being fetched, or wait for room in memory.
    Fetching,
    /// Its rows are being checked.
    Checking,
    /// Its rows wait for their batch.
    Buffered,
    /// Its rows are being written.
    Writing,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Fetching, Self::Checking, Self::Buffered, Self::Writing];

    /// The stage's name in figures.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::Checking => "checking",
            Self::Buffered => "buffered",
            Self::Writing => "writing",
        }
    }

    /// The actor that holds the task meanwhile.
    pub fn actor(self) -> &'static str {
        match self {
            Self::Waiting => "command_router",
            Self::Fetching => "fetcher",
            Self::Checking => "validator",
            Self::Buffered | Self::Writing => "batch_writer",
        }
    }
}

/// What fetched rows do to stored ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Only rows whose key is not stored yet are inserted.
    Incremental,
    /// The stored rows of the range become exactly the fetched ones.
    Replace,
}

/// The rule a row broke. The names are part of reports and counters: do not rename them lightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A field is null, empty or NaN.
    MissingValue,
    /// A field holds something that is no value of its kind.
    UnreadableValue,
    /// A price is zero or negative.
    PriceNotPositive,
    /// An adjustment factor is zero or negative.
    FactorNotPositive,
    /// The highest price is below the opening or closing price.
    HighBelowOpenOrClose,
    /// The lowest price is above the opening or closing price.
    LowAboveOpenOrClose,
    /// The volume is negative.
    VolumeNegative,
    /// The amount is negative.
    AmountNegative,
    /// A second, different row for the same time in one answer.
    DuplicateTimestamp,
    /// A second row for the same key in a list.
    DuplicateKey,
    /// A daily bar that is not at midnight, or a time that was not asked for, before the exchanges' first day or in the future.
    ImplausibleTimestamp,
    /// A value that its column cannot hold.
    ValueOutOfRange,
    /// A price beyond the daily limit of its board.
    PriceLimit,
    /// A bar on a day on which the exchanges did not trade.
    NonTradingDay,
    /// Amount divided by volume lies outside the bar's prices.
    AveragePrice,
    /// Bars that repeat each other in every value.
    StaleRepeat,
    /// A minute bar that ends where none of its length ends.
    MinuteGrid,
    /// A row of a day before the security was listed.
    BeforeListing,
    /// A row of a day after the security was taken off the list.
    AfterDelisting,
    /// The price of reference is not the close before, and no change of the adjustment factor explains it.
    ExRight,
    /// A price of a share with more than two decimals.
    PriceDecimals,
    /// A trade outside the sessions of its day.
    TickSession,
    /// A trade that is older than the one before it.
    TickOrder,
    /// An adjustment factor below that of an earlier day.
    FactorDecreases,
    /// Minute bars of a whole day that do not make up the stored daily bar.
    DaySum,
    /// Another source has another value, or one of two sources lacks the row.
    SourceDisagreement,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 26] = [
        Self::MissingValue,
        Self::UnreadableValue,
        Self::PriceNotPositive,
        Self::FactorNotPositive,
        Self::HighBelowOpenOrClose,
        Self::LowAboveOpenOrClose,
        Self::VolumeNegative,
        Self::AmountNegative,
        Self::DuplicateTimestamp,
        Self::DuplicateKey,
        Self::ImplausibleTimestamp,
        Self::ValueOutOfRange,
        Self::PriceLimit,
        Self::NonTradingDay,
        Self::AveragePrice,
        Self::StaleRepeat,
        Self::MinuteGrid,
        Self::BeforeListing,
        Self::AfterDelisting,
        Self::ExRight,
        Self::PriceDecimals,
        Self::TickSession,
        Self::TickOrder,
        Self::FactorDecreases,
        Self::DaySum,
        Self::SourceDisagreement,
    ];

    /// The rule's name in reports and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingValue => "missing_value",
            Self::UnreadableValue => "unreadable_value",
            Self::PriceNotPositive => "price_not_positive",
            Self::FactorNotPositive => "factor_not_positive",
            Self::HighBelowOpenOrClose => "high_below_open_or_close",
            Self::LowAboveOpenOrClose => "low_above_open_or_close",
            Self::VolumeNegative => "volume_negative",
            Self::AmountNegative => "amount_negative",
            Self::DuplicateTimestamp => "duplicate_timestamp",
            Self::DuplicateKey => "duplicate_key",
            Self::ImplausibleTimestamp => "implausible_timestamp",
            Self::ValueOutOfRange => "value_out_of_range",
            Self::PriceLimit => "price_limit",
            Self::NonTradingDay => "non_trading_day",
            Self::AveragePrice => "average_price",
            Self::StaleRepeat => "stale_repeat",
            Self::MinuteGrid => "minute_grid",
            Self::BeforeListing => "before_listing",
            Self::AfterDelisting => "after_delisting",
            Self::ExRight => "ex_right",
            Self::PriceDecimals => "price_decimals",
            Self::TickSession => "tick_session",
            Self::TickOrder => "tick_order",
            Self::FactorDecreases => "factor_decreases",
            Self::DaySum => "day_sum",
            Self::SourceDisagreement => "source_disagreement",
        }
    }
}

/// One row that broke a rule: which, what was wrong, with the value as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// The security.
    pub code: Code,
    /// The row's time where it could be read.
    pub timestamp: Option<NaiveDateTime>,
    /// The column.
    pub field: &'static str,
    /// The value as text, shortened.
    pub value: String,
    /// The rule it broke.
    pub rule: Rule,
}

/// What became of a task's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Rows that should have come, by the exchanges' calendar; 0 where nothing tells.
    pub expected: u64,
    /// Those of them that did not come.
    pub missing: u64,
    /// Rows the source gave.
    pub fetched: u64,
    /// Rows newly stored (inserted or in place of others).
    pub written: u64,
    /// Rows that were stored already, unchanged.
    pub unchanged: u64,
    /// Stored rows that were removed or replaced.
    pub replaced: u64,
    /// Invalid rows by the rule they broke.
    pub skipped: BTreeMap<Rule, u64>,
    /// Rows that were kept though they broke a rule of the market, by that rule.
    pub warned: BTreeMap<Rule, u64>,
    /// Rows that were compared with another source's.
    pub compared: u64,
    /// Rows that should have been, but the other source failed.
    pub not_compared: u64,
}

impl TaskCounts {
    /// Invalid rows, all rules together.
    pub fn num_skipped(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Adds another task's counts.
    pub fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.missing += other.missing;
        self.fetched += other.fetched;
        self.written += other.written;
        self.unchanged += other.unchanged;
        self.replaced += other.replaced;
        self.compared += other.compared;
        self.not_compared += other.not_compared;
        for (rule, count) in &other.skipped {
            *self.skipped.entry(*rule).or_default() += count;
        }
        for (rule, count) in &other.warned {
            *self.warned.entry(*rule).or_default() += count;
        }
    }
}
