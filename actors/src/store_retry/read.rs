// Upstream: fetcher, store_retry
// Downstream: backoff, outage, ports, settings
// Role: Retries reads of a store until it answers.

use crate::ports::StoreError;
use crate::settings::{ActorSettings, ms};
use crate::store_retry::{StoreOutage, store_delays};

/// Retries a read with back-off until the store answers. Without an answer the task could not write either, so the wait
/// costs nothing. Returns `None` if the task is lost meanwhile.
pub(crate) async fn read_until_answered<T>(
    outage: &StoreOutage,
    settings: &ActorSettings,
    is_lost: impl Fn() -> bool,
    read: impl AsyncFn() -> Result<T, StoreError>,
) -> Option<T> {
    let mut delays = store_delays(settings);
    let mut has_failed = false;
    while !is_lost() {
        match read().await {
            Ok(answer) => {
                // The answer to a first attempt may come from a cache, so it does not prove that the store works again.
                if has_failed {
                    outage.succeeded();
                }
                return Some(answer);
            }
            Err(error) => {
                has_failed = true;
                let delay = delays.next().unwrap_or(ms(settings.batch.max_retry_delay_ms));
                outage.failed(&error, delay);
                actix_rt::time::sleep(delay).await;
            }
        }
    }
    None
}
