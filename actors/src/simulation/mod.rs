// Upstream: none
// Downstream: many
// Role: Models of everything around the actors, for unit tests and for simulated runs.

//! Models in memory of what the ports reach: a vendor, a ClickHouse, a MySQL, a Kafka partition. [`World`] runs a whole
//! worker between them, on one thread and in virtual time.

/// Scripted faults.
mod faults;
/// Commands and orders.
mod feed;
/// Published messages.
mod outbox;
/// Stock list and trading calendar.
mod reference;
/// Small data for tests.
mod samples;
/// A vendor.
mod source;
/// Bars, factors, ticks and reports.
mod store;
/// A whole worker.
mod world;
#[cfg(test)]
mod world_tests;

pub use faults::{Fault, Faults};
pub use feed::ModelFeed;
pub use outbox::ModelOutbox;
pub use reference::ModelReference;
pub use samples::{bar_on, code, full_command};
pub use source::{Data, ModelSource, ModelSources};
pub use store::ModelStore;
pub use world::{ModelHeartbeats, World};
