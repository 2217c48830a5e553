// Upstream: many
// Downstream: code
// Role: A task (one code of one command): its range, mode, stages, rules and row counts.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};

use crate::domain::Code;

/// A range of Shanghai days, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateRange {
    /// First day.
    pub start: NaiveDate,
    /// Last day.
    pub end: NaiveDate,
}

impl DateRange {
    /// The first trading day of an A-share exchange (Shanghai, 19 December 1990). No older bar exists.
    pub const FIRST_TRADING_DAY: NaiveDate = match NaiveDate::from_ymd_opt(1990, 12, 19) {
        Some(day) => day,
        None => NaiveDate::MIN,
    };

    /// Whether `day` is in the range.
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

/// A range of days whose ends may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenRange {
    /// First day; `None` if open.
    pub start: Option<NaiveDate>,
    /// Last day; `None` if open.
    pub end: Option<NaiveDate>,
}

impl OpenRange {
    /// The range without days that cannot have trades: those before the first trading day of the exchanges and those
    /// after `today`. An open end stays open.
    pub fn until(self, today: NaiveDate) -> Self {
        let start = self.start.map(|start| start.max(DateRange::FIRST_TRADING_DAY));
        Self { start, end: self.end.map(|end| end.min(today)) }
    }
}

/// The subject of a task.
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

/// The processing stage of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for a free fetch slot.
    Waiting,
    /// Its rows are being fetched, or wait for the row budget.
    Fetching,
    /// Its rows are being checked.
    Checking,
    /// Its rows are waiting for a batch.
    Buffered,
    /// Its rows are being written.
    Writing,
}

impl Stage {
    /// All stages, in order.
    pub const ALL: [Self; 5] = [Self::Waiting, Self::Fetching, Self::Checking, Self::Buffered, Self::Writing];

    /// The stage's name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Fetching => "fetching",
            Self::Checking => "checking",
            Self::Buffered => "buffered",
            Self::Writing => "writing",
        }
    }

    /// The actor that holds the task in this stage.
    pub fn actor(self) -> &'static str {
        match self {
            Self::Waiting => "command_router",
            Self::Fetching => "fetcher",
            Self::Checking => "validator",
            Self::Buffered | Self::Writing => "batch_writer",
        }
    }
}

/// How fetched rows affect stored ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Only rows whose key is not stored yet are inserted.
    Incremental,
    /// The fetched rows replace all stored rows of the range.
    Replace,
}

/// A validation rule. The names are part of reports and metrics, so do not rename them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// A field is null, empty or NaN.
    MissingValue,
    /// A field cannot be parsed as its type.
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
    /// A second, different row for the same timestamp in one answer.
    DuplicateTimestamp,
    /// A second row for the same key in a list.
    DuplicateKey,
    /// A daily bar that is not at midnight, or a timestamp outside the requested range, before the first trading day of
    /// the exchanges or in the future.
    ImplausibleTimestamp,
    /// A value that its column cannot hold.
    ValueOutOfRange,
    /// A price beyond the daily price limit of its board.
    PriceLimit,
    /// A row on a day on which the exchanges were closed.
    NonTradingDay,
    /// Amount divided by volume is outside the price range of the bar.
    AveragePrice,
    /// Consecutive bars that are equal in all values.
    StaleRepeat,
    /// A minute bar whose end is not on the grid of its frequency.
    MinuteGrid,
    /// A row dated before the listing of the security.
    BeforeListing,
    /// A row dated after the delisting of the security.
    AfterDelisting,
    /// The reference price is not the previous close, and no change of the adjustment factor explains the difference.
    ExRight,
    /// A share price with more than two decimals.
    PriceDecimals,
    /// A price with more decimals than the columns of the store.
    PriceRounded,
    /// A trade outside the trading sessions of its day.
    TickSession,
    /// A trade that is older than the previous one.
    TickOrder,
    /// An adjustment factor that is lower than that of an earlier day.
    FactorDecreases,
    /// Minute bars of a full day that do not add up to the stored daily bar.
    DaySum,
    /// A bar of which the source offers only some values. It is not stored, and a stored row stays.
    NotOffered,
    /// Another source has a different value, or one of the two sources lacks the row.
    SourceDisagreement,
    /// A stored security that the stock list no longer names.
    Unlisted,
    /// A stored security that has another code now.
    Renumbered,
    /// A stock list that lacks too many stored securities to be complete.
    IncompleteList,
}

