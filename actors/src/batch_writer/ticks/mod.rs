// Upstream: none
// Downstream: none
// Role: Plans and executes the writes of ticks.

//! Plans and executes the writes of ticks.

/// Decides which rows to insert and which to remove.
pub mod plan;
/// Writes the ticks of one task.
pub mod write;
#[cfg(test)]
mod write_tests;
