// Upstream: none
// Downstream: source
// Role: Market data from a folder of CSV and Parquet files.

//! A folder with one file per security for daily bars, `000001.SZ.daily.csv` or `000001.SZ.daily.parquet`, and files
//! such as `000001.SZ.5m.csv` for minute bars; [`bars`] describes the columns. Adjustment factors are in
//! `000001.SZ.factors.csv`, ticks in `000001.SZ.ticks.csv`. If a table exists in both formats, the Parquet file is
//! read.

/// Bars.
pub mod bars;
/// Reads tables in CSV.
pub mod csv_table;
#[cfg(test)]
mod fixture_tests;
/// Reads the stock list, the calendar, factors and ticks.
pub mod lists;
mod parquet_cells;
mod parquet_footer;
mod parquet_pages;
/// Reads tables in Parquet.
pub mod parquet_table;
/// The source.
mod source;
/// Opens a table in either format.
pub mod table;

pub use source::FilesSource;
