// Upstream: consumer_client, consumer_loop, feed_shared, log_start, tests::simulate
// Downstream: actors, intake, topic_ids
// Role: What the consumer's loop needs of a client of the consumer group.

use std::future::Future;
use std::time::Duration;

use actors::domain::RawCommand;
use rdkafka::error::KafkaResult;

use crate::adapters::kafka::intake::{PartitionKey, Waiting};
use crate::adapters::kafka::topic_ids::TopicIds;

/// A client of the consumer group. Questions to the broker end within seconds, answered or not.
pub trait GroupClient {
    /// Waits for the next event, at most `wait`.
    fn poll(&mut self, wait: Duration) -> impl Future<Output = Polled>;

    /// Subscribes to the topics: the client joins the group.
    fn subscribe(&mut self, topics: &[&str]) -> KafkaResult<()>;

    /// Leaves the group. What was assigned is revoked by the following polls.
    fn unsubscribe(&mut self);

    /// Begins to read the partitions of an assignment, which is answered by this call.
    fn assign(&mut self, starts: &[StartAt]) -> KafkaResult<()>;

    /// Gives up all partitions, which answers a revocation.
    fn unassign(&mut self) -> KafkaResult<()>;

    /// Whether the group has taken the partitions away already: nothing of them can be committed any more.
    fn is_assignment_lost(&self) -> bool;

    /// Pauses or resumes all partitions. One that is given up while it is paused stays so until it is resumed in another
    /// assignment (librdkafka).
    fn pause(&mut self, pause: bool) -> KafkaResult<()>;

    /// Stores positions for the next commit in the background.
    fn store(&mut self, positions: &[Position]) -> KafkaResult<()>;

    /// Commits positions and waits for the acknowledgement.
    fn commit(&mut self, positions: &[Position]) -> impl Future<Output = KafkaResult<()>>;

    /// The group's committed offsets. A partition whose offset the broker cannot give is left out.
    fn committed(&mut self, keys: &[PartitionKey]) -> impl Future<Output = KafkaResult<Vec<CommittedOffset>>>;

    /// The ids of the topics.
    fn topic_ids(&mut self, topics: &[&str]) -> impl Future<Output = KafkaResult<TopicIds>>;

    /// The first offset of a partition, and the next one to be written.
    fn bounds(&mut self, key: &PartitionKey) -> impl Future<Output = KafkaResult<(i64, i64)>>;

    /// Whether one of these partitions holds a record after what was delivered, as another client finds it.
    fn holds_more(&mut self, waiting: &[Waiting]) -> impl Future<Output = KafkaResult<bool>>;

    /// Leaves the group and ends.
    fn close(self) -> impl Future<Output = ()>;
}

/// Makes clients: a new one replaces one that has failed.
pub trait GroupClients {
    /// The client.
    type Client: GroupClient;

    /// A client that has not subscribed.
    fn create(&mut self) -> KafkaResult<Self::Client>;
}

/// What a poll found.
#[derive(Debug)]
pub enum Polled {
    /// Nothing within the time.
    Nothing,
    /// A record.
    Record(RawCommand),
    /// The group has assigned these partitions. Contains the whole assignment; [`GroupClient::assign`] answers it.
    Assigned(Vec<PartitionKey>),
    /// The group revokes these partitions. Contains the whole assignment; [`GroupClient::unassign`] answers it.
    Revoked(Vec<PartitionKey>),
    /// An error after which the client goes on.
    Failed(String),
    /// An error that ends the client.
    Fatal(String),
}

/// Where the reading of a partition begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartAt {
    /// The partition.
    pub key: PartitionKey,
    /// Whether it begins at the first record. Otherwise it begins at the committed offset, if there is one.
    pub is_beginning: bool,
}

/// A position to commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub key: PartitionKey,
    /// The offset of the next command to do.
    pub offset: i64,
    /// Names the log that the offset belongs to; empty if that is not known.
    pub metadata: String,
}

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The partition.
    pub key: PartitionKey,
    /// The offset, if there is one.
    pub offset: Option<i64>,
    /// The metadata of the commit.
    pub metadata: String,
}
