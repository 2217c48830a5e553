// Upstream: none
// Downstream: none
// Role: Plans and executes the writes of ticks.

//! Plans and executes the writes of ticks.

/// Decides whose answer stays where two workers wrote the same day.
mod contest;
#[cfg(test)]
mod contest_tests;
/// Decides which rows to insert and which to remove.
pub mod plan;
#[cfg(test)]
mod plan_tests;
/// Writes the ticks of one task.
pub mod write;
#[cfg(test)]
mod write_tests;