impl Rule {
    /// All rules.
    pub const ALL: [Self; 31] = [
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
        Self::PriceRounded,
        Self::TickSession,
        Self::TickOrder,
        Self::FactorDecreases,
        Self::DaySum,
        Self::NotOffered,
        Self::SourceDisagreement,
        Self::Unlisted,
        Self::Renumbered,
        Self::IncompleteList,
    ];

    /// The rule's name in reports and metrics.
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
            Self::PriceRounded => "price_rounded",
            Self::TickSession => "tick_session",
            Self::TickOrder => "tick_order",
            Self::FactorDecreases => "factor_decreases",
            Self::DaySum => "day_sum",
            Self::NotOffered => "not_offered",
            Self::SourceDisagreement => "source_disagreement",
            Self::Unlisted => "unlisted",
            Self::Renumbered => "renumbered",
            Self::IncompleteList => "incomplete_list",
        }
    }
}

/// A row that broke a rule, with the field and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anomaly {
    /// The security.
    pub code: Code,
    /// The row's timestamp, if it is readable.
    pub timestamp: Option<NaiveDateTime>,
    /// The field name.
    pub field: &'static str,
    /// The value as text, shortened.
    pub value: String,
    /// The broken rule.
    pub rule: Rule,
}

impl Anomaly {
    /// Day or time, field and value, such as `2024-01-13 open -1`.
    pub fn finding(&self) -> String {
        let time = self.timestamp.map(|time| match time.time() == NaiveTime::MIN {
            true => format!("{} ", time.date()),
            false => format!("{} ", time.format("%Y-%m-%d %H:%M:%S")),
        });
        format!("{}{} {}", time.unwrap_or_default(), self.field, self.value).trim_end().to_owned()
    }
}

/// Row counts of a task, by outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskCounts {
    /// Rows expected according to the trading calendar; 0 if no number is known.
    pub expected: u64,
    /// Expected rows that the source did not return.
    pub missing: u64,
    /// Rows returned by the source.
    pub fetched: u64,
    /// Rows newly stored (inserted, or replacing others).
    pub written: u64,
    /// Rows that were already stored with the same values.
    pub unchanged: u64,
    /// Stored rows that were removed or replaced.
    pub replaced: u64,
    /// Skipped invalid rows, per broken rule.
    pub skipped: BTreeMap<Rule, u64>,
    /// Rows that broke a market rule but were kept, per broken rule.
    pub warned: BTreeMap<Rule, u64>,
    /// Rows compared with another source.
    pub compared: u64,
    /// Rows that were not compared because the other source failed.
    pub not_compared: u64,
    /// Tasks whose kind of security no configured source offers.
    pub not_offered: u64,
}

impl TaskCounts {
    /// Skipped rows of all rules together.
    pub fn num_skipped(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Adds the counts of another task.
    pub fn add(&mut self, other: &Self) {
        self.expected += other.expected;
        self.missing += other.missing;
        self.fetched += other.fetched;
        self.written += other.written;
        self.unchanged += other.unchanged;
        self.replaced += other.replaced;
        self.compared += other.compared;
        self.not_compared += other.not_compared;
        self.not_offered += other.not_offered;
        for (rule, count) in &other.skipped {
            *self.skipped.entry(*rule).or_default() += count;
        }
        for (rule, count) in &other.warned {
            *self.warned.entry(*rule).or_default() += count;
        }
    }
}
