// Upstream: cargo
// Downstream: none
// Role: All tests against real servers and protocol servers, in one program so that it is linked once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod config_cli;
mod crashes;
mod factors;
mod failover;
mod group;
mod idempotence;
mod intake;
mod main_job;
mod minutes;
mod orders;
mod outages;
mod panics;
mod reference;
mod reload;
mod send;
mod sources_eastmoney;
mod sources_tdx;
mod sources_tushare;
mod standalone;
