// Upstream: fetcher, store_retry
// Downstream: backoff, ports
// Role: Retries reads of a store until it answers.

use crate::ports::StoreError;
use crate::store_retry::StoreTries;

/// Why a read ended without an answer.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The task is lost.
    Lost,
    /// Only an operator can mend the table, which belongs to one subject.
    Unusable(StoreError),
}

/// Retries a read with back-off until the store answers. Without an answer the task could not write either, so the wait
/// costs nothing.
pub(crate) async fn read_until_answered<T>(
    mut tries: StoreTries<'_>,
    is_lost: impl Fn() -> bool,
    read: impl AsyncFn() -> Result<T, StoreError>,
) -> Result<T, Unread> {
    while !is_lost() {
        match read().await {
            Ok(answer) => {
                // The answer to a first attempt may come from a cache, so it does not prove that the store works again.
                if tries.has_failed() {
                    tries.succeeded();
                }
                return Ok(answer);
            }
            Err(error) if tries.gives_up_after(&error).await => return Err(Unread::Unusable(error)),
            Err(_) => {}
        }
    }
    Err(Unread::Lost)
}
