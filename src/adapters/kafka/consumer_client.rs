// Upstream: consumer_tests, feed
// Downstream: many
// Role: The client of the consumer group that the worker uses: librdkafka.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actors::domain::RawCommand;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::adapters::kafka::clients::{KafkaClients, SharedClient};
use crate::adapters::kafka::dead_letters::headers;
use crate::adapters::kafka::feed_shared::{BrokerOffsets, FeedShared, lock};
use crate::adapters::kafka::group_client::{CommittedOffset, GroupClient, GroupClients, Polled, Position, StartAt};
use crate::adapters::kafka::intake::{PartitionKey, Waiting};
use crate::adapters::kafka::log_probe::{Following, LogProbe};
use crate::adapters::kafka::topic_ids::{TopicIds, topic_ids};

/// Timeout of a question to the broker: far below the session timeout, and below the time in which the group expects
/// the end of a rebalance.
const BROKER_ANSWER: Duration = Duration::from_secs(3);

/// Makes the clients of one worker.
pub struct ConsumerClients {
    clients: Arc<KafkaClients>,
    node_id: String,
    shared: Arc<FeedShared>,
}

impl ConsumerClients {
    /// Clients that deliver to this feed.
    pub fn new(clients: Arc<KafkaClients>, node_id: &str, shared: Arc<FeedShared>) -> Self {
        Self { clients, node_id: node_id.to_owned(), shared }
    }
}

impl GroupClients for ConsumerClients {
    type Client = ConsumerClient;

    /// Offsets are stored explicitly and committed in the background; buffers are small.
    fn create(&mut self) -> KafkaResult<ConsumerClient> {
        let config = self.clients.section();
        let mut own = vec![
            ("group.id", config.group_id.as_str()),
            ("auto.offset.reset", "earliest"),
            ("enable.auto.commit", "true"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "false"),
            // Eager assignment: commits and cooperative rebalances conflict in librdkafka (its issue 4059).
            ("partition.assignment.strategy", "range,roundrobin"),
            ("max.poll.interval.ms", "300000"),
            // Commands are small. These limits keep the prefetched records within a few megabytes.
            ("queued.max.messages.kbytes", "2048"),
            ("fetch.message.max.bytes", "262144"),
            ("fetch.wait.max.ms", "100"),
            ("statistics.interval.ms", "5000"),
            ("allow.auto.create.topics", "false"),
            // Detects topics created after the start within seconds.
            ("topic.metadata.refresh.interval.ms", "5000"),
            ("reconnect.backoff.max.ms", "5000"),
        ];
        let times = [
            ("auto.commit.interval.ms", config.commit_interval_ms.to_string()),
            ("session.timeout.ms", config.session_timeout_ms.to_string()),
            ("heartbeat.interval.ms", (config.session_timeout_ms / 10).max(100).to_string()),
        ];
        own.extend(times.iter().map(|(name, value)| (*name, value.as_str())));
        if config.static_membership {
            own.push(("group.instance.id", &self.node_id));
        }
        let callbacks =
            Callbacks { shared: self.shared.clone(), rebalance: Mutex::default(), is_closing: AtomicBool::new(false) };
        let consumer = self.clients.make(&self.node_id, &own, callbacks)?;
        Ok(ConsumerClient { consumer, clients: self.clients.clone(), probe_id: format!("{}.probe", self.node_id) })
    }
}

/// One client. Its calls block; it has a thread of its own.
pub struct ConsumerClient {
    consumer: SharedClient<BaseConsumer<Callbacks>>,
    clients: Arc<KafkaClients>,
    /// The name of the client that judges whether this one has stopped.
    probe_id: String,
}

impl GroupClient for ConsumerClient {
    async fn poll(&mut self, wait: Duration) -> Polled {
        leave_in_tests(&self.consumer);
        match self.consumer.poll(wait) {
            // A rebalance ends the poll.
            None => lock(&self.consumer.context().rebalance).take().unwrap_or(Polled::Nothing),
            Some(Ok(message)) => Polled::Record(command_of(&message)),
            Some(Err(error)) if is_fatal(&error) => Polled::Fatal(reason_of(&self.consumer, &error)),
            Some(Err(error)) => Polled::Failed(error.to_string()),
        }
    }

    fn subscribe(&mut self, topics: &[&str]) -> KafkaResult<()> {
        self.consumer.subscribe(topics)
    }

    fn unsubscribe(&mut self) {
        self.consumer.unsubscribe();
    }

    fn assign(&mut self, starts: &[StartAt]) -> KafkaResult<()> {
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for StartAt { key: (topic, partition), is_beginning } in starts {
            let mut element = list.add_partition(topic, *partition);
            if *is_beginning {
                element.set_offset(Offset::Beginning)?;
            }
        }
        self.consumer.assign(&list)
    }

    fn unassign(&mut self) -> KafkaResult<()> {
        self.consumer.unassign()
    }

    fn is_assignment_lost(&self) -> bool {
        self.consumer.assignment_lost()
    }

    fn pause(&mut self, pause: bool) -> KafkaResult<()> {
        let partitions = self.consumer.assignment()?;
        if pause { self.consumer.pause(&partitions) } else { self.consumer.resume(&partitions) }
    }

    fn store(&mut self, positions: &[Position]) -> KafkaResult<()> {
        self.consumer.store_offsets(&list_of(positions)?)
    }

    async fn commit(&mut self, positions: &[Position]) -> KafkaResult<()> {
        let list = list_of(positions)?;
        // They are stored first: a consumer that is closed commits its stored offsets once more, and an older one would
        // take the commit back.
        if list.count() > 0
            && let Err(error) = self.consumer.store_offsets(&list)
        {
            tracing::warn!(%error, "cannot store resolved offsets before their commit");
        }
        match self.consumer.commit(&list, CommitMode::Sync) {
            // Everything is already committed.
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
            outcome => outcome,
        }
    }

