// Upstream: admin_client, consumer_client, orders, reading_watch
// Downstream: clients, intake
// Role: Finds out what follows an offset in a partition: a record, nothing, or what cannot be read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::adapters::kafka::clients::{KafkaClients, SharedClient};
use crate::adapters::kafka::intake::PartitionKey;

/// What follows an offset in a partition.
#[derive(Debug, PartialEq, Eq)]
pub enum Following {
    /// A record that a consumer receives.
    Record,
    /// No record up to the end: there are none, or those that no consumer receives, such as transaction markers and
    /// records of aborted transactions.
    Nothing {
        /// The offset of the first record that the partition holds.
        first: i64,
        /// The end. While a transaction is open it is where the transaction begins.
        end: i64,
    },
    /// What follows cannot be read; contains the reason.
    Unreadable(String),
}

/// Reads partitions beside the consumer of the group, whose own state is what may have failed.
pub struct LogProbe {
    consumer: SharedClient<BaseConsumer>,
}

impl LogProbe {
    /// Connects in the background. The client is no member of the group, although it has the name: where names of
    /// groups are restricted, another one would not be allowed.
    pub fn new(clients: &Arc<KafkaClients>, client_id: &str) -> KafkaResult<Self> {
        let own = [
            ("group.id", clients.section().group_id.as_str()),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
            ("fetch.wait.max.ms", "10"),
            // One record is enough.
            ("queued.max.messages.kbytes", "1024"),
            ("fetch.message.max.bytes", "65536"),
        ];
        Ok(Self { consumer: clients.make(client_id, &own, DefaultConsumerContext)? })
    }

    /// The first record that a partition holds, and its end.
    pub fn bounds(&self, (topic, partition): &PartitionKey, deadline: Instant) -> KafkaResult<(i64, i64)> {
        self.consumer.fetch_watermarks(topic, *partition, left(deadline))
    }

    /// What follows `offset`. An error means that the broker did not answer in time.
    pub fn following(&self, key: &PartitionKey, offset: i64, deadline: Instant) -> KafkaResult<Following> {
        match self.read(key, offset, deadline) {
            Err(error) if !is_transient(&error) => Ok(Following::Unreadable(error.to_string())),
            answer => answer,
        }
    }

    /// Reads from `offset` to the end. Returns the offset and the reason where that is not possible.
    pub fn readable_from(
        &self,
        key: &PartitionKey,
        offset: i64,
        deadline: Instant,
    ) -> KafkaResult<Result<(), (i64, String)>> {
        let (first, _) = self.bounds(key, deadline)?;
        let mut next = offset.max(first);
        self.start_at(key, next)?;
        loop {
            match self.poll(key, deadline) {
                Ok(Some(found)) => next = found + 1,
                Ok(None) => return Ok(Ok(())),
                Err(error) if is_transient(&error) => return Err(error),
                Err(error) => return Ok(Err((next, error.to_string()))),
            }
        }
    }

    fn read(&self, key: &PartitionKey, offset: i64, deadline: Instant) -> KafkaResult<Following> {
        // The end is asked before, so all before it is seen when the reading is at its end.
        let (first, end) = self.bounds(key, deadline)?;
        self.start_at(key, offset.max(first))?;
        let found = self.poll(key, deadline)?;
        Ok(found.map_or(Following::Nothing { first, end }, |_| Following::Record))
    }

    fn start_at(&self, (topic, partition): &PartitionKey, offset: i64) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, *partition, Offset::Offset(offset))?;
        self.consumer.assign(&list)
    }

    /// The offset of the next record; `None` at the end.
    fn poll(&self, (topic, partition): &PartitionKey, deadline: Instant) -> KafkaResult<Option<i64>> {
        loop {
            match self.consumer.poll(left(deadline)) {
                None if Instant::now() < deadline => {}
                None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
                Some(Ok(message)) if message.topic() == topic.as_ref() && message.partition() == *partition => {
                    return Ok(Some(message.offset()));
                }
                Some(Err(KafkaError::PartitionEOF(at_end))) if at_end == *partition => return Ok(None),
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => {}
                // The client tries again by itself.
                Some(Err(error)) if is_transient(&error) && Instant::now() < deadline => {}
                Some(Err(error)) => return Err(error),
            }
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Whether an error says that a broker is away or moves a partition, or that the topic is gone, and nothing about what
/// the partition holds.
pub fn is_transient(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        AllBrokersDown, BrokerNotAvailable, BrokerTransportFailure, FencedLeaderEpoch, LeaderNotAvailable,
        NetworkException, NotLeaderForPartition, OffsetNotAvailable, OperationTimedOut, ReplicaNotAvailable,
        RequestTimedOut, Resolve, UnknownLeaderEpoch, UnknownPartition, UnknownTopic, UnknownTopicOrPartition,
    };
    matches!(
        error.rdkafka_error_code(),
        Some(
            AllBrokersDown
                | BrokerNotAvailable
                | BrokerTransportFailure
                | FencedLeaderEpoch
                | LeaderNotAvailable
                | NetworkException
                | NotLeaderForPartition
                | OffsetNotAvailable
                | OperationTimedOut
                | ReplicaNotAvailable
                | RequestTimedOut
                | Resolve
                | UnknownLeaderEpoch
                | UnknownPartition
                | UnknownTopic
                | UnknownTopicOrPartition
        )
    )
}
