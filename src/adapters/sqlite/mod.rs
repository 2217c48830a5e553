// Upstream: none
// Downstream: store
// Role: Stores all data of the standalone worker in one SQLite file, in place of ClickHouse and MySQL.

/// Adjustment factors.
mod factors;
/// Quality reports.
mod reports;
/// Bars, stock list, calendar and sync records.
pub mod store;
/// Ticks.
mod ticks;

pub use store::{CodeSummary, SqliteStore};
