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

/// A command on its way from the feed to its resolution.
pub mod delivery;
/// What the worker talks about.
pub mod domain;
/// Traits to the outside.
pub mod ports;
/// Settings of all actors.
pub mod settings;
/// Supervision.
pub mod supervision;
