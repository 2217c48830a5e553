// Upstream: many
// Downstream: domain
// Role: The port to the messages that the worker publishes.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{CommandPart, PriceUpdate, RawCommand};

/// Where messages go that the worker itself writes.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Publishes a message for people (a JSON object); returns when the broker has it.
    async fn notify(&self, message: &str) -> Result<(), OutboxError>;

    /// Publishes price updates; returns when the broker has all of them.
    async fn price_updates(&self, updates: &[PriceUpdate]) -> Result<(), OutboxError>;

    /// Publishes a part of a command to the topic the whole group reads; returns when the broker has it.
    async fn command(&self, part: &CommandPart) -> Result<(), OutboxError>;

    /// Records a command that could not be carried out, with its original bytes; returns when the broker has it.
    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), OutboxError>;
}

/// A command that ends in the dead-letter topic.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The command as it came in.
    pub command: Arc<RawCommand>,
    /// Why, in words.
    pub reason: String,
    /// The reason's class: `bad_command`, `source_error`, `no_codes` or `crashed`.
    pub class: &'static str,
    /// Attempts made.
    pub attempts: u32,
}

/// A message that could not be published.
#[derive(Debug, Clone, thiserror::Error)]
#[error("topic {topic}: {reason}")]
pub struct OutboxError {
    /// The topic.
    pub topic: String,
    /// Why.
    pub reason: String,
}
