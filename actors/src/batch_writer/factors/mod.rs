// Upstream: none
// Downstream: none
// Role: Adjustment factors: which rows to insert and delete, and the write itself.

//! Adjustment factors: which rows to insert and delete, and the write itself.

/// Decides what to insert and what to delete.
pub mod plan;
/// Writes one batch.
pub mod write;
