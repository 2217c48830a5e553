// Upstream: batch_writer, command_router, fetcher, read, store_retry, supervisor
// Downstream: outage, ports, settings
// Role: Retries store operations with back-off and reports outages.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::ports::{StoreError, StoreErrorClass};
use crate::settings::{ActorSettings, ms};
use crate::store_retry::{StoreOperation, StoreOutage};

/// The attempts of an operation that is retried until it succeeds. When they are dropped without a success, the outage
/// no longer waits for them.
pub struct StoreTries<'a> {
    outage: &'a StoreOutage,
    operation: StoreOperation,
    id: u64,
    has_failed: bool,
    /// Whether an error about the table's columns was followed by a new check of the table.
    is_rechecked: bool,
    max_delay: Duration,
    delays: Box<dyn Iterator<Item = Duration> + Send>,
}

impl<'a> StoreTries<'a> {
    /// Starts an operation without attempts.
    pub fn new(outage: &'a StoreOutage, operation: StoreOperation, settings: &ActorSettings) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let (max_delay, delays) = (ms(settings.batch.max_retry_delay_ms), Box::new(store_delays(settings)));
        Self { outage, operation, id, has_failed: false, is_rechecked: false, max_delay, delays }
    }

    /// Reports a failed attempt and waits before the next one.
    pub async fn wait_after(&mut self, error: &StoreError) {
        // If only an operator can fix the error, retries use the maximum delay, so that they do not fill the server's
        // log.
        let next = if error.class.is_transient() { self.delays.next() } else { None };
        let delay = next.unwrap_or(self.max_delay);
        self.has_failed = true;
        self.outage.failed(self.operation, self.id, error, delay);
        actix_rt::time::sleep(delay).await;
    }

    /// Reports a successful attempt.
    pub fn succeeded(&mut self) {
        self.has_failed = false;
        self.outage.succeeded(self.operation);
    }

    /// Reports a failed attempt and waits before the next one, or returns true: waiting is of no use, because only an
    /// operator can mend the table, or the rows do not fit it, and no other task needs it. Then the task has to fail;
    /// all other work goes on.
    pub async fn gives_up_after(&mut self, error: &StoreError) -> bool {
        if !self.operation.gives_up || error.class != StoreErrorClass::Schema {
            self.wait_after(error).await;
            return false;
        }
        // The first such error may be about a table that was dropped since it was checked. The next attempt checks it.
        let is_second = std::mem::replace(&mut self.is_rechecked, true);
        if is_second {
            self.outage.unusable(self.operation, error);
        }
        is_second
    }

    /// Whether an attempt failed since the last success.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }
}

impl Drop for StoreTries<'_> {
    fn drop(&mut self) {
        if self.has_failed {
            self.outage.abandoned(self.operation, self.id);
        }
    }
}

/// The delays between attempts. They never end, because giving up would lose rows.
pub(crate) fn store_delays(settings: &ActorSettings) -> impl Iterator<Item = Duration> + use<> {
    let batch = &settings.batch;
    ExponentialBuilder::default()
        .with_min_delay(ms(batch.first_retry_delay_ms))
        .with_max_delay(ms(batch.max_retry_delay_ms))
        .with_jitter()
        .without_max_times()
        .build()
}
