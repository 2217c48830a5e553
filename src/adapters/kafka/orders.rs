// Upstream: app, kafka
// Downstream: actors, config
// Role: Reads operator orders from the control topic, starting at the newest offset, in every instance.

//! Operator orders.
//!
//! A consumer group delivers a message to one member, but an order concerns all workers. So each worker reads the topic
//! on its own, without a group and without commits. Orders sent while a worker is down do not apply to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use actix::Recipient;
use actors::domain::OperatorOrder;
use actors::ports::{FeedError, OrderFeed, OrderReceived};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::config::KafkaSection;

/// Maximum wait for a record, and so the maximum delay of a close.
const POLL: Duration = Duration::from_millis(100);

/// Timeout of a request to a broker.
const BROKER_ANSWER: Duration = Duration::from_secs(5);

/// Interval of the check for added partitions.
const LOOK_FOR_PARTITIONS: Duration = Duration::from_secs(30);

/// Interval of the check for a topic that does not exist yet.
const LOOK_FOR_TOPIC: Duration = Duration::from_secs(2);

/// The reader of the control topic.
pub struct KafkaOrders {
    config: KafkaSection,
    node_id: String,
    hearing: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl KafkaOrders {
    /// Creates the reader; `start` connects it.
    pub fn new(config: &KafkaSection, node_id: &str) -> Self {
        Self { config: config.clone(), node_id: node_id.to_owned(), hearing: Arc::default(), closed: Arc::default() }
    }
}

impl OrderFeed for KafkaOrders {
    fn start(&self, receiver: Recipient<OrderReceived>) -> Result<(), FeedError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", self.config.address())
            .set("client.id", format!("{}.orders", self.node_id))
            // librdkafka requires a group name. The reader never joins the group and never commits.
            .set("group.id", format!("{}.orders.{}", self.config.group_id, self.node_id))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest")
            .set("allow.auto.create.topics", "false")
            // Orders are rare and small.
            .set("queued.max.messages.kbytes", "1024")
            .set("fetch.message.max.bytes", "65536");
        let topic = self.config.control_topic.clone();
        let (hearing, closed) = (self.hearing.clone(), self.closed.clone());
        let reader = Reader { topic, receiver, hearing, closed, num_partitions: 0 };
        let spawned = std::thread::Builder::new().name("kafka-orders".to_owned()).spawn(move || reader.run(&client));
        spawned.map(drop).map_err(|error| FeedError {
            feed: format!("{}:{} topic {}", self.config.host, self.config.port, self.config.control_topic),
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
    topic: String,
    receiver: Recipient<OrderReceived>,
    hearing: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
    num_partitions: i32,
}

impl Reader {
    fn run(mut self, client: &ClientConfig) {
        let consumer: BaseConsumer = match client.create() {
            Ok(consumer) => consumer,
            Err(error) => {
                tracing::error!(%error, "cannot create the consumer of operator orders");
                return;
            }
        };
        let mut next_look = Instant::now();
        while !self.closed.load(Ordering::Acquire) {
            if Instant::now() >= next_look {
                if let Err(error) = self.take_new_partitions(&consumer) {
                    self.print_problems(&error);
                }
                next_look =
                    Instant::now() + if self.num_partitions == 0 { LOOK_FOR_TOPIC } else { LOOK_FOR_PARTITIONS };
            }
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => self.hand_out(message.payload().unwrap_or_default()),
                Some(Err(error)) => self.print_problems(&error),
            }
        }
    }

    /// Adds new partitions: those that exist at the start from their end, later ones from their beginning.
    fn take_new_partitions(&mut self, consumer: &BaseConsumer) -> KafkaResult<()> {
        let metadata = consumer.fetch_metadata(Some(&self.topic), BROKER_ANSWER)?;
        let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        let found = i32::try_from(found).unwrap_or(i32::MAX);
        if found <= self.num_partitions {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for partition in self.num_partitions..found {
            let offset = if self.num_partitions == 0 {
                // The end is fixed now; `Offset::End` would resolve it later, at the first fetch.
                Offset::Offset(consumer.fetch_watermarks(&self.topic, partition, BROKER_ANSWER)?.1)
            } else {
                Offset::Beginning
            };
            list.add_partition_offset(&self.topic, partition, offset)?;
        }
        consumer.incremental_assign(&list)?;
        tracing::info!(topic = self.topic, partitions = found, "reading operator orders");
        self.num_partitions = found;
        self.hearing.store(true, Ordering::Release);
        Ok(())
    }

    fn hand_out(&self, payload: &[u8]) {
        if let Some(order) = OperatorOrder::parse(payload) {
            self.receiver.do_send(OrderReceived(order));
        }
    }

    fn print_problems(&self, error: &KafkaError) {
        tracing::warn!(%error, topic = self.topic, "cannot read operator orders, will retry");
    }
}
