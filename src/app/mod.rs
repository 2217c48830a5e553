// Upstream: none
// Downstream: none
// Role: Builds a worker from its configuration, runs it, and exchanges its backends at a reload.

//! The worker as a process: builds it from its configuration, runs it, and exchanges its backends at a reload.

mod certificate_watch;
/// Reads the configuration again while the worker runs.
pub mod config_reader;
/// Runs a worker from start to exit code.
pub mod run;
mod server_probes;
/// Builds every adapter.
pub mod service_hub;
/// The adapters that a reload may exchange.
pub mod services;
/// The signals that stop a worker.
pub mod signals;
/// The sources that a change concerns.
pub mod source_change;
mod tls_places;
