// Upstream: none
// Downstream: none
// Role: The stock list and the trading calendar.

//! The stock list and the trading calendar.

/// Merges a list into the reference store.
pub mod merge;
