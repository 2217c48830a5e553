// Upstream: none
// Downstream: many
// Role: The traits through which the actors reach external systems, with their requests and errors.

//! Each adapter in the crate `ginkgo-data-worker` implements one of these traits. An error message names the failed
//! operation, the place and the value, and says what to do about it.

/// The store of bars.
mod bar_store;
/// Rows that are written by one INSERT.
mod batch;
/// The command feed.
mod command_feed;
/// The source of the configuration.
mod config_source;
/// Kinds of market data.
mod data_kind;
/// Commands delivered by the feed.
mod delivery;
/// The store of adjustment factors.
mod factor_store;
/// The store of heartbeats.
mod heartbeat_store;
/// The intake gate.
mod intake_gate;
/// A source of market data.
mod market_source;
/// The sources of each kind of data.
mod market_sources;
/// The feed of operator orders.
mod order_feed;
/// The publisher of the worker's messages.
mod outbox;
/// The store of the stock list and the trading calendar.
mod reference_store;
/// The store of quality reports.
mod report_store;
/// Errors of a source.
mod source_error;
/// Errors of a store.
mod store_error;
/// The stores of one ClickHouse database.
mod store_set;
/// A backend that a reload may replace.
mod swappable;
/// The store of ticks.
mod tick_store;

pub use bar_store::{BarBatch, BarStore, IdentifiedBar, KeySpan, StoredBar, StoredKeys};
pub use batch::Batch;
pub use command_feed::{CommandFeed, FeedError, FeedState, OldestCommand, PartitionState};
pub use config_source::{ConfigRefused, ConfigSource, PreparedConfig};
pub use data_kind::DataKind;
pub use delivery::{
    Assignment, CommandReceived, CommandReceiver, Delivery, LogBroken, PartitionsWithdrawn, Settlement, SettlementSink,
};
pub use factor_store::{FactorBatch, FactorStore, SeriesEnds, SeriesSize, StoredFactor};
pub use heartbeat_store::{HeartbeatError, HeartbeatStore};
pub use intake_gate::{IntakeGate, IntakePause};
pub use market_source::{Abilities, BarRequest, InterfaceFigures, MarketSource, NotedBars, NotedBarsByCode, NotedRow};
pub use market_sources::MarketSources;
pub use order_feed::{OrderFeed, OrderReceived};
pub use outbox::{DeadLetter, Outbox, OutboxError, PartsOutcome};
pub use reference_store::{MergeCounts, ReferenceStore};
pub use report_store::{CodeHistory, ReportBatch, ReportStore};
pub use source_error::{SourceError, SourceErrorKind};
pub use store_error::{StoreError, StoreErrorClass};
pub use store_set::StoreSet;
pub use swappable::{Pinned, Swappable};
pub use tick_store::{StoredTick, TickBatch, TickStore};
