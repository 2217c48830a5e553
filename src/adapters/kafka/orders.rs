// Upstream: app, kafka
// Downstream: actors, config
// Role: Operators' orders from the control topic, heard by every instance from the newest offset on.

//! A consumer group hands a message to one member, but an order concerns all: so each worker reads the topic by itself,
//! without a group and without commits. What was sent while it did not run does not concern it any more.

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

/// Longest wait for a record: also the longest delay of the end.
const POLL: Duration = Duration::from_millis(100);

/// Longest wait for a broker's answer.
const BROKER_ANSWER: Duration = Duration::from_secs(5);

/// Between two looks for partitions that were added, and for a topic that is not there yet.
const LOOK_FOR_PARTITIONS: Duration = Duration::from_secs(30);
const LOOK_FOR_TOPIC: Duration = Duration::from_secs(2);

/// A reader of the control topic.
pub struct KafkaOrders {
    config: KafkaSection,
    node_id: String,
    hearing: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl KafkaOrders {
    /// Connects to nothing yet.
    pub fn new(config: &KafkaSection, node_id: &str) -> Self {
        Self { config: config.clone(), node_id: node_id.to_owned(), hearing: Arc::default(), closed: Arc::default() }
    }
}

impl OrderFeed for KafkaOrders {
    fn start(&self, receiver: Recipient<OrderReceived>) -> Result<(), FeedError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", format!("{}:{}", self.config.host, self.config.port))
            .set("client.id", format!("{}.orders", self.node_id))
            // librdkafka wants a name for it; it is never joined and nothing is committed to it.
            .set("group.id", format!("{}.orders.{}", self.config.group_id, self.node_id))
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest")
            .set("allow.auto.create.topics", "false")
            // Orders are few and small.
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

    fn hears(&self) -> bool {
        self.hearing.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// The thread's own state.
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
                tracing::error!(%error, "operators' orders cannot be heard");
                return;
            }
        };
        let mut next_look = Instant::now();
        while !self.closed.load(Ordering::Acquire) {
            if Instant::now() >= next_look {
                if let Err(error) = self.take_new_partitions(&consumer) {
                    self.complain(&error);
                }
                next_look =
                    Instant::now() + if self.num_partitions == 0 { LOOK_FOR_TOPIC } else { LOOK_FOR_PARTITIONS };
            }
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => self.hand_out(message.payload().unwrap_or_default()),
                Some(Err(error)) => self.complain(&error),
            }
        }
    }

    /// Partitions that are there at the start are read from their end, those that are added later from their beginning.
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
                // Asked for here and not left to the first fetch, which comes later.
                Offset::Offset(consumer.fetch_watermarks(&self.topic, partition, BROKER_ANSWER)?.1)
            } else {
                Offset::Beginning
            };
            list.add_partition_offset(&self.topic, partition, offset)?;
        }
        consumer.incremental_assign(&list)?;
        tracing::info!(topic = self.topic, partitions = found, "operators' orders are heard");
        self.num_partitions = found;
        self.hearing.store(true, Ordering::Release);
        Ok(())
    }

    fn hand_out(&self, payload: &[u8]) {
        if let Some(order) = OperatorOrder::parse(payload) {
            self.receiver.do_send(OrderReceived(order));
        }
    }

    fn complain(&self, error: &KafkaError) {
        tracing::warn!(%error, topic = self.topic, "orders cannot be read just now");
    }
}
