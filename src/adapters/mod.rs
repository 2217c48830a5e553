// Upstream: none
// Downstream: none
// Role: One adapter for each server that the ports reach.

//! Adapters: each implements one or more ports of the `actors` crate with a client library.

/// Bars, factors, ticks and reports in ClickHouse.
pub mod clickhouse;
/// Commands, orders and messages over Kafka.
pub mod kafka;
/// Heartbeats in memory.
pub mod memory;
/// Stock list, calendar and sync records in MySQL.
pub mod mysql;
/// A single connection test.
pub mod probe;
/// Heartbeats in Redis.
pub mod redis;
/// All stores in one SQLite file.
pub mod sqlite;
