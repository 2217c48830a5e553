// Upstream: cli
// Downstream: config
// Role: Sends a message to a topic and follows what becomes of it: for the command line, all blocking.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::config::KafkaSection;

/// Longest wait for a broker's answer.
const BROKER_ANSWER: Duration = Duration::from_secs(10);

/// Longest wait for one record while reading a topic to its end.
const POLL: Duration = Duration::from_millis(100);

/// Where a message lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The offset in it.
    pub offset: i64,
}

/// A record that was read.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its headers, as text.
    pub headers: BTreeMap<String, String>,
    /// Its value.
    pub payload: Vec<u8>,
}

/// How far a topic had come at a moment: the next offset of each partition.
#[derive(Debug, Clone)]
pub struct Mark {
    topic: String,
    next: Vec<i64>,
}

/// Sends and follows messages.
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
            .set("bootstrap.servers", format!("{}:{}", section.host, section.port))
            .set("client.id", "data-worker.send")
            .set("allow.auto.create.topics", "false");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut producing = client.clone();
        // Each message is waited for: there is nothing to gather it with.
        producing.set("linger.ms", "0").set("acks", "all").set("message.timeout.ms", "10000");
        let producer = producing.create()?;
        Ok(Self { client, group_id: section.group_id.clone(), producer, runtime })
    }

    /// Sends a message; returns when the broker has it.
    pub fn send(&self, topic: &str, payload: &str) -> Result<Position, AdminClientError> {
        let record = FutureRecord::<(), str>::to(topic).payload(payload);
        let sent = self.runtime.block_on(self.producer.send(record, BROKER_ANSWER));
        let delivery = sent.map_err(|(error, _)| error)?;
        Ok(Position { topic: topic.to_owned(), partition: delivery.partition, offset: delivery.offset })
    }

    /// How far a topic has come.
    pub fn mark(&self, topic: &str) -> Result<Mark, AdminClientError> {
        self.watermarks(topic, |(_, end)| end)
    }

    /// The beginning of what a topic still holds.
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

    /// What came to a topic since a mark.
    pub fn since(&self, mark: &Mark) -> Result<Vec<Record>, AdminClientError> {
        Ok(self.read(mark)?.into_iter().map(|(_, record)| record).collect())
    }

    /// What came since a mark, which goes on behind it. Of much, a part: the next call brings more.
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

    /// Whether the group has committed past a message.
    pub fn is_resolved(&self, position: &Position) -> Result<bool, AdminClientError> {
        let consumer = self.consumer()?;
        let mut list = TopicPartitionList::new();
        list.add_partition(&position.topic, position.partition);
        let committed = match consumer.committed_offsets(list, BROKER_ANSWER) {
            // A group that has never been.
            Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset)) => return Ok(false),
            committed => committed?,
        };
        let elements = committed.elements();
        Ok(elements.iter().any(|element| matches!(element.offset(), Offset::Offset(next) if next > position.offset)))
    }

    /// Never subscribes, so it is no member of the group whose commits it reads.
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

/// A message that cannot be sent or followed.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// Kafka says so.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// There is no such topic.
    #[error("the topic {0} does not exist; create it, or see kafka.command_topics and kafka.control_topic")]
    NoTopic(String),
    /// This process cannot do it.
    #[error("the program cannot start its client: {0}")]
    Client(#[from] std::io::Error),
}
