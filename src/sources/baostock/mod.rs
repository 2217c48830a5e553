// Upstream: none
// Downstream: source
// Role: BaoStock as a source: sessions, pages and the rate limiter.

//! BaoStock is a free vendor with its own TCP protocol: a login, then queries, one at a time per connection. Each query
//! has a file that defines its parameters and parses its answers.

/// Adjustment factors.
mod adjust_factor;
/// Parses the bodies of answers.
pub mod answer;
mod connection;
/// Maps the vendor's error codes.
mod error_text;
/// Encodes and decodes messages.
pub mod frame;
/// Bars.
mod k_data;
mod query;
/// The source.
mod source;
mod stock_basic;
mod trade_dates;

pub use source::BaoStockSource;
