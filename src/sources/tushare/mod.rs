// Upstream: none
// Downstream: source
// Role: Tushare Pro as a source: pages, the gate before the vendor's limit, errors.

//! Tushare Pro. Each of its interfaces has a file that knows its parameters and reads its answers; how calls are sent and
//! paged is the same for all.

mod adj_factor;
/// Daily bars.
pub mod daily;
#[cfg(test)]
mod daily_tests;
/// The meaning of business codes and texts.
pub mod error_text;
mod interface;
/// The source.
mod source;
/// Minute bars.
pub mod stk_mins;
mod stock_basic;
mod suspend_d;
/// The table in every answer.
pub mod table;
mod trade_cal;
/// HTTP.
mod transport;

pub use source::TushareSource;
