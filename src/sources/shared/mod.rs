// Upstream: none
// Downstream: none
// Role: What the sources share: limits, HTTP, cells, units, timestamps.

//! Parts that several sources use.

/// Requests allowed by a vendor, and requests made.
pub mod budget;
/// Numbers and dates in cells of text.
pub(crate) mod cells;
/// What a source says of a day.
pub(crate) mod day_note;
/// The beginning of a long text.
pub(crate) mod excerpt;
/// An HTTP client with limits.
pub(crate) mod http;
/// Rows in JSON answers.
pub(crate) mod json_rows;
/// Delays requests to a vendor.
pub mod rate_limiter;
/// How far back a source goes.
pub(crate) mod reach;
/// Removes secrets from texts.
pub(crate) mod redact;
/// Timestamps of bars in the forms vendors use.
pub mod timestamps;
/// Units of volumes and amounts.
pub mod units;
