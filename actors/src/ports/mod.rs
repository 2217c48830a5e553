// Upstream: actors::command_handover, actors::command_router, actors::config_actor, actors::fact_cache, actors::factor_flush, actors::factor_plan, actors::failure_alerts, actors::fetcher, actors::flush, actors::heartbeat, actors::journal, actors::last_closes, actors::latest_times, actors::lifecycle, actors::list_merge, actors::observation, actors::ports::report_store, actors::ports::tick_store, actors::price_events, actors::quality_monitor, actors::store_insert, actors::store_outage, actors::store_tries, actors::supervisor, actors::tick_write, actors::validator, actors::worker_event, actors::write_plan, actors::write_plan_tests, backfill::feed, benches::pipeline::write_path, cli::gaps, clickhouse::bars, clickhouse::errors, clickhouse::factors, clickhouse::reports, clickhouse::rows, clickhouse::statements, clickhouse::stored_days, clickhouse::table, clickhouse::ticks, http::answers, kafka::consumer_context, kafka::feed, kafka::intake, kafka::orders, kafka::outbox, memory_heartbeats, metrics::counted, mysql::stock_info, mysql::store, mysql::trade_day, redis::heartbeat, reload, service_hub, sources::databases::clickhouse, sqlite::factors, sqlite::reports, sqlite::store, sqlite::ticks, standalone::error, switch, tests::it::sync_records, worker_view
// Downstream: actors::command_split, actors::delivery, actors::domain::adjust_factor, actors::domain::bar, actors::domain::code, actors::domain::frequency, actors::domain::known_days, actors::domain::market_facts, actors::domain::operator_order, actors::domain::price_update, actors::domain::stock_info, actors::domain::sync_record, actors::domain::task, actors::domain::trade_day, actors::ports::market_source, actors::ports::report_store, actors::ports::tick_store, actors::settings
// Role: The traits through which the actors reach the outside, with their requests and errors.

//! Every adapter in `src/` implements one of these. All errors are written for the operator who reads them at night:
//! what failed, where, with which value, what to do.

mod market_source;
mod report_store;
mod tick_store;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use crate::command_split::CommandPart;
use crate::delivery::{CommandReceiver, RawCommand};
use crate::domain::{
    AdjustFactor, Bar, Code, DateRange, DayTotal, FactorChanges, Frequency, Hundredths, Listing, Millionths,
    OperatorOrder, PriceUpdate, RawFactor, Stock, SyncRecord, TradeDay,
};
use crate::settings::ActorSettings;

pub use market_source::{
    BarRequest, DataKind, MarketSource, MarketSources, NotedBars, NotedDay, NotedRow, SourceError, SourceErrorKind,
};
pub use report_store::{CodeHistory, ReportBatch, ReportStore};
pub use tick_store::{StoredTick, TickBatch, TickStore};

/// Where commands come from: a consumer group's member, with a thread of its own.
#[async_trait]
pub trait CommandFeed: Send + Sync {
    /// Begins to hand commands to `receiver`. Called once.
    fn start(&self, receiver: CommandReceiver) -> Result<(), FeedError>;

    /// Takes no further commands; those handed out go on.
    fn stop_intake(&self);

    /// Commits what is resolved and leaves the group. Waits at most `deadline`.
    async fn close(&self, deadline: Duration) -> Result<(), FeedError>;

    /// What the feed is doing just now.
    fn state(&self) -> FeedState;

    /// The assigned partitions, by topic and number.
    fn partitions(&self) -> Vec<PartitionState>;
}

/// Where operators' orders come from that every instance hears, beside the commands of the group.
pub trait OrderFeed: Send + Sync {
    /// Begins to hand orders to `receiver`, those sent from now on. Called once.
    fn start(&self, receiver: Recipient<OrderReceived>) -> Result<(), FeedError>;

    /// Whether an order that is sent now is heard.
    fn hears(&self) -> bool;

