// Upstream: none
// Downstream: source
// Role: BaoStock as a source: sessions, pages, the gate before every request.

//! BaoStock, a free vendor with a TCP protocol of its own: a login, then queries, one at a time on a connection. Each query
//! has a file that knows its parameters and reads its answers.

/// Adjustment factors.
mod adjust_factor;
/// Answers' bodies.
pub mod answer;
mod connection;
/// The meaning of codes.
mod error_text;
/// Messages as bytes.
pub mod frame;
/// Bars.
mod k_data;
mod query;
/// The source.
mod source;
mod stock_basic;
mod trade_dates;

pub use source::BaoStockSource;
