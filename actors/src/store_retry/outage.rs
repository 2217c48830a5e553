// Upstream: many
// Downstream: ports, quality_monitor, supervision
// Role: Tracks whether the store is available; pauses the intake during an outage and reports it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use actix::prelude::*;

use crate::ports::{IntakeGate, IntakePause, StoreError};
use crate::quality_monitor::{StoreFailing, StoreRecovered};
use crate::supervision::{MetricEvent, StatusBoard};

/// Consecutive failures that cause an alert. Fewer may come from a restart or a short overload of the server.
const FAILURES_BEFORE_ALERT: u32 = 3;

/// The outage state of a store, shared by its readers and writers.
pub struct StoreOutage {
    gate: IntakeGate,
    board: Arc<StatusBoard>,
    listener: OutageListener,
    /// The name of the stored data in alerts.
    data_name: &'static str,
    outage: Mutex<Option<Outage>>,
}

/// Who is notified of an outage.
#[derive(Clone)]
pub struct OutageListener {
    /// Receives each failure once an outage is worth an alert.
    pub failing: Recipient<StoreFailing>,
    /// Receives its end.
    pub recovered: Recipient<StoreRecovered>,
}

struct Outage {
    since: Instant,
    failures: u32,
    alerted: bool,
}

impl StoreOutage {
    /// Creates the state without an outage.
    pub fn new(gate: IntakeGate, board: Arc<StatusBoard>, listener: OutageListener, data_name: &'static str) -> Self {
        Self { gate, board, listener, data_name, outage: Mutex::new(None) }
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
            self.listener.failing.do_send(StoreFailing { data_name: self.data_name, error: error.clone(), lasting });
        }
    }

    /// Reports a successful attempt and ends the outage.
    pub fn succeeded(&self) {
        let Some(outage) = self.lock().take() else { return };
        self.gate.open(IntakePause::StoreOutage);
        let lasted = outage.since.elapsed();
        tracing::info!(data = self.data_name, ?lasted, failures = outage.failures, "the store works again");
        if outage.alerted {
            self.listener.recovered.do_send(StoreRecovered { data_name: self.data_name, lasted });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::StoreErrorClass;

    /// Keeps what it is notified of: failures as `true`, the end as `false`.
    #[derive(Default)]
    struct Listener(Arc<Mutex<Vec<bool>>>);

    impl Actor for Listener {
        type Context = Context<Self>;
    }

    impl Handler<StoreFailing> for Listener {
        type Result = ();
        fn handle(&mut self, _: StoreFailing, _: &mut Self::Context) {
            self.0.lock().unwrap().push(true);
        }
    }

    impl Handler<StoreRecovered> for Listener {
        type Result = ();
        fn handle(&mut self, _: StoreRecovered, _: &mut Self::Context) {
            self.0.lock().unwrap().push(false);
        }
    }

    fn scene() -> (StoreOutage, IntakeGate, Arc<Mutex<Vec<bool>>>) {
        let listener = Listener::default();
        let (notified, address) = (listener.0.clone(), listener.start());
        let gate = IntakeGate::default();
        let listener = OutageListener { failing: address.clone().recipient(), recovered: address.recipient() };
        (StoreOutage::new(gate.clone(), Arc::default(), listener, "rows"), gate, notified)
    }

    fn error(class: StoreErrorClass) -> StoreError {
        StoreError { store: "store".into(), operation: "insert".into(), class, reason: "away".into() }
    }

    async fn notified(messages: &Mutex<Vec<bool>>) -> Vec<bool> {
        actix_rt::time::sleep(Duration::from_millis(1)).await;
        messages.lock().unwrap().clone()
    }

    #[actix_rt::test]
    async fn closes_the_intake_until_a_success() {
        let (outage, gate, _) = scene();
        outage.failed(&error(StoreErrorClass::Transient), Duration::ZERO);
        assert!(gate.is_closed_by(IntakePause::StoreOutage));
        outage.succeeded();
        assert!(gate.is_open());
    }

    #[actix_rt::test]
    async fn a_short_outage_raises_no_alert() {
        let (outage, _, messages) = scene();
        for _ in 1..FAILURES_BEFORE_ALERT {
            outage.failed(&error(StoreErrorClass::Transient), Duration::ZERO);
        }
        outage.succeeded();
        assert!(notified(&messages).await.is_empty());
    }

    #[actix_rt::test]
    async fn a_lasting_outage_is_raised_and_resolved() {
        let (outage, _, messages) = scene();
        for _ in 0..=FAILURES_BEFORE_ALERT {
            outage.failed(&error(StoreErrorClass::Transient), Duration::ZERO);
        }
        outage.succeeded();
        outage.succeeded();
        assert_eq!(notified(&messages).await, [true, true, false]);
    }

    #[actix_rt::test]
    async fn what_only_an_operator_mends_is_raised_at_once() {
        let (outage, _, messages) = scene();
        outage.failed(&error(StoreErrorClass::Access), Duration::ZERO);
        assert_eq!(notified(&messages).await, [true]);
    }
}
