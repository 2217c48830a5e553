// Upstream: many
// Downstream: domain
// Role: The port for publishing the worker's messages.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::{CommandPart, PriceUpdate, RawCommand, TraceIds};

/// A publisher of the worker's own messages.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// Publishes a notification to people (a JSON object). Returns once the broker has acknowledged it.
    async fn notify(&self, message: &str) -> Result<(), OutboxError>;

    /// Publishes price updates. Returns once the broker has acknowledged all of them.
    async fn price_updates(&self, updates: &[PriceUpdate]) -> Result<(), OutboxError>;

    /// Publishes a command of the worker itself to the consumer group's topic. Returns once the broker has acknowledged
    /// it.
    async fn command(&self, command: &CommandPart) -> Result<(), OutboxError>;

    /// Publishes the parts of a command to the consumer group's topic, unless they are there already. After an error it
    /// is open what was published; the next call for this command finds out.
    async fn parts(&self, command: &Arc<RawCommand>, parts: &Arc<[CommandPart]>) -> Result<PartsOutcome, OutboxError>;

    /// Publishes a dead letter with the original bytes of the failed command. Returns once the broker has acknowledged
    /// it.
    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), OutboxError>;
}

/// The outcome of [`Outbox::parts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartsOutcome {
    /// The parts are in the topic, and were not before.
    Published,
    /// All parts were there already.
    AlreadyThere,
}

/// A record for the dead-letter topic.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// The original command.
    pub command: Arc<RawCommand>,
    /// The reason as text.
    pub reason: String,
    /// The reason's class: `bad_command`, `source_error`, `no_codes` or `crashed`.
    pub class: &'static str,
    /// Number of attempts made.
    pub attempts: u32,
    /// The trace ids of the command.
    pub trace: TraceIds,
}

/// A message could not be published.
#[derive(Debug, Clone, thiserror::Error)]
#[error("topic {topic}: {reason}")]
pub struct OutboxError {
    /// The topic.
    pub topic: String,
    /// The reason.
    pub reason: String,
}
