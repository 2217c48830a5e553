// Upstream: none
// Downstream: source
// Role: Yahoo Finance as a source: the chart interface, the gate before every request.

//! Yahoo Finance's chart interface: bars of days and minutes, without amounts. Yahoo publishes no limits; it answers 429
//! where they are reached.

/// Raw bars of candles.
mod candles;
/// Answers.
pub mod chart;
/// The source.
mod source;
mod window;

pub use source::YahooSource;
