// Upstream: none
// Downstream: actor, messages, parts
// Role: The Fetcher: gets a task's rows from a market data source.

//! The Fetcher: gets a task's rows from a market data source.
//!
//! `plan` decides which days to request, `source_caller` who answers, `row_context` what rows are validated against,
//! `cross_check` which rows differ from another source; `bars`, `factors`, `ticks` and `lists` put these together.

/// The actor.
mod actor;
/// Fetching bars.
mod bars;
/// Comparing the bars of two sources.
mod comparison;
/// Comparison with a second source.
mod cross_check;
/// Whole days of bars, shared by tasks.
mod cross_section;
/// Whole-day answers, kept for a minute.
mod day_cache;
/// Fetching adjustment factors.
mod factors;
/// Fetching the stock list and the trading calendar.
mod lists;
/// Messages to the Fetcher.
mod messages;
/// What all fetches share.
mod parts;
/// Which days to request.
mod plan;
/// What rows are validated against.
mod row_context;
/// Attempts, back-off and fallback sources.
mod source_caller;
/// Days on which a security was suspended.
pub mod suspensions;
/// Fetching ticks.
mod ticks;

pub use actor::Fetcher;
pub use messages::{FetchBars, FetchFactors, FetchList, FetchTicks, RefreshFacts};
pub use parts::StoredData;
