// Upstream: none
// Downstream: none
// Role: Implementations of the ports: one adapter per server.

//! Adapters. Each one implements one or more ports of the `actors` crate with a client library.

/// Bars, factors, ticks and reports in ClickHouse.
pub mod clickhouse;
/// Commands, operator orders and published messages in Kafka.
pub mod kafka;
/// Heartbeats in memory.
pub mod memory;
/// Stock list, trading calendar and sync records in MySQL.
pub mod mysql;
/// Connection tests.
pub mod probe;
/// Heartbeats in Redis.
pub mod redis;
/// All stores in one SQLite file, for the standalone worker.
pub mod sqlite;
/// TLS of the clients.
pub mod tls;
