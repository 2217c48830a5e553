// Upstream: app, clients_tests, feed, kafka
// Downstream: actors, clients, feed_shared, log_probe, topic_ids
// Role: Reads operator orders from the control topic, starting at the newest offset, in every instance.

//! Operator orders.
//!
//! A consumer group delivers a message to one member, but an order concerns all workers. So each worker reads the topic
//! on its own, without a group and without commits. Orders sent while a worker is down do not apply to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actix::Recipient;
use actors::domain::OperatorOrder;
use actors::ports::{FeedError, OrderFeed, OrderReceived};
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use crate::adapters::kafka::clients::{KafkaClients, SharedClient};
use crate::adapters::kafka::feed_shared::lock;
use crate::adapters::kafka::log_probe::{Following, LogProbe};
use crate::adapters::kafka::topic_ids::topic_ids;

/// Maximum wait for a record, and so the maximum delay of a close.
const POLL: Duration = Duration::from_millis(100);

/// Timeout of a request to a broker.
const BROKER_ANSWER: Duration = Duration::from_secs(5);

/// Interval of the check for added partitions.
const LOOK_FOR_PARTITIONS: Duration = Duration::from_secs(30);

/// Interval of the check for a topic that does not exist yet, or cannot be read.
const LOOK_FOR_TOPIC: Duration = Duration::from_secs(2);

/// Time for which the topic may be missing before that is a fault: it may be created beside the worker.
const MISSING_FOR: Duration = Duration::from_secs(30);

/// Why operator orders are not heard, if so.
pub type OrdersFault = Arc<Mutex<Option<String>>>;

/// The reader of the control topic.
pub struct KafkaOrders {
    clients: Arc<KafkaClients>,
    node_id: String,
    hearing: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    fault: OrdersFault,
}

impl KafkaOrders {
    /// Creates the reader; `start` connects it.
    pub fn new(clients: Arc<KafkaClients>, node_id: &str) -> Self {
        Self {
            clients,
            node_id: node_id.to_owned(),
            hearing: Arc::default(),
            closed: Arc::default(),
            fault: Arc::default(),
        }
    }

    /// Why orders are not heard; the reader keeps it up to date.
    pub fn fault(&self) -> OrdersFault {
        self.fault.clone()
    }
}

impl OrderFeed for KafkaOrders {
    fn start(&self, receiver: Recipient<OrderReceived>) -> Result<(), FeedError> {
        let reader = Reader {
            clients: self.clients.clone(),
            node_id: self.node_id.clone(),
            topic: self.clients.section().control_topic.clone(),
            receiver,
            hearing: self.hearing.clone(),
            closed: self.closed.clone(),
            fault: self.fault.clone(),
            next: Vec::new(),
            topic_id: None,
            missing_since: None,
            has_failed: false,
        };
        let spawned = std::thread::Builder::new().name("kafka-orders".to_owned()).spawn(move || reader.run());
        let section = self.clients.section();
        spawned.map(drop).map_err(|error| FeedError {
            feed: format!("{} topic {}", section.address(), section.control_topic),
            what: "start",
            reason: error.to_string(),
        })
    }

