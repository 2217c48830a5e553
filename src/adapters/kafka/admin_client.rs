// Upstream: cli
// Downstream: config
// Role: Blocking Kafka client of the command-line tools: sends messages, reads topics, checks commits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::config::KafkaSection;

/// Timeout of a request to a broker.
const BROKER_ANSWER: Duration = Duration::from_secs(10);

/// Maximum wait for one record while a topic is read to its end.
const POLL: Duration = Duration::from_millis(100);

/// The position of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A record read from a topic.
#[derive(Debug, Clone)]
pub struct Record {
    /// The headers, as text.
    pub headers: BTreeMap<String, String>,
    /// The value.
    pub payload: Vec<u8>,
}

/// A position in a topic: the next offset of each partition.
#[derive(Debug, Clone)]
pub struct Mark {
    topic: String,
    next: Vec<i64>,
}

/// Sends messages and tracks their outcome.
pub struct AdminClient {
    client: ClientConfig,
    group_id: String,
    producer: FutureProducer,
    runtime: tokio::runtime::Runtime,
}

impl AdminClient {
    /// Connects in the background.
    pub fn new(section: &KafkaSection) -> Result<Self, AdminClientError> {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", section.address())
            .set("client.id", "data-worker.send")
            .set("allow.auto.create.topics", "false");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut producing = client.clone();
        // Each message is sent alone and awaited, so there is nothing to batch.
        producing.set("linger.ms", "0").set("acks", "all").set("message.timeout.ms", "10000");
        let producer = producing.create()?;
        Ok(Self { client, group_id: section.group_id.clone(), producer, runtime })
    }

    /// Sends a message and waits for the acknowledgement of the broker.
    pub fn send(&self, topic: &str, payload: &str) -> Result<Position, AdminClientError> {
        let record = FutureRecord::<(), str>::to(topic).payload(payload);
        let sent = self.runtime.block_on(self.producer.send(record, BROKER_ANSWER));
        let delivery = sent.map_err(|(error, _)| error)?;
        Ok(Position { topic: topic.to_owned(), partition: delivery.partition, offset: delivery.offset })
    }

    /// The current end of a topic.
    pub fn mark(&self, topic: &str) -> Result<Mark, AdminClientError> {
        self.watermarks(topic, |(_, end)| end)
    }

    /// The start of the retained records of a topic.
    pub fn oldest(&self, topic: &str) -> Result<Mark, AdminClientError> {
        self.watermarks(topic, |(beginning, _)| beginning)
    }

    fn watermarks(&self, topic: &str, which: impl Fn((i64, i64)) -> i64) -> Result<Mark, AdminClientError> {
        let consumer = self.consumer()?;
        let metadata = consumer.fetch_metadata(Some(topic), BROKER_ANSWER)?;
        let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if found == 0 {
            return Err(AdminClientError::NoTopic(topic.to_owned()));
        }
        let offsets = (0..i32::try_from(found).unwrap_or(i32::MAX))
            .map(|partition| Ok(which(consumer.fetch_watermarks(topic, partition, BROKER_ANSWER)?)));
        Ok(Mark { topic: topic.to_owned(), next: offsets.collect::<KafkaResult<_>>()? })
    }

    /// The records after a mark.
    pub fn since(&self, mark: &Mark) -> Result<Vec<Record>, AdminClientError> {
        Ok(self.read(mark)?.into_iter().map(|(_, record)| record).collect())
    }

    /// The records after a mark, which advances past them. If there are many, the next call returns the rest.
    pub fn next(&self, mark: &mut Mark) -> Result<Vec<Record>, AdminClientError> {
        let read = self.read(mark)?;
        for (position, _) in &read {
            let place = usize::try_from(position.partition).ok().and_then(|partition| mark.next.get_mut(partition));
            if let Some(next) = place {
                *next = (*next).max(position.offset + 1);
            }
        }
        Ok(read.into_iter().map(|(_, record)| record).collect())
    }

    fn read(&self, mark: &Mark) -> Result<Vec<(Position, Record)>, AdminClientError> {
        let consumer = self.consumer()?;
        let mut list = TopicPartitionList::new();
        for (partition, next) in (0_i32..).zip(&mark.next) {
            list.add_partition_offset(&mark.topic, partition, Offset::Offset(*next))?;
        }
        consumer.assign(&list)?;
        let (mut records, mut num_at_end, deadline) = (Vec::new(), 0, Instant::now() + BROKER_ANSWER);
        while num_at_end < mark.next.len() && Instant::now() < deadline {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    records.push((Position { topic: mark.topic.clone(), partition, offset }, record(&message)));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => num_at_end += 1,
                Some(Err(error)) => return Err(error.into()),
                None => {}
            }
        }
        Ok(records)
    }

    /// Whether the consumer group has committed an offset after this message.
    pub fn is_resolved(&self, position: &Position) -> Result<bool, AdminClientError> {
        let consumer = self.consumer()?;
        let mut list = TopicPartitionList::new();
        list.add_partition(&position.topic, position.partition);
        let committed = match consumer.committed_offsets(list, BROKER_ANSWER) {
            // The group has never existed.
            Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset)) => return Ok(false),
            committed => committed?,
        };
        let elements = committed.elements();
        Ok(elements.iter().any(|element| matches!(element.offset(), Offset::Offset(next) if next > position.offset)))
    }

    /// A consumer without a subscription: it reads the commits of the group and is not a member of it.
    fn consumer(&self) -> KafkaResult<BaseConsumer> {
        self.client
            .clone()
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("fetch.wait.max.ms", "10")
            .create()
    }
}

fn record(message: &impl Message) -> Record {
    let headers = message.headers().into_iter().flat_map(Headers::iter);
    let headers = headers.map(|header| {
        let value = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
        (header.key.to_owned(), value)
    });
    Record { headers: headers.collect(), payload: message.payload().unwrap_or_default().to_vec() }
}

/// A message cannot be sent or tracked.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// An error of Kafka.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// The topic does not exist.
    #[error("the topic {0} does not exist; create it, or see kafka.command_topics and kafka.control_topic")]
    NoTopic(String),
    /// The client cannot start in this process.
    #[error("cannot start the Kafka client: {0}")]
    Client(#[from] std::io::Error),
}