    /// Ends it.
    fn close(&self);
}

/// An order arrived.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct OrderReceived(pub OperatorOrder);

/// A look at a feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedState {
    /// Whether the group has given this member its part (which may be empty).
    pub joined: bool,
    /// Partitions assigned.
    pub num_partitions: usize,
    /// Commands handed out and not settled.
    pub num_unresolved: usize,
    /// Since the feed's thread last went round its loop.
    pub since_last_poll: Duration,
    /// Consumers rebuilt by the watchdog.
    pub num_rebuilds: u64,
}

/// One assigned partition. What the broker has said is some seconds old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// The watermark: everything before it is resolved. Nothing is resolved yet: `None`.
    pub position: Option<i64>,
    /// What the group has committed, if anything.
    pub committed: Option<i64>,
    /// The offset of the next record to come, once the broker has told it.
    pub end: Option<i64>,
    /// Records that are not resolved, once it is known.
    pub lag: Option<u64>,
    /// Commands handed out and not resolved.
    pub num_unresolved: usize,
}

/// A feed that cannot do what it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("command feed {feed}: {what}: {reason}")]
pub struct FeedError {
    /// Broker and group.
    pub feed: String,
    /// What was tried.
    pub what: &'static str,
    /// Why it failed.
    pub reason: String,
}

/// Where the configuration comes from.
#[async_trait]
pub trait ConfigSource: Send + Sync {
    /// Reads the configuration anew, checks it, and builds what its changes need; nothing takes effect yet.
    async fn prepare(&self) -> Result<PreparedConfig, ConfigRefused>;

    /// How long a stop may take, as the configuration in force says.
    fn drain_deadline(&self) -> Duration;
}

/// A configuration that can be put in force.
pub struct PreparedConfig {
    /// The actors' part.
    pub settings: ActorSettings,
    /// The paths of the settings that differ from those in force; none: there is nothing to do.
    pub changed: Vec<String>,
    /// Puts the rest in force, at once and without failing.
    pub install: Box<dyn FnOnce() + Send>,
}

/// A configuration that cannot be put in force.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", problems.join("; "))]
pub struct ConfigRefused {
    /// Everything that is wrong: place, setting, reason; no secrets.
    pub problems: Vec<String>,
}

/// Where bars are kept.
#[async_trait]
pub trait BarStore: Send + Sync {
    /// A number that changes when another store takes this one's place: what was looked up in the one is not done to the other.
    fn generation(&self) -> u64 {
        0
    }

    /// Creates the table where it is missing, or checks the one that is there.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Whether an identical batch with the same token is taken once only, however often it is sent.
    fn deduplicates_retries(&self) -> bool;

    /// The newest stored timestamp of every code, in one query.
    async fn latest(&self, frequency: Frequency) -> Result<HashMap<Code, NaiveDateTime>, StoreError>;

    /// The newest stored daily close of every code that has one since a day, and its day, in one query.
    async fn last_closes(&self, since: NaiveDate) -> Result<HashMap<Code, (NaiveDate, Hundredths)>, StoreError>;

    /// The stored daily bars of one code in a range of days, oldest first, each once.
    async fn day_totals(&self, code: Code, range: DateRange) -> Result<Vec<DayTotal>, StoreError>;

    /// The keys and identities of the stored bars in all of `spans`, in one query (or as few as its length allows).
    /// May return bars outside the spans; every copy of a doubled bar is returned.
    async fn stored(&self, frequency: Frequency, spans: &[KeySpan]) -> Result<Vec<StoredBar>, StoreError>;

    /// Writes all rows or fails; see [`StoreError::outcome_is_known`].
    async fn insert(&self, batch: &BarBatch) -> Result<(), StoreError>;

    /// Removes exactly these rows.
    async fn remove(&self, frequency: Frequency, rows: &[StoredBar]) -> Result<(), StoreError>;
}

