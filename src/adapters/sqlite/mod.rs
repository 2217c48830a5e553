// Upstream: none
// Downstream: store
// Role: Bars and stock list in one SQLite file, in place of ClickHouse and MySQL, for the standalone worker.

/// Adjustment factors.
mod factors;
/// Quality reports.
mod reports;
/// Bars, stock list and calendar.
pub mod store;
/// Ticks.
mod ticks;

pub use store::{CodeSummary, SqliteStore};
