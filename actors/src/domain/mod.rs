// Upstream: none
// Downstream: many
// Role: The domain types of the worker: codes, bars, commands, tasks, statuses and notifications. No I/O.

//! The types that all modules share. They perform no I/O and depend on no client library.

/// Adjustment factors.
pub mod adjust_factor;
/// Bars as fetched from a source and as stored.
pub mod bar;
/// The name-based UUID of a bar.
pub mod bar_identity;
/// The trading calendar of the exchanges.
pub mod calendar;
/// The wall clock.
pub mod clock;
/// Stock codes.
pub mod code;
/// Control commands.
pub mod command;
/// Reasons for rejecting a command.
pub mod command_error;
/// The commands with their parameters.
pub mod command_params;
/// A part of a split command.
pub mod command_part;
#[cfg(test)]
mod command_tests;
/// Numbers with their nouns.
pub mod count_text;
/// The stored days of a security by month.
pub mod coverage;
/// Securities that a stock list no longer names.
pub mod departures;
#[cfg(test)]
mod departures_tests;
/// The number of rows a source should return.
pub mod expected_rows;
/// Bar frequencies.
pub mod frequency;
/// Trading days without stored bars.
pub mod gaps;
/// The name and address of a worker.
pub mod identity;
/// Context data for the days of one security.
pub mod known_days;
/// Listings and the trading calendar.
pub mod market_facts;
/// Fields of a control message.
pub mod message;
/// Calendar months.
pub mod month;
/// Notifications to people.
pub mod notification;
/// Operator orders to running workers.
pub mod operator_order;
/// Prices with up to four decimals.
pub mod price;
/// Daily price limits.
pub mod price_limit;
/// Price update events.
pub mod price_update;
/// Quality reports.
pub mod quality_report;
/// Totals of a quality report.
pub mod quality_summary;
/// Random UUIDs.
pub mod random_id;
/// A command as read from its topic.
pub mod raw_command;
/// The stock list and the trading calendar, as fetched and as checked.
pub mod reference_list;
/// The mark of a command that was sent again from its dead letter.
pub mod replay_mark;
/// The versions of rows that replaced others.
pub mod row_version;
/// The kind of a security by its number.
pub mod security_kind;
/// The Shanghai wall clock.
pub mod shanghai_clock;
/// Calls, failures and rows per source.
pub mod source_stats;
/// The stock list.
pub mod stock_info;
/// Records of ended tasks.
pub mod sync_record;
/// Tasks and their results.
pub mod task;
/// The outcome of a finished task.
pub mod task_report;
/// Ticks (single trades).
pub mod tick;
/// The days of ticks that a task fetches.
pub mod tick_backfill;
/// The ids under which a sender follows a request.
pub mod trace_ids;
/// Days of the trading calendar.
pub mod trade_day;
/// The lifecycle and the status of the worker.
pub mod worker_status;

pub use adjust_factor::{AdjustFactor, FetchedFactor, Millionths, RawFactor};
pub use bar::{Bar, FetchedBar, Field, Hundredths, SourceId};
pub use code::{Code, CodeError, MAX_CODES};
pub use command::{
    BarSnapshot, BarSync, CodeSelection, ControlCommand, FactorCommand, Instruction, TickCommand, TickSync,
};
pub use command_error::CommandError;
pub use command_part::CommandPart;
pub use count_text::{counted, counted_len};
pub use frequency::Frequency;
pub use identity::Identity;
pub use known_days::{DayNote, DayTotal, FactorChanges, KnownDays};
pub use market_facts::{Listing, MarketFacts};
pub use notification::{Level, Notification};
pub use operator_order::{OperatorOrder, OrderKind};
pub use price::{Price, PriceFormat};
pub use price_update::PriceUpdate;
pub use quality_report::{CodeIssue, JobKey, QualityReport, StoredIssue};
pub use quality_summary::{Affected, Delays, QualitySummary};
pub use raw_command::RawCommand;
pub use replay_mark::ReplayMark;
pub use source_stats::{SourceFigures, SourceStats};
pub use stock_info::{FetchedStock, Stock};
pub use sync_record::SyncRecord;
pub use task::{Anomaly, DateRange, OpenRange, Rule, Stage, Subject, SyncMode, TaskCounts};
pub use task_report::TaskReport;
pub use tick::{FetchedTick, Tick};
pub use trace_ids::TraceIds;
pub use trade_day::{FetchedTradeDay, TradeDay};
pub use worker_status::{Lifecycle, WorkerStatus};
