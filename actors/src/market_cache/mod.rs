// Upstream: none
// Downstream: none
// Role: Caches of stored market data and reference data, each with an expiry.

//! Caches of stored market data and reference data, each with an expiry.

/// A value with an expiry.
mod expiring;
/// Securities and trading calendar.
pub mod facts;
/// Last stored closes.
pub mod last_closes;
/// Newest stored timestamps.
pub mod latest_times;
#[cfg(test)]
mod latest_times_tests;
