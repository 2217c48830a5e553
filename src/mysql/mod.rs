// Upstream: none
// Downstream: mysql::stock_info
// Role: What the worker reads from Ginkgo's MySQL database.

/// The stock list.
pub mod stock_info;

pub use stock_info::MySqlInstruments;
