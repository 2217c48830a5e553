// Upstream: app, observability::http
// Downstream: counters, gauges, observability
// Role: All metrics of a worker, as Prometheus reads them.

//! What happens is counted by [`Metrics`], which hears it from the actors' board. What is, is looked at when somebody asks.
//! docs/metrics.md lists all metrics; a test compares it with what a worker answers. All label values are words of the
//! program, names of sources, or numbers of assigned partitions: their number is bounded.

/// What happened, counted.
mod counters;
/// What is, at a look.
mod gauges;
/// The process as the kernel sees it.
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
        // On every series, because workers that a scraper finds by DNS have no other name than an address.
        let node_id = ("node_id".into(), view.identity.node_id.to_string().into());
        let mut registry = Registry::with_labels([node_id].into_iter());
        metrics.register(&mut registry);
        registry.register_collector(Box::new(Looked(view)));
        Self(registry)
    }

    /// The page as it is now.
    pub fn page(&self) -> String {
        let mut page = String::new();
        match encode(&mut page, &self.0) {
            Ok(()) => page,
            // Writing to a text does not fail; a metric of a kind that the format lacks would.
            Err(error) => format!("# {error}\n"),
        }
    }
}
