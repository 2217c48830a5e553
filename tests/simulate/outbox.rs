// Upstream: checks, cluster, run
// Downstream: actors, broker, data_worker
// Role: The producer of all workers on the model of a broker: parts of commands come back as records.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::domain::{CommandPart, PriceUpdate, RawCommand};
use actors::ports::{DeadLetter, Outbox, OutboxError, PartsOutcome};
use async_trait::async_trait;
use serde_json::Value;

use data_worker::adapters::kafka::parts_publisher::identity_of;

use crate::broker::Broker;

/// Publishes to the broker, with latencies and failures from a seed.
pub struct SimulatedOutbox {
    broker: Arc<Broker>,
    state: Mutex<State>,
}

struct State {
    random: fastrand::Rng,
    failures: f64,
    panics: f64,
    published: Published,
}

/// What was published beside parts of commands.
#[derive(Debug, Clone, Default)]
pub struct Published {
    /// Messages to people.
    pub notifications: Vec<Value>,
    /// Payloads of failed commands.
    pub dead_letters: Vec<String>,
}

impl SimulatedOutbox {
    /// A producer that fails, and in which the program panics, with these shares of its calls.
    pub fn new(broker: Arc<Broker>, seed: u64, failures: f64, panics: f64) -> Self {
        let state = State { random: fastrand::Rng::with_seed(seed), failures, panics, published: Published::default() };
        Self { broker, state: Mutex::new(state) }
    }

    /// Ends the failures.
    pub fn heal(&self) {
        let mut state = self.lock();
        (state.failures, state.panics) = (0.0, 0.0);
    }

    /// What was published so far.
    pub fn published(&self) -> Published {
        self.lock().published.clone()
    }

    /// The messages to people after the first `number`.
    pub fn notifications_since(&self, number: usize) -> Vec<Value> {
        self.lock().published.notifications.get(number..).map(<[Value]>::to_vec).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes after a latency. A failed call may have published all the same.
    async fn publish(&self, publish: impl FnOnce(&mut Published)) -> Result<(), OutboxError> {
        let latency = Duration::from_millis(self.lock().random.u64(1..40));
        tokio::time::sleep(latency).await;
        let mut state = self.lock();
        let failures = state.failures;
        let (is_failed, arrives) = (state.random.f64() < failures, state.random.bool());
        if !is_failed || arrives {
            publish(&mut state.published);
        }
        match is_failed {
            true => Err(OutboxError { topic: "model".into(), reason: "an injected fault".into() }),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Outbox for SimulatedOutbox {
    async fn notify(&self, message: &str) -> Result<(), OutboxError> {
        let message = serde_json::from_str(message).expect("a notification is JSON");
        self.publish(|published| published.notifications.push(message)).await
    }

    async fn price_updates(&self, _updates: &[PriceUpdate]) -> Result<(), OutboxError> {
        self.publish(|_| ()).await
    }

    async fn command(&self, command: &CommandPart) -> Result<(), OutboxError> {
        let (partition, payload) = (command.key.bytes().map(usize::from).sum(), command.payload.clone());
        self.publish(|_| self.broker.append(partition, payload, 0)).await
    }

    async fn parts(&self, command: &Arc<RawCommand>, parts: &Arc<[CommandPart]>) -> Result<PartsOutcome, OutboxError> {
        let panics = {
            let mut state = self.lock();
            state.random.f64() < state.panics
        };
        assert!(!panics, "an injected panic");
        let records = parts.iter().map(|part| {
            let partition = part.key.bytes().map(usize::from).sum();
            (partition, part.payload.clone())
        });
        let (identity, records) = (identity_of(command), records.collect());
        let mut outcome = PartsOutcome::AlreadyThere;
        self.publish(|_| {
            if self.broker.append_once(&identity, records) {
                outcome = PartsOutcome::Published;
            }
        })
        .await?;
        Ok(outcome)
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), OutboxError> {
        let payload = String::from_utf8_lossy(&letter.command.payload).into_owned();
        self.publish(|published| published.dead_letters.push(payload)).await
    }
}
