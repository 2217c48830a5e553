// Upstream: none
// Downstream: many
// Role: The worker's vocabulary: codes, bars, commands, tasks, statuses, notifications. No I/O.

//! The types that all rooms share. Nothing here does I/O or knows a client library.

/// Adjustment factors.
pub mod adjust_factor;
/// Bars as sources give them and as they are stored.
pub mod bar;
/// The name-based identity of a bar.
pub mod bar_identity;
/// The exchanges' trading days.
pub mod calendar;
/// Stock codes.
pub mod code;
/// Control commands.
pub mod command;
/// Why a command is refused.
pub mod command_error;
/// A part of a split command.
pub mod command_part;
#[cfg(test)]
mod command_tests;
/// Rows a source should have returned.
pub mod expected_rows;
/// How long a bar lasts.
pub mod frequency;
/// Trading days without stored bars.
pub mod gaps;
/// The name and place of a worker.
pub mod identity;
/// What is known of the days of a security.
pub mod known_days;
/// What is known of securities and days.
pub mod market_facts;
/// Fields of a control message.
pub mod message;
/// Messages for people.
pub mod notification;
/// What operators ask of running workers.
pub mod operator_order;
/// How far prices may move in a day.
pub mod price_limit;
/// News of prices.
pub mod price_update;
/// Quality reports.
pub mod quality_report;
/// Totals of a quality report.
pub mod quality_summary;
/// A command as read from its topic.
pub mod raw_command;
/// Stock list and trading calendar as fetched.
pub mod reference_list;
/// The Shanghai wall clock.
pub mod shanghai_clock;
/// Calls, failures and rows by source.
pub mod source_stats;
/// The stock list.
pub mod stock_info;
/// Records of ended tasks.
pub mod sync_record;
/// Units of work and what came of them.
pub mod task;
/// The outcome of a finished task.
pub mod task_report;
/// Trades.
pub mod tick;
/// Which days of ticks a task fetches.
pub mod tick_backfill;
/// The calendar's days.
pub mod trade_day;
/// Lifecycle and status.
pub mod worker_status;

pub use adjust_factor::{AdjustFactor, FetchedFactor, Millionths, RawFactor};
pub use bar::{Bar, FetchedBar, Field, Hundredths, SourceId};
pub use code::{Code, CodeError, MAX_CODES};
pub use command::{
    BarSnapshot, BarSync, CodeSelection, ControlCommand, FactorCommand, Instruction, TickCommand, TickSync,
};
pub use command_error::CommandError;
pub use command_part::CommandPart;
pub use frequency::Frequency;
pub use identity::Identity;
pub use known_days::{DayNote, DayTotal, FactorChanges, KnownDays};
pub use market_facts::{Listing, MarketFacts};
pub use notification::{Level, Notification};
pub use operator_order::{OperatorOrder, OrderKind};
pub use price_update::PriceUpdate;
pub use quality_report::{CodeTrouble, JobKey, KeptTrouble, QualityReport};
pub use quality_summary::{Affected, Delays, QualitySummary};
pub use raw_command::RawCommand;
pub use source_stats::{SourceFigures, SourceStats};
pub use stock_info::{FetchedStock, Stock};
pub use sync_record::SyncRecord;
pub use task::{Anomaly, DateRange, OpenRange, Rule, Stage, Subject, SyncMode, TaskCounts};
pub use task_report::TaskReport;
pub use tick::{FetchedTick, Tick};
pub use trade_day::{FetchedTradeDay, TradeDay};
pub use worker_status::{Lifecycle, WorkerStatus};
