// Upstream: none
// Downstream: none
// Role: Bars: which rows to insert and delete, and the write itself.

//! Bars: which rows to insert and delete, and the write itself.

/// Decides what to insert and what to delete.
pub mod plan;
#[cfg(test)]
mod plan_tests;
/// Publishes price updates for newly stored bars.
pub mod price_events;
/// Writes one batch.
pub mod write;
