// Upstream: fetcher, store_retry
// Downstream: backoff, outage, ports, settings
// Role: Reads from a store until it answers.

use crate::ports::StoreError;
use crate::settings::{ActorSettings, ms};
use crate::store_retry::{StoreOutage, store_delays};

/// Repeats a read, with back-off, until the store answers. While it does not answer, nothing can be written either, so
/// waiting loses nothing. `None` where the task is lost meanwhile.
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
                // An answer at first try may come from a cache: it does not show that the store is back.
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
