// Upstream: none
// Downstream: many
// Role: The traits through which the actors reach the outside, with their requests and errors.

//! Each adapter of the `ginkgo-data-worker` crate implements one of these traits. An error names what failed, where, on
//! which value, and what to do about it.

/// Where bars are stored.
mod bar_store;
/// Where commands come from.
mod command_feed;
/// Where the configuration comes from.
mod config_source;
/// Kinds of market data.
mod data_kind;
/// A command handed out by the feed.
mod delivery;
/// Where adjustment factors are stored.
mod factor_store;
/// Where heartbeats are stored.
mod heartbeat_store;
/// Whether new commands are taken.
mod intake_gate;
/// A source of market data.
mod market_source;
/// The sources of each kind of data.
mod market_sources;
/// Where operator orders come from.
mod order_feed;
/// Where messages are published.
mod outbox;
/// Where the stock list and the trading calendar are stored.
mod reference_store;
/// Where quality reports are stored.
mod report_store;
/// Errors of a source.
mod source_error;
/// Errors of a store.
mod store_error;
/// Where ticks are stored.
mod tick_store;
/// The stores of one ClickHouse.
mod store_set;
/// A backend that a reload may exchange.
mod swappable;

pub use bar_store::{BarBatch, BarStore, IdentifiedBar, KeySpan, StoredBar};
pub use command_feed::{CommandFeed, FeedError, FeedState, PartitionState};
pub use config_source::{ConfigRefused, ConfigSource, PreparedConfig};
pub use data_kind::DataKind;
pub use delivery::{
    Assignment, CommandReceived, CommandReceiver, Delivery, PartitionsWithdrawn, Settlement, SettlementSink,
};
pub use factor_store::{FactorBatch, FactorStore, SeriesEnds, StoredFactor};
pub use heartbeat_store::{HeartbeatError, HeartbeatStore};
pub use intake_gate::{IntakeGate, IntakePause};
pub use market_source::{BarRequest, MarketSource, NotedBars, NotedDay, NotedRow};
pub use market_sources::MarketSources;
pub use order_feed::{OrderFeed, OrderReceived};
pub use outbox::{DeadLetter, Outbox, OutboxError};
pub use reference_store::{MergeCounts, ReferenceStore};
pub use report_store::{CodeHistory, ReportBatch, ReportStore};
pub use source_error::{SourceError, SourceErrorKind};
pub use store_set::StoreSet;
pub use swappable::{Pinned, Swappable};
pub use store_error::{StoreError, StoreErrorClass};
pub use tick_store::{StoredTick, TickBatch, TickStore};
