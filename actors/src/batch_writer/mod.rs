// Upstream: none
// Downstream: actor, messages
// Role: The BatchWriter: buffers valid rows of many tasks and writes them in batches.

//! The BatchWriter: buffers valid rows of many tasks and writes them in batches.

/// The actor.
mod actor;
#[cfg(test)]
mod actor_tests;
/// Writes bars.
pub mod bars;
/// Buffers tasks until their batch is due.
mod buffer;
/// Writes adjustment factors.
pub mod factors;
/// Writes the stock list and the trading calendar.
pub mod lists;
/// Looks at what several workers wrote at the same moment.
mod looks;
/// Messages to the BatchWriter.
mod messages;
#[cfg(test)]
mod outage_tests;
/// Writes ticks.
pub mod ticks;
/// The way of rows into a store, the same for all kinds.
mod write_path;
#[cfg(test)]
mod write_path_tests;

pub use actor::{BatchWriter, WriteTargets};
pub use messages::{FlushWithoutWaiting, WriteBars, WriteFactors, WriteList, WriteTicks};
