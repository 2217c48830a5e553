// Upstream: none
// Downstream: background_writer, row_budget, task_guard
// Role: What travels through the pipeline: task guards, row budget, background writes.

//! What travels through the pipeline: task guards, row budget, background writes.

/// Writes records in the background.
mod background_writer;
/// Bounds the rows in memory.
mod row_budget;
/// A task in progress.
mod task_guard;

pub use background_writer::{BackgroundWriter, BackgroundWriterKind};
pub use row_budget::RowBudget;
pub use task_guard::{TaskBuffered, TaskGuard, TaskId, TaskListener, TaskOutcome, TaskSettled, TaskTrace};
