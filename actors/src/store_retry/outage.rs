// Upstream: many
// Downstream: domain, ports, quality_monitor, supervision
// Role: Tracks whether the store is available; pauses the intake during an outage and reports it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use actix::prelude::*;

use crate::domain::Code;
use crate::ports::{IntakeGate, IntakePause, StoreError};
use crate::quality_monitor::{StoreFailing, StoreRecovered};
use crate::supervision::{MetricEvent, StatusBoard};

/// Consecutive failures that cause an alert. Fewer may come from a restart or a short overload of the server.
const FAILURES_BEFORE_ALERT: u32 = 3;

/// What an operation does, and with which data. Outages are kept apart by this: that bars are stored, or that factors
/// can be read, does not prove that factors can be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StoreOperation {
    /// The kind of data, as alerts name it.
    pub data_name: &'static str,
    /// The security, if it has a table of its own.
    pub code: Option<Code>,
    /// Whether the operation writes.
    pub writes: bool,
    /// Whether no other task needs the table, so that a task fails where only an operator can mend it.
    pub gives_up: bool,
}

impl StoreOperation {
    /// Reads data of this kind.
    pub fn reading(data_name: &'static str) -> Self {
        Self { data_name, code: None, writes: false, gives_up: false }
    }

    /// Writes data of this kind.
    pub fn writing(data_name: &'static str) -> Self {
        Self { data_name, code: None, writes: true, gives_up: false }
    }

    /// The same operation in the table of one security.
    pub fn of(self, code: Code) -> Self {
        Self { code: Some(code), ..self.giving_up() }
    }

    /// The same operation in a table that only its own tasks need.
    pub fn giving_up(self) -> Self {
        Self { gives_up: true, ..self }
    }
}

/// The outages of a store, shared by its readers and writers. The intake of commands is paused while there is one.
pub struct StoreOutage {
    gate: IntakeGate,
    board: Arc<StatusBoard>,
    listener: OutageListener,
    state: Mutex<State>,
}

/// Who is notified of an outage.
#[derive(Clone)]
pub struct OutageListener {
    /// Receives each failure once an outage is worth an alert.
    pub failing: Recipient<StoreFailing>,
    /// Receives its end.
    pub recovered: Recipient<StoreRecovered>,
}

#[derive(Default)]
struct State {
    outages: BTreeMap<StoreOperation, Outage>,
    /// Operations with an open alert, and the begin of their outage. An outage without waiting operations is forgotten;
    /// its alert stays until the operation succeeds.
    alerted: BTreeMap<StoreOperation, Instant>,
}

struct Outage {
    since: Instant,
    failures: u32,
    /// The attempts that wait for the end of the outage.
    waiting: BTreeSet<u64>,
}

impl StoreOutage {
    /// Creates the state without an outage.
    pub fn new(gate: IntakeGate, board: Arc<StatusBoard>, listener: OutageListener) -> Self {
        Self { gate, board, listener, state: Mutex::default() }
    }

    /// Reports a failed attempt of the attempts `id`, retried after `retry_in`, and pauses the intake of commands.
    pub(super) fn failed(&self, operation: StoreOperation, id: u64, error: &StoreError, retry_in: Duration) {
        self.board.record_error(&error.to_string());
        self.board.observe(&MetricEvent::StoreRetried(error));
        tracing::warn!(data = operation.data_name, %error, ?retry_in, "store operation failed, will retry");
        let mut state = self.lock();
        self.gate.close(IntakePause::StoreOutage);
        let new = || Outage { since: Instant::now(), failures: 0, waiting: BTreeSet::new() };
        let outage = state.outages.entry(operation).or_insert_with(new);
        outage.failures += 1;
        outage.waiting.insert(id);
        let (since, failures) = (outage.since, outage.failures);
        if failures >= FAILURES_BEFORE_ALERT || !error.class.is_transient() {
            state.alerted.entry(operation).or_insert(since);
        }
        if let Some(since) = state.alerted.get(&operation) {
            let (data_name, lasting) = (operation.data_name, since.elapsed());
            self.listener.failing.do_send(StoreFailing { data_name, error: error.clone(), lasting, is_awaited: true });
        }
    }

    /// Reports that a table that only its own tasks need cannot be used, and its task fails. The intake stays open:
    /// everything else can be stored. The alert ends with the next success in this table.
    pub fn unusable(&self, operation: StoreOperation, error: &StoreError) {
        self.board.record_error(&error.to_string());
        tracing::error!(data = operation.data_name, %error, "this table cannot be used; its task fails");
        let lasting = self.lock().alerted.entry(operation).or_insert_with(Instant::now).elapsed();
        let data_name = operation.data_name;
        self.listener.failing.do_send(StoreFailing { data_name, error: error.clone(), lasting, is_awaited: false });
    }

