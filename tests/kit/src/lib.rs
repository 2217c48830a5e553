// Upstream: none
// Downstream: none
// Role: Protocol servers and handles on real servers and on the worker's process, for tests and the benchmark.

//! The test kit: a [`scene::Scene`] has topics, a database and a source of its own on the real servers, and starts the
//! real worker against them.

/// Arguments of the servers as programs.
pub mod arguments;
mod baostock_data;
/// A server that speaks BaoStock's protocol.
pub mod baostock_server;
/// Reads and faults of ClickHouse.
pub mod clickhouse;
/// Answers of an EastMoney server.
pub mod eastmoney_data;
/// A server that speaks EastMoney's protocol.
pub mod eastmoney_server;
/// Prometheus' text format.
pub mod exposition;
/// What a protocol server does wrong.
pub mod fault;
/// Another address of a server.
pub mod forwarder;
/// Inputs for parsers.
pub mod fuzz;
/// Asking a worker.
pub mod http;
/// What servers over HTTP have in common.
pub mod http_serving;
/// Topics, commands, offsets.
pub mod kafka;
/// The minutes of daily bars.
pub mod minute_rows;
/// Ginkgo's tables.
pub mod mysql;
mod own_thread;
/// A Prometheus server.
pub mod prometheus;
/// A Redis server to kill.
pub mod redis;
/// One test's own world.
pub mod scene;
/// Where the real servers are.
pub mod services;
/// Answers of a TDX server.
pub mod tdx_data;
/// A server that speaks TDX's protocol.
pub mod tdx_server;
/// Bars for the Tushare server.
pub mod tushare_data;
mod tushare_other;
/// Tushare's protocol.
pub mod tushare_protocol;
/// A server that speaks it.
pub mod tushare_server;
/// Waiting for conditions.
pub mod wait;
/// The worker's process.
pub mod worker;
mod yahoo_data;
/// A server that speaks Yahoo's chart protocol.
pub mod yahoo_server;
