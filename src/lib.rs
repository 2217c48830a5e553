// Upstream: none
// Downstream: none
// Role: Adapters and wiring of the data worker; everything that knows a client library lives here.

//! The data worker around its actors: configuration, adapters, command line.

#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)
)]

/// Filling the past.
pub mod backfill;
/// Commands beside the worker itself.
pub mod cli;
/// Bars in ClickHouse.
pub mod clickhouse;
/// Typed configuration.
pub mod config;
/// Secrets in what servers say.
mod hiding;
/// What can be asked over HTTP.
pub mod http;
/// Kafka.
pub mod kafka;
/// Heartbeats in memory.
pub mod memory_heartbeats;
/// Figures for Prometheus.
pub mod metrics;
/// The stock list in MySQL.
pub mod mysql;
/// Trying a server once.
pub mod probe;
/// Heartbeats in Redis.
pub mod redis;
/// The configuration, read anew.
pub mod reload;
/// A worker's life as a process.
pub mod run;
/// All adapters of one worker.
pub mod service_hub;
/// Vendors and folders of market data.
pub mod sources;
/// Bars and stock list in SQLite.
pub mod sqlite;
/// A worker without servers.
pub mod standalone;
/// Ports whose adapter can be exchanged.
pub mod switch;
/// Logs.
pub mod telemetry;
/// A worker, looked at.
pub mod worker_view;
