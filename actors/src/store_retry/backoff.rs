// Upstream: many
// Downstream: outage, ports, settings
// Role: Retries store operations with back-off and reports outages.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::ports::StoreError;
use crate::settings::{ActorSettings, ms};
use crate::store_retry::StoreOutage;

/// The attempts of an operation that is retried until it succeeds.
pub struct StoreTries<'a> {
    outage: &'a StoreOutage,
    max_delay: Duration,
    delays: Box<dyn Iterator<Item = Duration> + Send>,
}

impl<'a> StoreTries<'a> {
    /// Starts an operation without attempts.
    pub fn new(outage: &'a StoreOutage, settings: &ActorSettings) -> Self {
        Self { outage, max_delay: ms(settings.batch.max_retry_delay_ms), delays: Box::new(store_delays(settings)) }
    }

    /// Reports a failed attempt and waits before the next one.
    pub async fn wait_after(&mut self, error: &StoreError) {
        // If only an operator can fix the error, retries use the maximum delay, so that they do not fill the server's
        // log.
        let next = if error.class.is_transient() { self.delays.next() } else { None };
        let delay = next.unwrap_or(self.max_delay);
        self.outage.failed(error, delay);
        actix_rt::time::sleep(delay).await;
    }

    /// Reports a successful attempt.
    pub fn succeeded(&self) {
        self.outage.succeeded();
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
