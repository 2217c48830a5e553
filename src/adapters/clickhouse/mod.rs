// Upstream: none
// Downstream: bars, factors, reports, stored_days, ticks
// Role: What the worker keeps in ClickHouse: everything that knows its client, its types and its error codes.

//! The ports: [`bars`], [`factors`], [`ticks`], [`reports`]; one table under them: `table`; its columns: [`schema`]; the bytes: [`rows`]; the zone: [`clock`];
//! what errors mean: [`errors`].

/// Bars.
pub mod bars;
/// Wall clock and epoch.
pub mod clock;
/// What errors mean.
pub mod errors;
/// Adjustment factors.
pub mod factors;
/// Quality reports.
pub mod reports;
/// Rows as bytes.
pub mod rows;
/// The tables' columns.
pub mod schema;
/// SQL texts.
pub mod statements;
/// Stored bars by day.
pub mod stored_days;
mod table;
/// Ticks.
pub mod ticks;

pub use bars::ClickHouseBars;
pub use factors::ClickHouseFactors;
pub use reports::ClickHouseReports;
pub use stored_days::ClickHouseDays;
pub use ticks::ClickHouseTicks;