    fn is_receiving(&self) -> bool {
        self.hearing.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// State of the reader thread.
struct Reader {
    clients: Arc<KafkaClients>,
    node_id: String,
    topic: String,
    receiver: Recipient<OrderReceived>,
    hearing: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    fault: OrdersFault,
    /// The next offset of each partition.
    next: Vec<i64>,
    /// The id of the topic that is read.
    topic_id: Option<String>,
    /// Since when the topic is missing.
    missing_since: Option<Instant>,
    /// Whether a poll has failed since the partitions were last found readable.
    has_failed: bool,
}

impl Reader {
    fn run(mut self) {
        let consumer = match self.consumer() {
            Ok(consumer) => consumer,
            Err(error) => {
                tracing::error!(%error, "cannot create the consumer of operator orders");
                self.set_fault(Some(error.to_string()));
                return;
            }
        };
        let mut next_look = Instant::now();
        while !self.closed.load(Ordering::Acquire) {
            if Instant::now() >= next_look {
                self.look(&consumer);
                let is_well = !self.next.is_empty() && !self.has_failed;
                next_look = Instant::now() + if is_well { LOOK_FOR_PARTITIONS } else { LOOK_FOR_TOPIC };
            }
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => self.hand_out(&message),
                Some(Err(error)) => {
                    self.print_problems(&error);
                    self.has_failed = true;
                    next_look = next_look.min(Instant::now() + LOOK_FOR_TOPIC);
                }
            }
        }
    }

    fn consumer(&self) -> KafkaResult<SharedClient<BaseConsumer>> {
        let own = [
            // librdkafka requires a group name. The reader never joins the group and never commits.
            ("group.id", &*format!("{}.orders.{}", self.clients.section().group_id, self.node_id)),
            ("enable.auto.commit", "false"),
            // Each partition gets its offset; this is for one that the broker no longer has: what is left is read.
            ("auto.offset.reset", "earliest"),
            ("allow.auto.create.topics", "false"),
            // Orders are rare and small.
            ("queued.max.messages.kbytes", "1024"),
            ("fetch.message.max.bytes", "65536"),
        ];
        self.clients.make(&format!("{}.orders", self.node_id), &own, DefaultConsumerContext)
    }

    /// Looks for new partitions and, after a failed poll, for what cannot be read.
    fn look(&mut self, consumer: &BaseConsumer) {
        let missing = match self.take_partitions(consumer) {
            Ok(missing) => missing,
            // The broker is away: nothing is known.
            Err(error) => return self.print_problems(&error),
        };
        if let Some(reason) = missing {
            let since = *self.missing_since.get_or_insert_with(Instant::now);
            self.set_fault((since.elapsed() > MISSING_FOR).then_some(reason));
            return;
        }
        self.missing_since = None;
        let fault = if self.has_failed { self.unreadable() } else { Ok(None) };
        match fault {
            Ok(fault) => {
                self.has_failed = fault.is_some();
                self.set_fault(fault);
            }
            Err(error) => self.print_problems(&error),
        }
    }

    fn set_fault(&self, fault: Option<String>) {
        let text = fault.map(|fault| format!("operator orders are not heard: topic {}: {fault}", self.topic));
        *lock(&self.fault) = text;
    }

    /// What cannot be read, by another client than the one whose poll failed.
    fn unreadable(&self) -> KafkaResult<Option<String>> {
        let probe = LogProbe::new(&self.clients, &format!("{}.orders.probe", self.node_id))?;
        let topic: Arc<str> = self.topic.as_str().into();
        for (partition, next) in (0_i32..).zip(&self.next) {
            let deadline = Instant::now() + BROKER_ANSWER;
            if let Following::Unreadable(reason) = probe.following(&(topic.clone(), partition), *next, deadline)? {
                return Ok(Some(format!("partition {partition} cannot be read from offset {next} on: {reason}")));
            }
        }
        Ok(None)
    }

    /// Takes the partitions that are not read yet: those that exist at the start from their end, later ones from their
    /// beginning. Returns why there are none.
    fn take_partitions(&mut self, consumer: &BaseConsumer) -> KafkaResult<Option<String>> {
        let metadata = consumer.fetch_metadata(Some(&self.topic), BROKER_ANSWER)?;
        let topic = metadata.topics().first();
        let found = topic.map_or(0, |topic| topic.partitions().len());
        self.give_up_old_log(consumer, found)?;
        if found == 0 {
            let error = topic.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from);
            let reason = match error.filter(|code| *code != RDKafkaErrorCode::UnknownTopicOrPartition) {
                Some(code) => code.to_string(),
                None => "it does not exist; create it, or see kafka.control_topic".to_owned(),
            };
            return Ok(Some(reason));
        }
        let mut list = TopicPartitionList::new();
        let mut next = Vec::new();
        for partition in self.next.len()..found {
            let partition = i32::try_from(partition).unwrap_or(i32::MAX);
            let offset = if self.is_receiving() {
                0
            } else {
                // The end is fixed now; `Offset::End` would resolve it later, at the first fetch.
                consumer.fetch_watermarks(&self.topic, partition, BROKER_ANSWER)?.1
            };
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
            next.push(offset);
        }
        if !next.is_empty() {
            consumer.incremental_assign(&list)?;
            tracing::info!(topic = self.topic, partitions = found, "reading operator orders");
            self.next.extend(next);
            self.hearing.store(true, Ordering::Release);
        }
        Ok(None)
    }

    /// Drops the positions if the topic was deleted, or deleted and created again.
    fn give_up_old_log(&mut self, consumer: &BaseConsumer, num_partitions: usize) -> KafkaResult<()> {
        // A broker that reports no ids leaves the number of partitions.
        let mut ids = topic_ids(consumer.client(), &[&self.topic], BROKER_ANSWER).unwrap_or_default();
        let id = ids.remove(self.topic.as_str());
        let is_other = matches!((&self.topic_id, &id), (Some(known), Some(current)) if known != current);
        if is_other || num_partitions < self.next.len() {
            tracing::warn!(topic = self.topic, "the topic of operator orders was deleted");
            consumer.unassign()?;
            self.next.clear();
            self.topic_id = None;
        }
        if num_partitions > 0 {
            self.topic_id = id.or(self.topic_id.take());
        }
        Ok(())
    }

    fn is_receiving(&self) -> bool {
        self.hearing.load(Ordering::Acquire)
    }

    fn hand_out(&mut self, message: &BorrowedMessage<'_>) {
        let place = usize::try_from(message.partition()).ok().and_then(|partition| self.next.get_mut(partition));
        if let Some(next) = place {
            *next = message.offset() + 1;
        }
        if let Some(order) = OperatorOrder::parse(message.payload().unwrap_or_default()) {
            self.receiver.do_send(OrderReceived(order));
        }
    }

    fn print_problems(&self, error: &KafkaError) {
        tracing::warn!(%error, topic = self.topic, "cannot read operator orders, will retry");
    }
}
