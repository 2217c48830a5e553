// Upstream: none
// Downstream: background_writer, row_budget, stored_notes, task_guard
// Role: Shared parts of the pipeline: task guards, row budget, background writer.

//! Shared parts of the pipeline: task guards, row budget, background writer.

/// Writes records in the background.
mod background_writer;
/// Limits the number of rows in memory.
mod row_budget;
/// Notes which tasks are stored.
mod stored_notes;
/// Reports the end of a task run.
mod task_guard;

pub use background_writer::{BackgroundWriter, BackgroundWriterKind};
pub use row_budget::RowBudget;
pub use stored_notes::StoredNotes;
pub use task_guard::{TaskBuffered, TaskError, TaskGuard, TaskId, TaskListener, TaskOutcome, TaskSettled, TaskTrace};
