// Upstream: none
// Downstream: store
// Role: Stores all data of the standalone worker in one SQLite file, in place of ClickHouse and MySQL.

/// Securities that a stock list no longer names.
mod departed;
/// Adjustment factors.
mod factors;
/// The stock list, the calendar and sync records.
mod lists;
/// Quality reports.
mod reports;
/// The file, and bars.
pub mod store;
/// Ticks.
mod ticks;

pub use store::{CodeSummary, SqliteStore};
