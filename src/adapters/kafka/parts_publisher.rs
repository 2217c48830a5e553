// Upstream: cli, outbox, tests::simulate
// Downstream: actors, adapters::kafka::dead_letters, client_config, clients, feed_shared
// Role: Publishes the parts of a split command, each once, also when the command is delivered again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actors::domain::clock::utc_now;
use actors::domain::{CommandPart, RawCommand};
use actors::ports::PartsOutcome;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientContext, Offset, TopicPartitionList};
use uuid::Uuid;

use crate::adapters::kafka::client_config::COMMAND_PRODUCER;
use crate::adapters::kafka::clients::{KafkaClients, SharedClient};
use crate::adapters::kafka::dead_letters::headers::{text, with, with_mark, with_trace};
use crate::adapters::kafka::feed_shared::lock;

/// Timeout of each question to the broker, and the longest wait for the next record of the topic.
const BROKER_ANSWER: Duration = Duration::from_secs(20);

/// The broker aborts a transaction that is open for this long: its worker is gone. Until then nobody reads what follows
/// it.
const TRANSACTION_MS: &str = "30000";

/// How long other transactions may stay open before the search for parts is given up, to be repeated.
const OTHERS_END: Duration = Duration::from_secs(45);

/// Interval of the look at other transactions.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How far the clocks of brokers may differ.
const CLOCKS_DIFFER_MS: i64 = 3_600_000;

/// The header with the identity of the command.
const OF: &str = "split.of";

/// The header with the identity of the part.
const PART: &str = "split.part";

/// The header with the position of the command, by which `data-worker send --wait` finds its parts.
pub const FROM: &str = "split.from";

/// The header of parts that were published in one transaction: where one is, all are.
const WHOLE: &str = "split.whole";

/// Publishes parts to the topic that also remembers them: each carries the identity of its command. Before parts are
/// published, the topic is searched for them, from the time of the command on.
///
/// All parts of a command leave in one transaction. Its id belongs to the partition of the command: whoever publishes
/// for the partition ends the transaction of the one before and shuts it out. So a worker that was killed leaves none
/// or all of them, and one that was taken for dead cannot add any.
///
/// Without transactions (`kafka.parts_in_transaction`) the parts that are missing are published. Then a worker that was
/// taken for dead may still publish one beside its successor.
pub struct PartsPublisher {
    clients: Arc<KafkaClients>,
    node_id: String,
}

/// What a search has found of a command.
#[derive(Default)]
struct Found {
    parts: HashSet<String>,
    is_whole: bool,
}

/// Keeps the last error of a record: without a transaction nothing else reports it.
#[derive(Default)]
struct Deliveries(Mutex<Option<KafkaError>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _opaque: ()) {
        if let Err((error, _)) = result {
            *lock(&self.0) = Some(error.clone());
        }
    }
}

impl PartsPublisher {
    /// A publisher for this worker.
    pub fn new(clients: Arc<KafkaClients>, node_id: &str) -> Self {
        Self { clients, node_id: node_id.to_owned() }
    }

    /// Publishes the parts of a command that are not in the topic. Blocks; an error leaves it open what was published,
    /// and the next call finds out.
    pub fn publish(&self, command: &RawCommand, parts: &[CommandPart]) -> KafkaResult<PartsOutcome> {
        let producer = self.producer(command)?;
        let in_transaction = self.clients.section().parts_in_transaction;
        if in_transaction {
            producer.init_transactions(BROKER_ANSWER).inspect_err(|error| {
                tracing::warn!(%error, "the broker begins no transaction; see kafka.parts_in_transaction");
            })?;
        }
        let identity = identity_of(command);
        // A time in the future is of a wrong clock, which the parts need not have.
        let now = utc_now().timestamp_millis();
        let found = self.find(&identity, command.timestamp_ms.filter(|time| *time <= now))?;
        let missing: Vec<(&CommandPart, String)> =
            parts.iter().map(|part| (part, id_of(part))).filter(|(_, id)| !found.parts.contains(id)).collect();
        if found.is_whole || missing.is_empty() {
            return Ok(PartsOutcome::AlreadyThere);
        }
        if !in_transaction {
            self.send_all(&producer, command, &identity, &missing)?;
            producer.flush(BROKER_ANSWER)?;
            return outcome_of(&producer);
        }
        producer.begin_transaction()?;
        let sent = self.send_all(&producer, command, &identity, &missing);
        if sent.is_err() {
            // So that nobody waits for its end. Without an answer the broker ends it in time, or the next publisher
            // does.
            if let Err(error) = producer.abort_transaction(BROKER_ANSWER) {
                tracing::debug!(%error, "cannot abort the transaction of command parts");
            }
            sent?;
        }
        producer.commit_transaction(BROKER_ANSWER)?;
        outcome_of(&producer)
    }