/// A part of the key space: one code, from and to a timestamp, both included. `None` leaves the end open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySpan {
    /// The security.
    pub code: Code,
    /// From.
    pub from: Option<NaiveDateTime>,
    /// To.
    pub to: Option<NaiveDateTime>,
}

/// A stored bar's key and identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoredBar {
    /// The security.
    pub code: Code,
    /// Shanghai wall clock.
    pub timestamp: NaiveDateTime,
    /// Its identity as stored; the Python worker's rows have random ones.
    pub uuid: String,
}

/// A bar with its identity, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedBar {
    /// The bar.
    pub bar: Bar,
    /// Its identity; see [`crate::domain::bar_identity`].
    pub uuid: String,
}

/// Rows that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarBatch {
    /// The same for every retry of this batch, and for no other one.
    pub token: String,
    /// The rows.
    pub rows: Arc<Vec<IdentifiedBar>>,
}

/// Why the store did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{store}: {operation} failed ({class}): {reason}")]
pub struct StoreError {
    /// Which store: kind, address and table; no credentials.
    pub store: String,
    /// What was tried, with the number of rows.
    pub operation: String,
    /// What follows from it.
    pub class: StoreErrorClass,
    /// The server's or the client's words.
    pub reason: String,
}

/// What follows from a store's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorClass {
    /// The server is busy, starting, read-only or out of memory: the same request later.
    Transient,
    /// No answer: it may have been done or not. The same request with the same token.
    OutcomeUnknown,
    /// The rows lie in more partitions than one INSERT may touch: smaller batches, partition by partition.
    TooManyPartitions,
    /// The table is not what the worker needs, or the rows do not fit it.
    Schema,
    /// Credentials or rights are missing.
    Access,
    /// Anything else the server refuses.
    Refused,
}

impl std::fmt::Display for StoreErrorClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl StoreErrorClass {
    /// The class's name in logs and counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::OutcomeUnknown => "outcome unknown",
            Self::TooManyPartitions => "too many partitions",
            Self::Schema => "schema",
            Self::Access => "access",
            Self::Refused => "refused",
        }
    }

    /// Whether waiting alone may help; otherwise an operator must act, and the worker keeps trying, slowly.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Transient | Self::OutcomeUnknown)
    }
}

/// Where adjustment factors are kept.
#[async_trait]
pub trait FactorStore: Send + Sync {
    /// A number that changes when another store takes this one's place: what was looked up in the one is not done to the other.
    fn generation(&self) -> u64 {
        0
    }

    /// Creates the table where it is missing, or checks the one that is there.
    async fn prepare(&self) -> Result<(), StoreError>;

    /// Whether an identical batch with the same token is taken once only, however often it is sent.
    fn deduplicates_retries(&self) -> bool;

    /// The newest stored timestamp of every code, in one query.
    async fn latest(&self) -> Result<HashMap<Code, NaiveDateTime>, StoreError>;

    /// The ends of the stored series of these codes; a code without rows has none.
    async fn ends(&self, codes: &[Code]) -> Result<HashMap<Code, SeriesEnds>, StoreError>;

    /// The whole stored series of these codes, every copy of a doubled row included.
    async fn series(&self, codes: &[Code]) -> Result<Vec<StoredFactor>, StoreError>;

    /// When the stored series of a code changed; `None` where nothing is stored.
    async fn changes(&self, code: Code) -> Result<Option<FactorChanges>, StoreError>;

    /// Writes all rows or fails.
    async fn insert(&self, batch: &FactorBatch) -> Result<(), StoreError>;

    /// Removes exactly these rows.
    async fn remove(&self, rows: &[StoredFactor]) -> Result<(), StoreError>;
}

/// The ends of a stored series of factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesEnds {
    /// The oldest raw factor.
    pub first: Millionths,
    /// The newest raw factor.
    pub last: Millionths,
    /// When the newest one is of.
    pub last_at: NaiveDateTime,
}