    /// Reports a success and ends the outage of this operation. A successful write also ends the alert on reads.
    pub(super) fn succeeded(&self, operation: StoreOperation) {
        let mut state = self.lock();
        if let Some(outage) = state.outages.remove(&operation) {
            let lasted = outage.since.elapsed();
            tracing::info!(data = operation.data_name, ?lasted, failures = outage.failures, "the store works again");
        }
        let mut ended = state.alerted.remove(&operation);
        let reading = StoreOperation { writes: false, ..operation };
        if operation.writes && !state.outages.contains_key(&reading) {
            ended = ended.or(state.alerted.remove(&reading));
        }
        self.open_gate(&state);
        let is_open = state.alerted.keys().any(|other| other.data_name == operation.data_name);
        if let Some(since) = ended.filter(|_| !is_open) {
            let StoreOperation { data_name, writes: is_write, .. } = operation;
            self.listener.recovered.do_send(StoreRecovered { data_name, is_write, lasted: since.elapsed() });
        }
    }

    /// Reports that attempts ended without a success: their task is lost, or their store was exchanged.
    pub(super) fn abandoned(&self, operation: StoreOperation, id: u64) {
        let mut state = self.lock();
        let Some(outage) = state.outages.get_mut(&operation) else { return };
        outage.waiting.remove(&id);
        if outage.waiting.is_empty() {
            state.outages.remove(&operation);
        }
        self.open_gate(&state);
    }

    fn open_gate(&self, state: &State) {
        if state.outages.is_empty() {
            self.gate.open(IntakePause::StoreOutage);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::StoreErrorClass;

    const WRITE: StoreOperation = StoreOperation { data_name: "rows", code: None, writes: true, gives_up: false };

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
        (StoreOutage::new(gate.clone(), Arc::default(), listener), gate, notified)
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
        outage.failed(WRITE, 1, &error(StoreErrorClass::Transient), Duration::ZERO);
        assert!(gate.is_closed_by(IntakePause::StoreOutage));
        outage.succeeded(WRITE);
        assert!(gate.is_open());
    }

    #[actix_rt::test]
    async fn a_short_outage_raises_no_alert() {
        let (outage, _, messages) = scene();
        for _ in 1..FAILURES_BEFORE_ALERT {
            outage.failed(WRITE, 1, &error(StoreErrorClass::Transient), Duration::ZERO);
        }
        outage.succeeded(WRITE);
        assert!(notified(&messages).await.is_empty());
    }

    #[actix_rt::test]
    async fn a_lasting_outage_is_raised_and_resolved() {
        let (outage, _, messages) = scene();
        for _ in 0..=FAILURES_BEFORE_ALERT {
            outage.failed(WRITE, 1, &error(StoreErrorClass::Transient), Duration::ZERO);
        }
        outage.succeeded(WRITE);
        outage.succeeded(WRITE);
        assert_eq!(notified(&messages).await, [true, true, false]);
    }

    #[actix_rt::test]
    async fn what_only_an_operator_mends_is_raised_at_once() {
        let (outage, _, messages) = scene();
        outage.failed(WRITE, 1, &error(StoreErrorClass::Access), Duration::ZERO);
        assert_eq!(notified(&messages).await, [true]);
    }

    #[actix_rt::test]
    async fn a_success_ends_no_outage_of_another_operation() {
        let (outage, gate, messages) = scene();
        let factors = StoreOperation::writing("factors");
        outage.failed(factors, 1, &error(StoreErrorClass::Refused), Duration::ZERO);
        for works in [WRITE, StoreOperation::reading("factors"), factors.of("000001.SZ".parse().unwrap())] {
            outage.succeeded(works);
        }
        assert!(gate.is_closed_by(IntakePause::StoreOutage));
        assert_eq!(notified(&messages).await, [true]);
        outage.succeeded(factors);
        assert!(gate.is_open());
        assert_eq!(notified(&messages).await, [true, false]);
    }

    #[actix_rt::test]
    async fn outage_without_waiters_opens_intake_and_keeps_its_alert() {
        let (outage, gate, messages) = scene();
        outage.failed(WRITE, 1, &error(StoreErrorClass::Access), Duration::ZERO);
        outage.failed(WRITE, 2, &error(StoreErrorClass::Access), Duration::ZERO);
        outage.abandoned(WRITE, 1);
        assert!(!gate.is_open());
        outage.abandoned(WRITE, 2);
        assert!(gate.is_open(), "the intake must go on, or no success could ever come");
        assert_eq!(notified(&messages).await, [true, true]);
        outage.succeeded(WRITE);
        assert_eq!(notified(&messages).await, [true, true, false]);
    }
}
