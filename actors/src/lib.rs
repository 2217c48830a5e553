// Upstream: none
// Downstream: none
// Role: The actor system of the data worker; knows no Kafka, Redis, ClickHouse or HTTP client.

//! The data worker's actors, the types they share, and the ports through which they reach the outside.
//!
//! A command arrives as a [`ports::Delivery`] at the [`command_router`], which makes tasks of it. A task goes from the
//! [`fetcher`] to the [`validator`] to the [`batch_writer`]; when its rows are stored, the router resolves the command.
//! Each actor has a room of its own; the rooms below them (`pipeline`, `store_retry`, `market_cache`, `ports`, `domain`)
//! know no actor.

// Tests may unwrap: a panic is how a test fails.
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)
)]

pub mod batch_writer;
pub mod command_router;
pub mod config_actor;
pub mod domain;
pub mod fetcher;
pub mod heartbeat;
pub mod market_cache;
pub mod notifications;
pub mod pipeline;
pub mod ports;
pub mod quality_monitor;
pub mod settings;
pub mod store_retry;
pub mod supervision;
pub mod supervisor;
pub mod validator;
