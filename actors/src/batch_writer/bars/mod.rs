// Upstream: none
// Downstream: none
// Role: Plans and executes the writes of bars.

//! Plans and executes the writes of bars.

/// Decides which row stays where two workers wrote the same key at the same moment.
mod contest;
#[cfg(test)]
mod contest_tests;
/// Decides which rows to insert and which to remove.
pub mod plan;
#[cfg(test)]
mod plan_tests;
/// Publishes price updates for newly stored bars.
pub mod price_events;
/// Writes one batch.
pub mod write;
#[cfg(test)]
mod write_tests;
