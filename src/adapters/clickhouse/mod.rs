// Upstream: none
// Downstream: bars, factors, reports, stored_days, stored_months, ticks
// Role: Stores bars, factors, ticks and quality reports in ClickHouse.

//! ClickHouse.
//!
//! [`bars`], [`factors`], [`ticks`] and [`reports`] implement the ports on top of `table`. [`schema`] defines the
//! columns, [`rows`] encodes rows as RowBinary, [`clock`] converts time zones, and [`errors`] classifies errors.

/// What to change, by the text of an error.
mod advice;
/// Bars.
pub mod bars;
/// Conversion between wall clock and epoch.
pub mod clock;
/// Connections to the servers.
pub mod connector;
/// Columns of prices and amounts.
mod decimals;
/// Classification of errors.
pub mod errors;
/// Adjustment factors.
pub mod factors;
/// The connection test.
pub mod probe;
/// Figures of the quality reports by day.
pub mod report_days;
/// Quality reports.
pub mod reports;
/// Rows as RowBinary.
pub mod rows;
/// The columns of the tables.
pub mod schema;
/// SQL statements.
pub mod statements;
/// Number of stored bars by day.
pub mod stored_days;
/// Stored days by month.
pub mod stored_months;
mod table;
/// Ticks.
pub mod ticks;

pub use bars::ClickHouseBars;
pub use factors::ClickHouseFactors;
pub use reports::ClickHouseReports;
pub use stored_days::ClickHouseDays;
pub use stored_months::ClickHouseMonths;
pub use ticks::ClickHouseTicks;
