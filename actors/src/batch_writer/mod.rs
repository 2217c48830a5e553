// Upstream: none
// Downstream: actor, messages
// Role: The BatchWriter: gathers valid rows of many tasks and writes them in batches.

//! The BatchWriter: gathers valid rows of many tasks and writes them in batches.

/// The actor.
mod actor;
/// Writing bars.
pub mod bars;
/// Rows waiting for their batch.
mod buffer;
/// Writing adjustment factors.
pub mod factors;
/// Writing the stock list and the trading calendar.
pub mod lists;
/// Messages to the BatchWriter.
mod messages;
/// Writing ticks.
pub mod ticks;

pub use actor::{BatchWriter, WriteTargets};
pub use messages::{FlushWithoutWaiting, WriteBars, WriteFactors, WriteList, WriteTicks};
