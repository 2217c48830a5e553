// Upstream: none
// Downstream: source
// Role: Market data from a folder of CSV and Parquet files.

//! A folder with a file `000001.SZ.daily.csv` or `000001.SZ.daily.parquet` for each security, and `000001.SZ.5m.csv` and the
//! like for minute bars; the columns are described in [`bars`]. Adjustment factors are in `000001.SZ.factors.csv`, ticks in
//! `000001.SZ.ticks.csv`. What is there in both forms is read from Parquet.

/// Bars.
pub mod bars;
/// Any table in CSV.
pub mod csv_table;
#[cfg(test)]
mod fixture_tests;
/// The other tables.
pub mod lists;
mod parquet_cells;
mod parquet_footer;
mod parquet_pages;
/// Any table in Parquet.
pub mod parquet_table;
/// The source.
mod source;
/// Any table.
pub mod table;

pub use source::FilesSource;
