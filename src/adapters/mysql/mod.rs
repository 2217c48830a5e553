// Upstream: none
// Downstream: store
// Role: Stores the stock list, the trading calendar and sync records in Ginkgo's MySQL database.

/// Cells of times.
mod cells;
/// Securities that a stock list no longer names.
mod departed;
/// Errors and their classes.
mod error;
/// Rights of the user.
mod grants;
/// Comparison of fetched and stored rows.
mod merge;
/// Defaults of unused columns.
mod model;
/// Statements with a timeout.
mod session;
/// The table of the stock list.
mod stock_info;
/// The implementation of the port.
pub mod store;
/// Records of finished tasks.
mod sync_record;
/// TLS of a connection.
pub mod tls_options;
/// The table of the trading calendar.
mod trade_day;

pub use store::MySqlReference;
