// Upstream: many
// Downstream: ports
// Role: Faults and latencies of a model, per operation: scripted, or random from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::ports::{StoreError, StoreErrorClass};

/// A fault of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call is not executed and fails with this class.
    Refuse(StoreErrorClass),
    /// The call does not arrive, and nobody knows.
    LoseRequest,
    /// The call is executed, but its answer is lost.
    LoseAnswer,
    /// The call is executed in part, and fails with this class: an INSERT stores some of its partitions.
    InPart(StoreErrorClass),
}

/// How many times as long a slow call takes.
pub const SLOWDOWN: f64 = 100.0;

/// Shares of calls that have a fault, each from 0 to 1.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultRates {
    /// Calls that the server refuses for the moment.
    pub refused: f64,
    /// Calls whose request is lost.
    pub requests_lost: f64,
    /// Calls whose answer is lost.
    pub answers_lost: f64,
    /// Calls that are executed in part.
    pub in_part: f64,
    /// Calls that take a hundred times as long.
    pub slow: f64,
}

/// Queued faults and call counts, by operation.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    queued: BTreeMap<&'static str, VecDeque<Fault>>,
    /// Every call fails with this class; takes precedence over the queue.
    always: Option<StoreErrorClass>,
    /// Every call of these operations fails.
    refused: BTreeMap<&'static str, StoreErrorClass>,
    calls: BTreeMap<&'static str, u64>,
    /// Random numbers and the maximum latency of each way of a call.
    latency: Option<(fastrand::Rng, Duration)>,
    rates: FaultRates,
}

impl Faults {
    /// Queues faults of `operation`. Each of its next calls has one of them.
    pub fn queue(&self, operation: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.lock().queued.entry(operation).or_default().extend(faults);
    }

    /// Makes every call fail with this class from now on; `None` ends this.
    pub fn refuse_all(&self, class: Option<StoreErrorClass>) {
        self.lock().always = class;
    }

    /// Makes every call of one operation fail with this class from now on; `None` ends this.
    pub fn refuse(&self, operation: &'static str, class: Option<StoreErrorClass>) {
        let mut state = self.lock();
        match class {
            Some(class) => state.refused.insert(operation, class),
            None => state.refused.remove(operation),
        };
    }

    /// Gives every call a random latency of at most `max` before and after its execution, from this seed.
    pub fn set_latency(&self, seed: u64, max: Duration) {
        self.lock().latency = Some((fastrand::Rng::with_seed(seed), max));
    }

    /// A random number below `limit`; 0 without a seed.
    pub fn random(&self, limit: u64) -> u64 {
        self.lock().latency.as_mut().map_or(0, |(random, _)| random.u64(..limit))
    }

    /// Gives random calls a fault. Needs the seed of [`Self::set_latency`].
    pub fn set_rates(&self, rates: FaultRates) {
        self.lock().rates = rates;
    }

    /// Whether calls take time.
    pub fn has_latency(&self) -> bool {
        self.lock().latency.is_some()
    }

    /// Waits for the latency of one way.
    pub async fn travel(&self) {
        let latency = {
            let mut state = self.lock();
            let slow = state.rates.slow;
            state.latency.as_mut().map(|(random, max)| {
                let factor = if random.f64() < slow { SLOWDOWN } else { 1.0 };
                max.mul_f64(random.f64() * factor)
            })
        };
        if let Some(latency) = latency {
            tokio::time::sleep(latency).await;
        }
    }

    /// Number of calls of `operation` so far.
    pub fn num_calls(&self, operation: &'static str) -> u64 {
        self.lock().calls.get(operation).copied().unwrap_or_default()
    }

    /// Executes a call with the next fault of its operation, if there is one.
    pub fn call<T>(&self, operation: &'static str, work: impl FnOnce() -> T) -> Result<T, StoreError> {
        self.call_in_part(operation, |_| work())
    }

    /// Executes a call as [`Self::call`] does. The argument of `work` is whether it executes only a part.
    pub fn call_in_part<T>(&self, operation: &'static str, work: impl FnOnce(bool) -> T) -> Result<T, StoreError> {
        let fault = {
            let mut state = self.lock();
            *state.calls.entry(operation).or_default() += 1;
            let queued = state.queued.get_mut(operation).and_then(VecDeque::pop_front);
            let always = state.always.or(state.refused.get(operation).copied());
            always.map(Fault::Refuse).or(queued).or_else(|| state.random_fault())
        };
        match fault {
            None => Ok(work(false)),
            Some(Fault::Refuse(class)) => Err(injected(operation, class)),
            Some(Fault::LoseRequest) => Err(injected(operation, StoreErrorClass::OutcomeUnknown)),
            Some(Fault::LoseAnswer) => {
                work(false);
                Err(injected(operation, StoreErrorClass::OutcomeUnknown))
            }
            Some(Fault::InPart(class)) => {
                work(true);
                Err(injected(operation, class))
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn random_fault(&mut self) -> Option<Fault> {
        let (FaultRates { refused, requests_lost, answers_lost, in_part, .. }, (random, _)) =
            (self.rates, self.latency.as_mut()?);
        let mut share = random.f64();
        let faults = [
            (refused, Fault::Refuse(StoreErrorClass::Transient)),
            (requests_lost, Fault::LoseRequest),
            (answers_lost, Fault::LoseAnswer),
            (in_part, Fault::InPart(StoreErrorClass::OutcomeUnknown)),
        ];
        faults
            .into_iter()
            .find(|(rate, _)| {
                share -= rate;
                share < 0.0
            })
            .map(|(_, fault)| fault)
    }
}

/// The error of an injected fault.
pub fn injected(operation: &str, class: StoreErrorClass) -> StoreError {
    let (store, reason) = ("model".to_owned(), "an injected fault".to_owned());
    StoreError { store, operation: operation.to_owned(), class, reason }
}
