// Upstream: batch_writer::bars, batch_writer::factors, batch_writer::ticks, store_retry
// Downstream: ports, supervision
// Role: Sends an INSERT and counts it.

use tokio::time::Instant;

use crate::ports::StoreError;
use crate::supervision::{MetricEvent, StatusBoard};

/// Sends a batch of `rows` rows and reports its outcome and duration to the metrics.
pub async fn insert_counted(
    board: &StatusBoard,
    rows: usize,
    insert: impl Future<Output = Result<(), StoreError>>,
) -> Result<(), StoreError> {
    let begun = Instant::now();
    let inserted = insert.await;
    board.observe(&MetricEvent::InsertEnded { rows, error: inserted.as_ref().err(), duration: begun.elapsed() });
    inserted
}
