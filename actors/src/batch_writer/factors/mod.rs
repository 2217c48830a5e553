// Upstream: none
// Downstream: none
// Role: Plans and executes the writes of adjustment factors.

//! Plans and executes the writes of adjustment factors.

/// Finds series that two workers wrote at the same moment.
mod contest;
/// Decides which rows to insert and which to remove.
pub mod plan;
/// Writes one batch.
pub mod write;
#[cfg(test)]
mod write_tests;
