// Upstream: none
// Downstream: error
// Role: Market data sources: vendors, databases and file folders.

//! Market data sources. Each source has a folder: `source.rs` implements [`actors::ports::MarketSource`], and every
//! other file handles one request, one answer or one part of the protocol. A source converts values to Ginkgo's units
//! and time zone. The Validator checks them.

/// BaoStock.
pub mod baostock;
/// ClickHouse, MongoDB, MySQL and Redis.
pub mod databases;
/// EastMoney.
pub mod eastmoney;
/// Errors of building a source.
mod error;
/// CSV and Parquet files in a folder.
pub mod files;
/// Names and addresses of sources for display.
pub mod place;
/// Builds the configured sources by name.
pub mod registry;
/// Code shared by several sources.
pub mod shared;
/// TDX.
pub mod tdx;
/// Tushare Pro.
pub mod tushare;
/// Yahoo Finance.
pub mod yahoo;

pub use error::SourceSetupError;
