// Upstream: none
// Downstream: source
// Role: Yahoo Finance as a source: the chart interface and the rate limiter.

//! Yahoo Finance's chart interface has daily and minute bars without amounts. Yahoo publishes no limits. It answers 429
//! when they are reached.

/// Converts candles to raw bars.
mod candles;
/// Parses answers.
pub mod chart;
/// The source.
mod source;
mod window;

pub use source::YahooSource;
