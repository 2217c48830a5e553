// Upstream: none
// Downstream: none
// Role: Ticks: which rows to insert and delete, and the write itself.

//! Ticks: which rows to insert and delete, and the write itself.

/// Decides what to insert and what to delete.
pub mod plan;
/// Writes the ticks of one task.
pub mod write;
