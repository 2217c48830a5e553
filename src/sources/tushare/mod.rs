// Upstream: none
// Downstream: source
// Role: Tushare Pro as a source: pages, rate limiters, errors.

//! Tushare Pro. Each of its interfaces has a file that defines its parameters and parses its answers. Sending and
//! paging are the same for all.

mod adj_factor;
/// Daily bars.
pub mod daily;
#[cfg(test)]
mod daily_tests;
/// Maps business codes and texts to errors.
pub mod error_text;
mod interface;
/// The source.
mod source;
/// Minute bars.
pub mod stk_mins;
mod stock_basic;
mod suspend_d;
/// Parses the table in every answer.
pub mod table;
mod trade_cal;
/// The HTTP client.
mod transport;

pub use source::TushareSource;
