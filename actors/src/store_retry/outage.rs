// Upstream: many
// Downstream: ports, quality_monitor, supervision
// Role: Knows whether the store takes rows; closes the intake while it does not, and tells of the outage.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use actix::prelude::*;

use crate::ports::{IntakeGate, IntakePause, StoreError};
use crate::quality_monitor::{QualityMonitor, StoreFailing, StoreRecovered};
use crate::supervision::{MetricEvent, StatusBoard};

/// Failures in a row that a server's restart or a busy moment may cause; beyond it people are told.
const TRIES_BEFORE_ALERT: u32 = 3;

/// Shared by all who talk to the store.
pub struct StoreOutage {
    gate: IntakeGate,
    board: Arc<StatusBoard>,
    quality: Addr<QualityMonitor>,
    /// What the store keeps, in words.
    data_name: &'static str,
    outage: Mutex<Option<Outage>>,
}

struct Outage {
    since: Instant,
    tries: u32,
    alerted: bool,
}

impl StoreOutage {
    /// No outage.
    pub fn new(
        gate: IntakeGate,
        board: Arc<StatusBoard>,
        quality: Addr<QualityMonitor>,
        data_name: &'static str,
    ) -> Self {
        Self { gate, board, quality, data_name, outage: Mutex::new(None) }
    }

    /// A try failed and will be made again after `retry_in`. No new commands are taken from now on.
    pub fn failed(&self, error: &StoreError, retry_in: Duration) {
        self.gate.close(IntakePause::StoreOutage);
        self.board.record_error(&error.to_string());
        self.board.observe(&MetricEvent::StoreRetried(error));
        tracing::warn!(%error, ?retry_in, "the store does not take or give rows; no new commands are taken");
        let mut outage = self.lock();
        let outage = outage.get_or_insert(Outage { since: Instant::now(), tries: 0, alerted: false });
        outage.tries += 1;
        outage.alerted |= outage.tries >= TRIES_BEFORE_ALERT || !error.class.is_transient();
        if outage.alerted {
            let lasting = outage.since.elapsed();
            self.quality.do_send(StoreFailing { data_name: self.data_name, error: error.clone(), lasting });
        }
    }

    /// A try succeeded.
    pub fn succeeded(&self) {
        let Some(outage) = self.lock().take() else { return };
        self.gate.open(IntakePause::StoreOutage);
        let lasted = outage.since.elapsed();
        tracing::info!(?lasted, tries = outage.tries, "the store takes rows again");
        if outage.alerted {
            self.quality.do_send(StoreRecovered { data_name: self.data_name, lasted });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
