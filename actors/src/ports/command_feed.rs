// Upstream: data_worker, heartbeat, order_feed, ports, supervisor
// Downstream: delivery
// Role: The port to the consumer group that commands come from.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ports::CommandReceiver;

/// Where commands come from: a consumer group's member, with a thread of its own.
#[async_trait]
pub trait CommandFeed: Send + Sync {
    /// Begins to hand commands to `receiver`. Called once.
    fn start(&self, receiver: CommandReceiver) -> Result<(), FeedError>;

    /// Takes no further commands; those handed out go on.
    fn stop_intake(&self);

    /// Commits what is resolved and leaves the group. Waits at most `deadline`.
    async fn close(&self, deadline: Duration) -> Result<(), FeedError>;

    /// What the feed is doing just now.
    fn state(&self) -> FeedState;

    /// The assigned partitions, by topic and number.
    fn partitions(&self) -> Vec<PartitionState>;
}

/// A look at a feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedState {
    /// Whether the group has given this member its part (which may be empty).
    pub joined: bool,
    /// Partitions assigned.
    pub num_partitions: usize,
    /// Commands handed out and not settled.
    pub num_unresolved: usize,
    /// Since the feed's thread last went round its loop.
    pub since_last_poll: Duration,
    /// Consumers rebuilt by the watchdog.
    pub num_rebuilds: u64,
}

/// One assigned partition. What the broker has said is some seconds old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionState {
    /// The topic.
    pub topic: Arc<str>,
    /// Its number.
    pub partition: i32,
    /// The watermark: everything before it is resolved. Nothing is resolved yet: `None`.
    pub position: Option<i64>,
    /// What the group has committed, if anything.
    pub committed: Option<i64>,
    /// The offset of the next record to come, once the broker has told it.
    pub end: Option<i64>,
    /// Records that are not resolved, once it is known.
    pub lag: Option<u64>,
    /// Commands handed out and not resolved.
    pub num_unresolved: usize,
}

/// A feed that cannot do what it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("command feed {feed}: {what}: {reason}")]
pub struct FeedError {
    /// Broker and group.
    pub feed: String,
    /// What was tried.
    pub what: &'static str,
    /// Why it failed.
    pub reason: String,
}
