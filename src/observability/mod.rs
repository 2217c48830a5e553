// Upstream: none
// Downstream: none
// Role: What can be seen of a worker: HTTP answers, metrics, logs.

//! What can be seen of a running worker.

/// Health, status and metrics over HTTP.
pub mod http;
/// Metrics for Prometheus.
pub mod metrics;
/// Logs.
pub mod telemetry;
/// What HTTP answers and metrics read.
pub mod worker_view;
