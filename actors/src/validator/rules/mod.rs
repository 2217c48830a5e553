// Upstream: none
// Downstream: none
// Role: Validation rules.

//! Validation rules.

/// A single bar.
pub mod bars;
/// Minute bars against their daily bar.
pub(crate) mod day_sums;
/// Adjustment factors.
pub mod factors;
#[cfg(test)]
pub(crate) mod generated_month;
/// Rules of the market.
pub mod market;
#[cfg(test)]
mod market_tests;
/// Prices from day to day.
pub(crate) mod prices;
#[cfg(test)]
mod prices_tests;
/// Ticks.
pub mod ticks;
