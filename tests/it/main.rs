// Upstream: cargo
// Downstream: none
// Role: All tests against real servers and protocol servers, in one test program so that it links only once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod backfill;
mod backfill_kinds;
mod calendar;
mod config_cli;
mod crash;
mod crashes;
mod cross_check;
mod databases_types;
mod databases_worker;
mod evening;
mod factors;
mod failover;
mod fairness;
mod gaps;
mod group;
mod http;
mod idempotence;
mod intake;
mod list_tables;
mod logs;
mod main_job;
mod markers;
mod membership;
mod memory;
mod metrics;
mod minutes;
mod missing_topics;
mod node_ids;
mod orders;
mod outages;
mod panics;
mod price_updates;
mod quality;
mod quality_listing;
mod quality_reports;
mod reference;
mod reload;
mod reload_effects;
mod reload_servers;
mod reload_sources;
mod secrets;
mod send;
mod signals;
mod source_pairs;
mod sources_baostock;
mod sources_databases;
mod sources_eastmoney;
mod sources_files;
mod sources_tdx;
mod sources_tushare;
mod sources_yahoo;
mod splits;
mod standalone;
mod store_tables;
mod sync_records;
mod tdx_worker;
mod ticks;
mod topics;
mod tushare_limits;
mod two_writers;
mod unreadable;
mod user_database;
