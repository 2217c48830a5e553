// Upstream: none
// Downstream: none
// Role: The actor system of the data worker; knows no Kafka, Redis, ClickHouse or HTTP client.

//! The data worker's actors, the domain they speak of, and the ports through which they reach the outside.
//!
//! A command's way: [`command_router`] -> [`fetcher`] -> [`validator`] -> [`batch_writer`] -> resolved.

// Tests may unwrap: a panic is how a test fails.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)
)]

/// What is told of a trouble that lasts.
mod alert_state;
/// Rules for bars.
pub mod bar_rules;
/// The BatchWriter.
pub mod batch_writer;
/// The seven actors, started.
mod children;
/// The ends of commands that are published for.
mod command_handover;
/// The CommandRouter.
pub mod command_router;
/// A command for many codes, split.
pub mod command_split;
/// The ConfigActor.
pub mod config_actor;
/// What another source says.
mod cross_check;
/// Bars of a whole day, shared.
mod cross_section;
/// What rows are judged by.
mod day_knowledge;
/// Minute bars against their daily bar.
mod day_sums;
/// A command on its way from the feed to its resolution.
pub mod delivery;
/// What the worker talks about.
pub mod domain;
/// How many rows should have come.
pub mod expectation;
/// Values with an expiry.
mod expiring;
/// What is known of securities and days.
pub mod fact_cache;
/// One batch of factors on its way into the store.
pub mod factor_flush;
/// What to write of a factor series.
pub mod factor_plan;
/// Rules for factors.
pub mod factor_rules;
/// Alerts on what fails as such.
mod failure_alerts;
/// The Fetcher.
pub mod fetcher;
/// One batch on its way into the store.
pub mod flush;
/// What is missing of stored bars.
pub mod gaps;
#[cfg(test)]
mod generated_month;
/// The Heartbeat.
pub mod heartbeat;
/// Tokens of INSERTs.
mod insert_token;
/// Records that are written behind the work.
pub mod journal;
/// The last stored closes.
mod last_closes;
/// The newest stored timestamps.
pub mod latest_times;
mod lifecycle;
/// One list on its way into the reference store.
pub mod list_merge;
/// Rules of the market.
pub mod market_rules;
#[cfg(test)]
mod market_rules_tests;
/// What is worth counting.
pub mod observation;
/// A command under way.
pub mod open_command;
/// Traits to the outside.
pub mod ports;
/// News of prices.
mod price_events;
/// Rules of prices from day to day.
mod price_rules;
#[cfg(test)]
mod price_rules_tests;
/// Alerts that are judged by figures.
mod quality_alerts;
/// Jobs under way.
pub mod quality_jobs;
/// The QualityMonitor.
pub mod quality_monitor;
/// Quality reports.
pub mod quality_report;
#[cfg(test)]
mod quality_score_tests;
/// What tasks brought, added up.
pub mod quality_summary;
/// Lists that are taken as a whole.
pub mod reference_list;
/// Bounds of memory.
mod row_room;
/// Which rules of the market count, and how.
pub mod rule_settings;
/// Ranges of numbers, declared beside their fields.
pub mod setting_ranges;
/// Settings of all actors.
pub mod settings;
/// The Shanghai wall clock.
pub mod shanghai;
/// Answers about whole days, shared.
mod shared_days;
/// Calls to sources.
mod source_calls;
/// What sources did.
pub mod source_tally;
/// One INSERT, counted.
mod store_insert;
/// Whether the store takes rows.
pub mod store_outage;
/// Tries of a store.
pub mod store_tries;
/// Supervision.
pub mod supervision;
/// The Supervisor.
pub mod supervisor;
/// Days without a row that nobody misses.
pub mod suspensions;
/// How late rows are readable.
pub mod task_delay;
/// Days of ticks.
mod tick_days;
/// The fetch of ticks.
mod tick_fetch;
/// What is done to stored ticks.
mod tick_plan;
/// Rules of ticks.
mod tick_rules;
/// Ticks on their way into the store.
mod tick_write;
/// A task's pass through the pipeline.
pub mod ticket;
/// The Validator.
pub mod validator;
/// The worker's own events.
pub mod worker_event;
/// Rows that wait to be written.
pub mod write_buffer;
/// What to insert and what to remove.
pub mod write_plan;
#[cfg(test)]
mod write_plan_tests;
