// Upstream: batch_writer::bars, batch_writer::factors, batch_writer::ticks, store_retry
// Downstream: ports, supervision
// Role: Sends an INSERT and counts it. With deduplication, retries at once if the answer is lost.

use tokio::time::Instant;

use crate::ports::{StoreError, StoreErrorClass};
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

/// Sends a batch as [`insert_counted`] does. If the answer is lost and the table deduplicates by token, it sends the
/// identical batch once more.
pub async fn insert_once(
    board: &StatusBoard,
    rows: usize,
    insert: impl AsyncFn() -> Result<(), StoreError>,
    deduplicates: impl AsyncFn() -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    match insert_counted(board, rows, insert()).await {
        Err(error) if error.class == StoreErrorClass::OutcomeUnknown && deduplicates().await? => {
            insert_counted(board, rows, insert()).await
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn lost() -> StoreError {
        let (store, operation) = ("s".to_owned(), "insert".to_owned());
        StoreError { store, operation, class: StoreErrorClass::OutcomeUnknown, reason: "no answer".to_owned() }
    }

    #[tokio::test]
    async fn retries_lost_answer_only_with_deduplication() {
        for (deduplicates, sent, ok) in [(true, 2, true), (false, 1, false)] {
            let calls = Cell::new(0);
            let insert = async || {
                calls.set(calls.get() + 1);
                if calls.get() == 1 { Err(lost()) } else { Ok(()) }
            };
            let outcome = insert_once(&StatusBoard::default(), 3, insert, async || Ok(deduplicates)).await;
            assert_eq!((calls.get(), outcome.is_ok()), (sent, ok));
        }
    }
}
