// Upstream: none
// Downstream: error
// Role: Vendors, databases and folders of market data, each a room of one layout.

//! Market data sources. A source's room has `source.rs` (its [`actors::ports::MarketSource`]) and a file for each request
//! or answer it knows. Each converts to Ginkgo's units and time zone; validation is the Validator's.

/// BaoStock.
pub mod baostock;
/// ClickHouse, MongoDB, MySQL and Redis.
pub mod databases;
/// EastMoney.
pub mod eastmoney;
/// Why a source cannot be built.
mod error;
/// A folder of CSV and Parquet files.
pub mod files;
/// Names and addresses of sources.
pub mod place;
/// Sources by name.
pub mod registry;
/// Parts that several sources use.
pub mod shared;
/// TDX.
pub mod tdx;
/// Tushare Pro.
pub mod tushare;
/// Yahoo Finance.
pub mod yahoo;

pub use error::SourceSetupError;