    async fn committed(&mut self, keys: &[PartitionKey]) -> KafkaResult<Vec<CommittedOffset>> {
        let mut list = TopicPartitionList::with_capacity(keys.len());
        for (topic, partition) in keys {
            list.add_partition(topic, *partition);
        }
        let committed = self.consumer.committed_offsets(list, BROKER_ANSWER)?;
        let found = committed.elements().into_iter().filter(|element| element.error().is_ok()).map(|element| {
            let offset = if let Offset::Offset(offset) = element.offset() { Some(offset) } else { None };
            let key = (element.topic().into(), element.partition());
            CommittedOffset { key, offset, metadata: element.metadata().to_owned() }
        });
        Ok(found.collect())
    }

    async fn topic_ids(&mut self, topics: &[&str]) -> KafkaResult<TopicIds> {
        topic_ids(self.consumer.client(), topics, BROKER_ANSWER)
    }

    async fn bounds(&mut self, (topic, partition): &PartitionKey) -> KafkaResult<(i64, i64)> {
        self.consumer.fetch_watermarks(topic, *partition, BROKER_ANSWER)
    }

    async fn holds_more(&mut self, waiting: &[Waiting]) -> KafkaResult<bool> {
        let probe = LogProbe::new(&self.clients, &self.probe_id)?;
        let deadline = Instant::now() + BROKER_ANSWER;
        for waiting in waiting {
            if probe.following(&waiting.key, waiting.next, deadline)? == Following::Record {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn close(self) {
        self.consumer.context().is_closing.store(true, Ordering::Release);
        drop(self.consumer);
    }
}

/// The callbacks of one client, which it calls while it is polled.
struct Callbacks {
    shared: Arc<FeedShared>,
    /// The rebalance that the loop has not seen yet. librdkafka waits until it is answered by an `assign` or `unassign`.
    rebalance: Mutex<Option<Polled>>,
    is_closing: AtomicBool,
}

impl ClientContext for Callbacks {
    fn stats(&self, statistics: Statistics) {
        let mut on_broker = HashMap::new();
        for topic in statistics.topics.values() {
            let known = topic.partitions.values().filter(|partition| partition.hi_offset >= 0);
            on_broker.extend(known.map(|partition| {
                let key = (topic.topic.as_str().into(), partition.partition);
                // Negative numbers mean "none" or "unknown".
                let committed = Some(partition.committed_offset).filter(|offset| *offset >= 0);
                (key, BrokerOffsets { first: partition.lo_offset.max(0), next: partition.hi_offset, committed })
            }));
        }
        *lock(&self.shared.broker_offsets) = on_broker;
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Emerg, Error, Info, Notice, Warning};
        match level {
            Emerg | Alert | Critical | Error | Warning => {
                tracing::warn!(facility, text = message, "message of the Kafka client")
            }
            Notice | Info => tracing::debug!(facility, text = message, "message of the Kafka client"),
            RDKafkaLogLevel::Debug => tracing::trace!(facility, text = message, "message of the Kafka client"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Every broker that is down causes an error every few seconds. The loop reports the relevant ones.
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Callbacks {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.is_closing.load(Ordering::Acquire) {
            if let Err(error) = consumer.unassign() {
                tracing::error!(%error, "cannot give up the partitions of a consumer that is closed");
            }
            return;
        }
        let keys = keys_of(list);
        // Eager assignment: each one is whole.
        let is_assignment = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        let rebalance = if is_assignment { Polled::Assigned(keys) } else { Polled::Revoked(keys) };
        *lock(&self.rebalance) = Some(rebalance);
    }
}

fn command_of(message: &BorrowedMessage<'_>) -> RawCommand {
    RawCommand {
        topic: message.topic().into(),
        partition: message.partition(),
        offset: message.offset(),
        key: message.key().map(<[u8]>::to_vec),
        payload: message.payload().unwrap_or_default().to_vec(),
        timestamp_ms: message.timestamp().to_millis(),
        replay: headers::mark_of(message),
        trace: headers::trace_of(message),
    }
}

/// Converts positions for librdkafka.
fn list_of(positions: &[Position]) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for Position { key: (topic, partition), offset, metadata } in positions {
        let mut element = list.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(*offset))?;
        if !metadata.is_empty() {
            element.set_metadata(metadata);
        }
    }
    Ok(list)
}

/// Converts partitions from librdkafka.
fn keys_of(partitions: &TopicPartitionList) -> Vec<PartitionKey> {
    // `elements()` of an empty list is undefined behaviour in rdkafka.
    if partitions.count() == 0 {
        return Vec::new();
    }
    partitions.elements().iter().map(|element| (element.topic().into(), element.partition())).collect()
}

/// For tests: the client leaves the group without a word and does not come back.
fn leave_in_tests(_consumer: &BaseConsumer<Callbacks>) {
    fail::fail_point!("kafka::leaves", |_| _consumer.unsubscribe());
}

/// The reason of a fatal error, which names what an operator can change.
fn reason_of(consumer: &BaseConsumer<Callbacks>, error: &KafkaError) -> String {
    let cause = consumer.client().fatal_error();
    match cause {
        Some((RDKafkaErrorCode::FencedInstanceId, text)) => format!(
            "{text}: another worker has joined the group with the same node id; give each worker its own worker.node_id"
        ),
        Some((_, text)) => text,
        None => error.to_string(),
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}