    fn send_all(
        &self,
        producer: &BaseProducer<Deliveries>,
        command: &RawCommand,
        identity: &str,
        parts: &[(&CommandPart, String)],
    ) -> KafkaResult<()> {
        for (part, id) in parts {
            self.send(producer, command, part, (identity, id))?;
            // For tests: time to end the worker between two parts.
            fail::fail_point!("kafka::part");
        }
        Ok(())
    }

    fn producer(&self, command: &RawCommand) -> KafkaResult<SharedClient<BaseProducer<Deliveries>>> {
        let config = self.clients.section();
        let RawCommand { topic, partition, .. } = command;
        let id = format!("{}.parts.{topic}.{partition}", config.group_id);
        let mut own = COMMAND_PRODUCER.to_vec();
        if config.parts_in_transaction {
            own.extend([("transactional.id", id.as_str()), ("transaction.timeout.ms", TRANSACTION_MS)]);
        }
        self.clients.make(&format!("{}.parts", self.node_id), &own, Deliveries::default())
    }

    fn send(
        &self,
        producer: &BaseProducer<Deliveries>,
        command: &RawCommand,
        part: &CommandPart,
        (identity, id): (&str, &str),
    ) -> KafkaResult<()> {
        let headers = with_trace(with_mark(OwnedHeaders::new(), command.replay.as_ref()), &command.trace);
        let own = [(OF, identity), (FROM, &command.to_string()), (PART, id)];
        let mut headers = own.into_iter().fold(headers, |headers, (key, value)| with(headers, key, value));
        if self.clients.section().parts_in_transaction {
            headers = with(headers, WHOLE, "true");
        }
        let mut record = BaseRecord::to(self.clients.section().topic_of_parts())
            .key(part.key.as_bytes())
            .payload(part.payload.as_bytes())
            .headers(headers)
            // Not before the command, whatever the clocks say: the search begins at its time.
            .timestamp(utc_now().timestamp_millis().max(command.timestamp_ms.unwrap_or_default()));
        let deadline = Instant::now() + BROKER_ANSWER;
        loop {
            match producer.send(record) {
                Ok(()) => {
                    producer.poll(Duration::ZERO);
                    return Ok(());
                }
                Err((error, back))
                    if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) && Instant::now() < deadline =>
                {
                    producer.poll(LOOK_AGAIN);
                    record = back;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Searches the topic for parts of a command, from its time to the present end.
    fn find(&self, identity: &str, since_ms: Option<i64>) -> KafkaResult<Found> {
        let topic = self.clients.section().topic_of_parts();
        let (consumer, every) = (self.consumer("read_committed")?, self.consumer("read_uncommitted")?);
        let metadata = consumer.fetch_metadata(Some(topic), BROKER_ANSWER)?;
        let partitions: Vec<i32> =
            metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
        if partitions.is_empty() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        for partition in &partitions {
            wait_for_others(&consumer, &every, topic, *partition)?;
        }
        consumer.assign(&starts(&consumer, topic, &partitions, since_ms)?)?;
        read(&consumer, identity, partitions.len())
    }

    fn consumer(&self, isolation: &str) -> KafkaResult<SharedClient<BaseConsumer>> {
        let own = [
            ("group.id", self.clients.section().group_id.as_str()),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("enable.partition.eof", "true"),
            ("allow.auto.create.topics", "false"),
            ("isolation.level", isolation),
            ("fetch.wait.max.ms", "10"),
            ("queued.max.messages.kbytes", "4096"),
        ];
        self.clients.make(&format!("{}.parts", self.node_id), &own, DefaultConsumerContext)
    }
}

/// The outcome of what was sent and flushed.
fn outcome_of(producer: &BaseProducer<Deliveries>) -> KafkaResult<PartsOutcome> {
    match lock(&producer.context().0).take() {
        Some(error) => Err(error),
        None => Ok(PartsOutcome::Published),
    }
}

/// Waits until no transaction of another worker is open before the present end: behind one that is open, nothing is
/// seen.
fn wait_for_others(consumer: &BaseConsumer, every: &BaseConsumer, topic: &str, partition: i32) -> KafkaResult<()> {
    let (_, end) = every.fetch_watermarks(topic, partition, BROKER_ANSWER)?;
    let deadline = Instant::now() + OTHERS_END;
    while consumer.fetch_watermarks(topic, partition, BROKER_ANSWER)?.1 < end {
        if Instant::now() >= deadline {
            return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
    Ok(())
}

/// Where the search begins in each partition.
fn starts(
    consumer: &BaseConsumer,
    topic: &str,
    partitions: &[i32],
    since_ms: Option<i64>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        let time = since_ms.map(|since| Offset::Offset((since - CLOCKS_DIFFER_MS).max(0)));
        list.add_partition_offset(topic, *partition, time.unwrap_or(Offset::Beginning))?;
    }
    if since_ms.is_none() {
        return Ok(list);
    }
    if let Ok(found) = consumer.offsets_for_times(list, BROKER_ANSWER) {
        return Ok(found);
    }
    // A broker that keeps no times: all is searched.
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    Ok(list)
}

/// Reads to the end of all partitions, or to a part that says that all are there.
fn read(consumer: &BaseConsumer, identity: &str, num_partitions: usize) -> KafkaResult<Found> {
    // A partition that grows meanwhile is at its end more than once.
    let (mut found, mut at_end, mut last_heard) = (Found::default(), HashSet::new(), Instant::now());
    while at_end.len() < num_partitions && !found.is_whole {
        match consumer.poll(LOOK_AGAIN) {
            Some(Ok(message)) => {
                last_heard = Instant::now();
                note(&message, identity, &mut found);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                at_end.insert(partition);
            }
            Some(Err(error)) => return Err(error),
            None if last_heard.elapsed() < BROKER_ANSWER => {}
            None => return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)),
        }
    }
    Ok(found)
}

fn note(message: &BorrowedMessage<'_>, identity: &str, found: &mut Found) {
    if text(message, OF).as_deref() == Some(identity) {
        found.parts.extend(text(message, PART));
        found.is_whole |= text(message, WHOLE).is_some();
    }
}

/// The identity of a command: its place and content. An offset alone may belong to another log.
pub fn identity_of(RawCommand { topic, partition, offset, payload, timestamp_ms, .. }: &RawCommand) -> String {
    let place = format!("{topic} {partition} {offset} {timestamp_ms:?} ");
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &[place.as_bytes(), payload].concat()).to_string()
}

/// The identity of a part within its command.
fn id_of(part: &CommandPart) -> String {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, part.payload.as_bytes()).to_string()
}

/// Publishes on a thread of its own: the calls block for as long as the broker is away, and a runtime would wait for
/// them at its end.
pub async fn publish_on_thread(
    publisher: Arc<PartsPublisher>,
    command: Arc<RawCommand>,
    parts: Arc<[CommandPart]>,
) -> Result<PartsOutcome, String> {
    let (answer, published) = tokio::sync::oneshot::channel();
    let publish = move || {
        let outcome = publisher.publish(&command, &parts);
        if answer.send(outcome.map_err(|error| error.to_string())).is_err() {
            tracing::debug!(%command, "the parts of a command were published after their worker had stopped");
        }
    };
    std::thread::Builder::new().name("kafka-parts".to_owned()).spawn(publish).map_err(|error| error.to_string())?;
    published.await.unwrap_or_else(|_| Err("the thread that publishes the parts ended without an answer".to_owned()))
}
