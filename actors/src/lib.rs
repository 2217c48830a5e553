// Upstream: none
// Downstream: none
// Role: The actor system of the data worker. Depends on no Kafka, Redis, ClickHouse or HTTP client.

//! The actors of the data worker, the types they share, and the ports (traits) through which they reach external
//! systems.
//!
//! The [`command_router`] receives each command as a [`ports::Delivery`] and splits it into tasks. A task passes
//! through the [`fetcher`], the [`validator`] and the [`batch_writer`]. Once the rows of all its tasks are stored, the
//! router resolves the command. Each actor has its own module. The modules `pipeline`, `market_cache`, `ports` and
//! `domain` depend on no actor.

// Tests may unwrap: a panic fails the test.
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
#[cfg(any(test, feature = "simulation"))]
pub mod simulation;
pub mod store_retry;
pub mod supervision;
pub mod supervisor;
pub mod validator;