/// A stored factor's key, raw value and identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFactor {
    /// The security.
    pub code: Code,
    /// The raw factor.
    pub raw: RawFactor,
    /// Its identity as stored; the Python worker's rows have random ones.
    pub uuid: String,
}

/// Factors that are written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FactorBatch {
    /// The same for every retry of this batch, and for no other one.
    pub token: String,
    /// The rows.
    pub rows: Vec<AdjustFactor>,
}

/// Where the stock list and the calendar are kept.
#[async_trait]
pub trait ReferenceStore: Send + Sync {
    /// A number that changes when another store takes this one's place: what the one said is not believed of the other.
    fn generation(&self) -> u64 {
        0
    }

    /// Every listed code, sorted. An empty list is an answer, not an error.
    async fn listed_codes(&self) -> Result<Vec<Code>, StoreError>;

    /// What is known of each security; of several rows for a code the oldest counts, as with the merge.
    async fn listings(&self) -> Result<Vec<Listing>, StoreError>;

    /// Days of the exchanges' calendar, the oldest row of a day first, and whether shares are traded on them. Without the
    /// table: none.
    async fn trade_days(&self) -> Result<Vec<(NaiveDate, bool)>, StoreError>;

    /// Makes the stored list say what this one says: adds what is new, changes what differs, leaves the rest and what is
    /// not named alone, all at one moment for every reader.
    async fn merge_stocks(&self, stocks: &[Stock]) -> Result<MergeCounts, StoreError>;

    /// The same for the calendar.
    async fn merge_trade_days(&self, days: &[TradeDay]) -> Result<MergeCounts, StoreError>;

    /// Keeps the records of ended tasks.
    async fn record_syncs(&self, records: &[SyncRecord]) -> Result<(), StoreError>;
}

/// What a merge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MergeCounts {
    /// Rows that are new.
    pub added: u64,
    /// Rows that changed.
    pub updated: u64,
    /// Rows that were as they should be.
    pub unchanged: u64,
}

/// Where heartbeats go.
#[async_trait]
pub trait HeartbeatStore: Send + Sync {
    /// Sets this worker's heartbeat, to vanish after `ttl` unless it is set again.
    async fn beat(&self, value: &str, ttl: Duration) -> Result<(), HeartbeatError>;

    /// Removes it.
    async fn remove(&self) -> Result<(), HeartbeatError>;
}

/// A heartbeat that could not be set.
#[derive(Debug, Clone, thiserror::Error)]
#[error("heartbeat store {store}: {reason}")]
pub struct HeartbeatError {
    /// Address and key; no credentials.
    pub store: String,
    /// Why.
    pub reason: String,
}

/// Where messages go that the worker itself writes.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Publishes a message for people (a JSON object); returns when the broker has it.
    async fn notify(&self, message: &str) -> Result<(), OutboxError>;

    /// Publishes price updates; returns when the broker has all of them.
    async fn price_updates(&self, updates: &[PriceUpdate]) -> Result<(), OutboxError>;

    /// Publishes a part of a command to the topic the whole group reads; returns when the broker has it.
    async fn command(&self, part: &CommandPart) -> Result<(), OutboxError>;

    /// Records a command that could not be carried out, with its original bytes; returns when the broker has it.
    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), OutboxError>;
}

/// A command that ends in the dead-letter topic.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The command as it came in.
    pub command: Arc<RawCommand>,
    /// Why, in words.
    pub reason: String,
    /// The reason's class: `bad_command`, `source_error`, `no_codes` or `crashed`.
    pub class: &'static str,
    /// Attempts made.
    pub attempts: u32,
}

/// A message that could not be published.
#[derive(Debug, Clone, thiserror::Error)]
#[error("topic {topic}: {reason}")]
pub struct OutboxError {
    /// The topic.
    pub topic: String,
    /// Why.
    pub reason: String,
}
