// Upstream: none
// Downstream: none
// Role: Observability of a worker: HTTP endpoints, metrics and logs.

//! Observability of a running worker.

/// The ends of certificates.
pub mod certificates;
/// Health, status and metrics over HTTP.
pub mod http;
/// Metrics for Prometheus.
pub mod metrics;
/// Logs.
pub mod telemetry;
/// The data source of HTTP endpoints and metrics.
pub mod worker_view;
