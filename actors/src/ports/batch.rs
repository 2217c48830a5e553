// Upstream: bar_store, batch_writer, factor_store, ports, simulation, tick_store
// Downstream: none
// Role: Rows that are written by one INSERT.

use std::sync::Arc;

/// Rows that are written by one INSERT, in this order.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<R> {
    /// The deduplication token: the same for every retry of this batch, different for every other batch.
    pub token: String,
    /// The rows.
    pub rows: Arc<Vec<R>>,
}

impl<R> Clone for Batch<R> {
    fn clone(&self) -> Self {
        Self { token: self.token.clone(), rows: self.rows.clone() }
    }
}
