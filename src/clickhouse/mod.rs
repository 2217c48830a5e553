// Upstream: none
// Downstream: clickhouse::store
// Role: Bars in ClickHouse: everything that knows its client, its types and its error codes.

//! The port: [`store`]; the table: [`schema`]; the bytes: [`rows`]; the zone: [`clock`]; what errors mean: [`errors`].

/// Wall clock and epoch.
pub mod clock;
/// What errors mean.
pub mod errors;
/// Rows as bytes.
pub mod rows;
/// The table.
pub mod schema;
/// SQL texts.
pub mod statements;
/// The port.
pub mod store;

pub use store::ClickHouseBars;
