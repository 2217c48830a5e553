// Upstream: none
// Downstream: actor, calendar_watch, messages, parts
// Role: The Fetcher: fetches a task's rows from a market data source.

//! The Fetcher: fetches a task's rows from a market data source.
//!
//! `request_plan` finds the fewest calls for a command. `plan` determines the days that a task requests. `source_caller` calls the sources. `row_context` reads the data that rows are
//! validated against. `cross_check` compares rows with another source. `bars`, `factors`, `ticks` and `lists` combine
//! these steps.

/// The actor.
mod actor;
/// Fetches bars.
mod bars;
/// Rows of many securities by security.
mod by_code;
/// Requests a trading calendar that ends soon.
mod calendar_watch;
/// Plans a command for many securities.
mod command_plan;
/// Compares the bars of two sources.
mod comparison;
/// Fetches bars from a second source for comparison.
mod cross_check;
/// Whole days of bars, shared by tasks.
mod cross_section;
/// Cache of whole-day answers, kept for a minute.
mod day_cache;
/// Fetches adjustment factors.
mod factors;
/// Securities that are not traded any more.
mod former_stocks;
#[cfg(test)]
mod increment_tests;
/// One call for several securities that tasks join.
mod joint_call;
#[cfg(test)]
mod listed_again_tests;
/// Fetches the stock list and the trading calendar.
mod lists;
/// Messages to the Fetcher.
mod messages;
/// The services that all fetches share.
mod parts;
/// Determines the days to request.
mod plan;
/// Sources that refuse calls for many securities.
mod refusals;
/// The fewest calls for some securities and days.
pub mod request_plan;
/// Reads the data that rows are validated against.
mod row_context;
/// Bars or factors of several securities in one call.
mod several_codes;
/// Attempts, back-off and fallback sources.
mod source_caller;
#[cfg(test)]
mod source_caller_tests;
/// Stops requests to a source that refuses the account.
mod source_circuit;
#[cfg(test)]
mod source_circuit_tests;
/// What an earlier delivery of a command stored.
mod stored_before;
/// Days on which a security was suspended.
pub mod suspensions;
/// Fetches ticks.
mod ticks;

pub use actor::Fetcher;
pub use calendar_watch::CalendarWatch;
pub use messages::{FetchBars, FetchFactors, FetchList, FetchTicks, PlanCommand, RefreshFacts};
pub use parts::StoredData;
