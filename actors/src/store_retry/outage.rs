// Upstream: many
// Downstream: ports, quality_monitor, supervision
// Role: Tracks whether the store is available; pauses the intake during an outage and reports it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use actix::prelude::*;

use crate::ports::{IntakeGate, IntakePause, StoreError};
use crate::quality_monitor::{QualityMonitor, StoreFailing, StoreRecovered};
use crate::supervision::{MetricEvent, StatusBoard};

/// Consecutive failures that cause an alert. Fewer may come from a restart or a short overload of the server.
const FAILURES_BEFORE_ALERT: u32 = 3;

/// The outage state of a store, shared by its readers and writers.
pub struct StoreOutage {
    gate: IntakeGate,
    board: Arc<StatusBoard>,
    quality: Addr<QualityMonitor>,
    /// The name of the stored data in alerts.
    data_name: &'static str,
    outage: Mutex<Option<Outage>>,
}

struct Outage {
    since: Instant,
    failures: u32,
    alerted: bool,
}

impl StoreOutage {
    /// Creates the state without an outage.
    pub fn new(
        gate: IntakeGate,
        board: Arc<StatusBoard>,
        quality: Addr<QualityMonitor>,
        data_name: &'static str,
    ) -> Self {
        Self { gate, board, quality, data_name, outage: Mutex::new(None) }
    }

    /// Reports a failed attempt that is retried after `retry_in`, and pauses the intake of commands.
    pub fn failed(&self, error: &StoreError, retry_in: Duration) {
        self.gate.close(IntakePause::StoreOutage);
        self.board.record_error(&error.to_string());
        self.board.observe(&MetricEvent::StoreRetried(error));
        tracing::warn!(data = self.data_name, %error, ?retry_in, "store operation failed, will retry");
        let mut outage = self.lock();
        let outage = outage.get_or_insert(Outage { since: Instant::now(), failures: 0, alerted: false });
        outage.failures += 1;
        outage.alerted |= outage.failures >= FAILURES_BEFORE_ALERT || !error.class.is_transient();
        if outage.alerted {
            let lasting = outage.since.elapsed();
            self.quality.do_send(StoreFailing { data_name: self.data_name, error: error.clone(), lasting });
        }
    }

    /// Reports a successful attempt and ends the outage.
    pub fn succeeded(&self) {
        let Some(outage) = self.lock().take() else { return };
        self.gate.open(IntakePause::StoreOutage);
        let lasted = outage.since.elapsed();
        tracing::info!(data = self.data_name, ?lasted, failures = outage.failures, "the store works again");
        if outage.alerted {
            self.quality.do_send(StoreRecovered { data_name: self.data_name, lasted });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
