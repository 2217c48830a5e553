// Upstream: none
// Downstream: store
// Role: What the worker keeps in Ginkgo's MySQL database.

/// How a stored list becomes the one that was fetched.
mod merge;
/// Columns that nobody reads.
mod model;
/// The stock list's table.
mod stock_info;
/// The port.
pub mod store;
/// Records of ended tasks.
mod sync_record;
/// The calendar's table.
mod trade_day;

pub use store::MySqlReference;
