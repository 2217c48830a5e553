// Upstream: many
// Downstream: delivery, domain
// Role: The port to the Kafka consumer group that delivers commands.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::RawCommand;
use crate::ports::CommandReceiver;

/// The source of commands: a member of a consumer group, running on a separate thread.
#[async_trait]
pub trait CommandFeed: Send + Sync {
    /// Starts delivering commands to `receiver`. Called once.
    fn start(&self, receiver: CommandReceiver) -> Result<(), FeedError>;

    /// Stops taking new commands; delivered ones continue.
    fn stop_intake(&self);

    /// Commits the resolved offsets and leaves the group. Waits at most `deadline`.
    async fn close(&self, deadline: Duration) -> Result<(), FeedError>;

    /// The current state of the feed.
    fn state(&self) -> FeedState;

    /// The assigned partitions, ordered by topic and number.
    fn partitions(&self) -> Vec<PartitionState>;
}

/// A snapshot of the state of a feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedState {
    /// Whether this member has joined the group and received its assignment (which may be empty).
    pub joined: bool,
    /// Why commands or operator orders are not read as they should be, by the broker's own account.
    pub fault: Option<String>,
    /// Why that is not known: the broker does not answer.
    pub unknown: Option<String>,
    /// Number of assigned partitions.
    pub num_partitions: usize,
    /// Number of partitions of all command topics; `None` until the broker has named them.
    pub num_topic_partitions: Option<usize>,
    /// Commands delivered and not yet settled.
    pub num_unresolved: usize,
    /// The command that has been unresolved for the longest time.
    pub oldest: Option<OldestCommand>,
    /// Time since the last iteration of the feed's poll loop.
    pub since_last_poll: Duration,
    /// Number of consumers that the watchdog has rebuilt.
    pub num_rebuilds: u64,
}

/// An unresolved command that holds the position of its partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldestCommand {
    /// The command.
    pub command: Arc<RawCommand>,
    /// Time since its delivery.
    pub age: Duration,
}

/// The state of one assigned partition. Values from the broker are some seconds old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition number.
    pub partition: i32,
    /// The watermark: all commands before this offset are resolved. `None` if no command is resolved yet.
    pub position: Option<i64>,
    /// The committed offset of the group, if any.
    pub committed: Option<i64>,
    /// The offset of the next record to arrive; `None` until the broker has reported it.
    pub end: Option<i64>,
    /// Number of unresolved records; `None` until it is known.
    pub lag: Option<u64>,
    /// Commands delivered and not yet resolved.
    pub num_unresolved: usize,
}

/// An error of a command feed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("command feed {feed}: {what}: {reason}")]
pub struct FeedError {
    /// Broker and group.
    pub feed: String,
    /// The failed operation.
    pub what: &'static str,
    /// The reason.
    pub reason: String,
}
