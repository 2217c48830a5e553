// Upstream: none
// Downstream: actors::domain::adjust_factor, actors::domain::bar, actors::domain::code, actors::domain::command, actors::domain::frequency, actors::domain::known_days, actors::domain::market_facts, actors::domain::notification, actors::domain::operator_order, actors::domain::price_update, actors::domain::stock_info, actors::domain::sync_record, actors::domain::task, actors::domain::tick, actors::domain::trade_day, actors::domain::worker_status
// Role: What the worker talks about: codes, bars, commands, tasks, statuses, notifications; no I/O.

//! The worker's vocabulary. Nothing here does I/O and nothing here knows a client library.

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
#[cfg(test)]
mod command_tests;
/// How long a bar lasts.
pub mod frequency;
/// What is known of the days of a security.
pub mod known_days;
/// What is known of securities and days.
pub mod market_facts;
/// Messages for people.
pub mod notification;
/// What operators ask of running workers.
pub mod operator_order;
/// How far prices may move in a day.
pub mod price_limit;
/// News of prices.
pub mod price_update;
/// The stock list.
pub mod stock_info;
/// Records of ended tasks.
pub mod sync_record;
/// Units of work and what came of them.
pub mod task;
/// Trades.
pub mod tick;
/// The calendar's days.
pub mod trade_day;
/// Lifecycle and status.
pub mod worker_status;

pub use adjust_factor::{AdjustFactor, FetchedFactor, Millionths, RawFactor};
pub use bar::{Bar, FetchedBar, Field, Hundredths, SourceId};
pub use code::{Code, CodeError};
pub use command::{
    BarRequest, BarSnapshot, CodeSelection, CommandError, ControlCommand, FactorCommand, Instruction, TickCommand,
    TickRequest,
};
pub use frequency::Frequency;
pub use known_days::{DayNote, DayTotal, FactorChanges, KnownDays};
pub use market_facts::{Listing, MarketFacts};
pub use notification::{Level, Notification};
pub use operator_order::{OperatorOrder, OrderKind};
pub use price_update::PriceUpdate;
pub use stock_info::{FetchedStock, Stock};
pub use sync_record::SyncRecord;
pub use task::{Anomaly, DateRange, OpenRange, Rule, Stage, Subject, SyncMode, TaskCounts};
pub use tick::{FetchedTick, Tick};
pub use trade_day::{FetchedTradeDay, TradeDay};
pub use worker_status::{Lifecycle, WorkerStatus};
