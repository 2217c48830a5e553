// Upstream: none
// Downstream: none
// Role: Vendor protocol servers, clients of the real servers and control of the worker process, for tests and benches.

//! The test kit. A [`scene::Scene`] creates its own topics, database and source on the real servers and starts the real
//! worker against them.

/// Command-line arguments of the server programs.
pub mod arguments;
mod baostock_data;
/// A server that speaks BaoStock's protocol.
pub mod baostock_server;
/// Certificates of servers and clients.
pub mod certificates;
/// Queries and fault injection for ClickHouse.
pub mod clickhouse;
/// Response bodies of the EastMoney server.
pub mod eastmoney_data;
/// A server that speaks EastMoney's protocol.
pub mod eastmoney_server;
/// Parser for Prometheus' text format.
pub mod exposition;
/// Fault injection for protocol servers.
pub mod fault;
/// A TCP forwarder: a second address for a server.
pub mod forwarder;
/// Mutated inputs for parsers.
pub mod fuzz;
/// HTTP requests to a worker.
pub mod http;
/// Shared code of the HTTP protocol servers.
pub mod http_serving;
/// Kafka topics, commands and offsets.
pub mod kafka;
/// Minute bars derived from daily bars.
pub mod minute_rows;
/// Ginkgo's MySQL tables.
pub mod mysql;
mod own_thread;
/// A Prometheus server.
pub mod prometheus;
/// A TCP proxy that breaks connections.
pub mod proxy;
/// Random numbers from a seed.
pub mod random;
/// A private Redis server that a test can kill.
pub mod redis;
/// The environment of one test.
pub mod scene;
/// A private Kafka with TLS and logins.
pub mod secure_kafka;
/// A private MariaDB that requires TLS.
pub mod secure_mariadb;
/// Private Redis servers with TLS, users and Sentinels.
pub mod secure_redis;
/// All servers with TLS and logins.
pub mod secure_stack;
/// Damage to the broker's files.
pub mod segment;
/// Addresses of the real servers.
pub mod services;
/// Response bodies of the TDX server.
pub mod tdx_data;
/// A server that speaks TDX's protocol.
pub mod tdx_server;
/// Ends TLS in front of a plain server.
pub mod tls_front;
/// Daily bars that the protocol servers serve.
pub mod tushare_data;
mod tushare_limits;
mod tushare_other;
/// Tushare's protocol.
pub mod tushare_protocol;
/// A server that speaks Tushare's protocol.
pub mod tushare_server;
/// Waiting for conditions.
pub mod wait;
/// The worker process.
pub mod worker;
mod yahoo_data;
/// A server that speaks Yahoo's chart protocol.
pub mod yahoo_server;
