// Upstream: none
// Downstream: none
// Role: Writes the stock list and the trading calendar.

//! Writes the stock list and the trading calendar.

/// Merges a list into the reference store.
pub mod merge;
