// Upstream: none
// Downstream: many
// Role: In-memory models of the external systems, for unit tests and simulations.

//! In-memory models of the systems behind the ports: a vendor, ClickHouse, MySQL, a Kafka partition. [`World`] runs a
//! whole worker with these models on one thread and in virtual time.

/// Scripted faults.
mod faults;
/// Commands and orders.
mod feed;
/// INSERTs, partition by partition.
mod insertion;
/// Published messages.
mod outbox;
/// Stock list and trading calendar.
mod reference;
/// Sample data for tests.
mod samples;
/// A vendor.
mod source;
/// Bars, factors, ticks and reports.
mod store;
/// A whole worker.
mod world;

pub use faults::{Fault, FaultRates, Faults, SLOWDOWN};
pub use feed::ModelFeed;
pub use outbox::ModelOutbox;
pub use reference::ModelReference;
pub use samples::{bar_on, code, full_command};
pub use source::{Data, ModelSource, ModelSources};
pub use store::{ModelStore, StoredKey};
pub use world::{FixedConfig, ModelHeartbeats, World};
