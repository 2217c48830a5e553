// Upstream: none
// Downstream: none
// Role: Validation rules.

//! Validation rules.

/// Rules for a single bar.
pub mod bars;
/// Compares minute bars with the daily bar of their day.
pub(crate) mod day_sums;
/// Rules for adjustment factors.
pub mod factors;
#[cfg(test)]
mod false_positive_tests;
#[cfg(test)]
pub(crate) mod generated_month;
/// Market rules: calendar, listing, time grid, average price and repeated bars.
pub mod market;
#[cfg(test)]
mod market_tests;
/// Market rules that compare the prices of consecutive days: price limits and ex-rights.
pub(crate) mod prices;
#[cfg(test)]
mod prices_tests;
/// Rules for ticks.
pub mod ticks;
