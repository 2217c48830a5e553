// Upstream: none
// Downstream: none
// Role: Adapters and wiring of the data worker; everything that knows a client library lives here.

//! The data worker around its actors: configuration, adapters, command line.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)
)]

/// Bars in ClickHouse.
pub mod clickhouse;
/// Typed configuration.
pub mod config;
/// Kafka.
pub mod kafka;
