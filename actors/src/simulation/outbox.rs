// Upstream: fetcher, quality_monitor, simulation, world
// Downstream: domain, ports
// Role: A model of the Kafka producer: keeps published messages and fails on request.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::domain::{CommandPart, PriceUpdate, RawCommand};
use crate::ports::{DeadLetter, Outbox, OutboxError, PartsOutcome};

/// Keeps all published messages.
#[derive(Debug, Default)]
pub struct ModelOutbox {
    published: Mutex<Published>,
}

/// Time after which a producer gives up a message.
const SILENCE: Duration = Duration::from_secs(40);

#[derive(Debug, Default)]
struct Published {
    notifications: Vec<Value>,
    price_updates: Vec<PriceUpdate>,
    commands: Vec<CommandPart>,
    parts: Vec<CommandPart>,
    /// The commands whose parts are published.
    split: Vec<String>,
    dead_letters: Vec<DeadLetter>,
    failures_left: u32,
    /// Price updates are published and then not confirmed.
    is_silent: bool,
}

impl ModelOutbox {
    /// Makes the next `calls` calls fail.
    pub fn fail(&self, calls: u32) {
        self.lock().failures_left = calls;
    }

    /// Lets price updates arrive without a confirmation, as a broker does that falls silent.
    pub fn fall_silent(&self, is_silent: bool) {
        self.lock().is_silent = is_silent;
    }

    /// Published notifications.
    pub fn notifications(&self) -> Vec<Value> {
        self.lock().notifications.clone()
    }

    /// Published price updates.
    pub fn price_updates(&self) -> Vec<PriceUpdate> {
        self.lock().price_updates.clone()
    }

    /// Published commands of the worker itself.
    pub fn commands(&self) -> Vec<CommandPart> {
        self.lock().commands.clone()
    }

    /// Published parts of split commands.
    pub fn parts(&self) -> Vec<CommandPart> {
        self.lock().parts.clone()
    }

    /// Published dead letters.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.lock().dead_letters.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Published> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish<T>(&self, publish: impl FnOnce(&mut Published) -> T) -> Result<T, OutboxError> {
        let mut published = self.lock();
        if published.failures_left > 0 {
            published.failures_left -= 1;
            return Err(OutboxError { topic: "model".to_owned(), reason: "an injected fault".to_owned() });
        }
        Ok(publish(&mut published))
    }
}

#[async_trait]
impl Outbox for ModelOutbox {
    async fn notify(&self, message: &str) -> Result<(), OutboxError> {
        let message = serde_json::from_str(message).unwrap_or(Value::Null);
        self.publish(|published| published.notifications.push(message))
    }

    async fn price_updates(&self, updates: &[PriceUpdate]) -> Result<(), OutboxError> {
        self.publish(|published| published.price_updates.extend_from_slice(updates))?;
        let is_silent = self.lock().is_silent;
        if is_silent {
            tokio::time::sleep(SILENCE).await;
            return Err(OutboxError { topic: "model".to_owned(), reason: "no confirmation".to_owned() });
        }
        Ok(())
    }

    async fn command(&self, command: &CommandPart) -> Result<(), OutboxError> {
        self.publish(|published| published.commands.push(command.clone()))
    }

    async fn parts(&self, command: &Arc<RawCommand>, parts: &Arc<[CommandPart]>) -> Result<PartsOutcome, OutboxError> {
        self.publish(|published| {
            let place = command.to_string();
            if published.split.contains(&place) {
                return PartsOutcome::AlreadyThere;
            }
            published.split.push(place);
            published.parts.extend_from_slice(parts);
            PartsOutcome::Published
        })
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), OutboxError> {
        self.publish(|published| published.dead_letters.push(letter.clone()))
    }
}
