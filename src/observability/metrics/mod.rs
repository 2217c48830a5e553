// Upstream: app, observability::http, standalone
// Downstream: counters, gauges, observability
// Role: All metrics of a worker, in Prometheus' text format.

//! Metrics.
//!
//! [`Metrics`] counts the events that the actors report. Gauges are read at each scrape. docs/metrics.md lists all
//! metrics; a test compares it with the output of a worker. The number of label values is bounded: they are constants
//! of the program, names of sources, or assigned partitions.

/// Counters and histograms of events.
mod counters;
/// Values read at each scrape.
mod gauges;
/// Process statistics of the kernel.
mod process;

use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::registry::Registry;

pub use counters::Metrics;

use crate::observability::worker_view::WorkerView;
use gauges::Looked;

/// The page with all metrics.
#[derive(Debug)]
pub struct Exposition(Registry);

impl Exposition {
    /// The media type of the page.
    pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

    /// The page of one worker.
    pub fn new(metrics: &Metrics, view: WorkerView) -> Self {
        // A label of every series: workers discovered through DNS are otherwise identified only by their address.
        let node_id = ("node_id".into(), view.identity.node_id.to_string().into());
        let mut registry = Registry::with_labels([node_id].into_iter());
        metrics.register(&mut registry);
        registry.register_collector(Box::new(Looked(view)));
        Self(registry)
    }

    /// The current page.
    pub fn page(&self) -> String {
        let mut page = String::new();
        match encode(&mut page, &self.0) {
            Ok(()) => page,
            // Writing to a string does not fail; a metric type that the format does not support does.
            Err(error) => format!("# {error}\n"),
        }
    }
}
