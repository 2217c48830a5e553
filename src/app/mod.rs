// Upstream: none
// Downstream: none
// Role: Puts a worker together from its configuration, runs it, and exchanges its parts on a reload.

//! A worker as a process.

/// Reads the configuration again while the worker runs.
pub mod config_reader;
/// Runs a worker from start to exit code.
pub mod run;
/// Builds every adapter.
pub mod service_hub;
/// The adapters that a reload may exchange.
pub mod services;
