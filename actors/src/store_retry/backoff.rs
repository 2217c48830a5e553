// Upstream: many
// Downstream: outage, ports, settings
// Role: The waits between tries of a store, and the word of its outage.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::ports::StoreError;
use crate::settings::{ActorSettings, ms};
use crate::store_retry::StoreOutage;

/// One operation that is tried until it is done.
pub struct StoreTries<'a> {
    outage: &'a StoreOutage,
    longest: Duration,
    delays: Box<dyn Iterator<Item = Duration> + Send>,
}

impl<'a> StoreTries<'a> {
    /// No try yet.
    pub fn new(outage: &'a StoreOutage, settings: &ActorSettings) -> Self {
        Self { outage, longest: ms(settings.batch.max_retry_delay_ms), delays: Box::new(store_delays(settings)) }
    }

    /// A try failed: waits before the next one.
    pub async fn wait_after(&mut self, error: &StoreError) {
        // An error that only an operator can mend is tried seldom, so that it does not fill the server's logs.
        let delay = if error.class.is_transient() { self.delays.next().unwrap_or(self.longest) } else { self.longest };
        self.outage.failed(error, delay);
        actix_rt::time::sleep(delay).await;
    }

    /// The operation is done.
    pub fn succeeded(&self) {
        self.outage.succeeded();
    }
}

/// The waits between tries of the store: without end, because giving up would lose rows.
pub(crate) fn store_delays(settings: &ActorSettings) -> impl Iterator<Item = Duration> + use<> {
    let batch = &settings.batch;
    ExponentialBuilder::default()
        .with_min_delay(ms(batch.first_retry_delay_ms))
        .with_max_delay(ms(batch.max_retry_delay_ms))
        .with_jitter()
        .without_max_times()
        .build()
}
