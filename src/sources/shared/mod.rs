// Upstream: none
// Downstream: none
// Role: Code shared by the sources: limits, HTTP, cells, units, timestamps.

//! Code shared by several sources.

/// Request limits and counters.
pub mod budget;
/// Reads JSON cells.
pub(crate) mod cells;
/// Builds notes about days.
pub(crate) mod day_note;
/// Shortens texts for error messages.
pub(crate) mod excerpt;
/// A worker's share while the counts of its group cannot be asked.
mod group_share;
/// HTTP client with limits.
pub(crate) mod http;
/// Limits of one interface of a vendor.
pub mod interface_limit;
/// Rows of JSON answers.
pub(crate) mod json_rows;
/// Rate limiter for requests.
pub mod rate_limiter;
/// How far back a source's minute bars reach.
pub(crate) mod reach;
/// Removes secrets from texts.
pub(crate) mod redact;
/// Recognizes answers about too many requests.
pub(crate) mod throttling;
/// Parses the timestamp formats of vendors.
pub mod timestamps;
/// Units of volumes and amounts.
pub mod units;
