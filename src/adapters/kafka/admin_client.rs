// Upstream: adapters::kafka::dead_letters, cli, cli::coverage, cli::dlq
// Downstream: client_config, clients, config, log_probe, topics
// Role: Blocking Kafka client of the command-line tools: sends messages, reads topics, checks commits.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::adapters::kafka::client_config::client_config;
use crate::adapters::kafka::clients::KafkaClients;
use crate::adapters::kafka::log_probe::{LogProbe, is_transient};
use crate::adapters::kafka::topics::{COMMAND_SETTINGS, MissingTopic, NeededTopic};
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

impl Position {
    /// The topic and the partition.
    pub fn of_partition(&self) -> (String, i32) {
        (self.topic.clone(), self.partition)
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// A record read from a topic.
#[derive(Debug, Clone)]
pub struct Record {
    /// Its position.
    pub position: Position,
    /// The headers, as text.
    pub headers: BTreeMap<String, String>,
    /// The value.
    pub payload: Vec<u8>,
}

/// What a partition holds at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The offset after the last one.
    pub to: i64,
}

/// A position in a topic: the next offset of each partition.
#[derive(Debug, Clone)]
pub struct Mark {
    topic: String,
    next: Vec<i64>,
}

/// Records, and whether the end was reached.
type ReadRecords = (Vec<Record>, Result<(), AdminClientError>);

/// Sends messages and tracks their outcome.
pub struct AdminClient {
    section: KafkaSection,
    client: ClientConfig,
    producer: FutureProducer,
    runtime: tokio::runtime::Runtime,
}

impl AdminClient {
    /// Connects in the background.
    pub fn new(section: &KafkaSection) -> Result<Self, AdminClientError> {
        let config = |own: &[(&str, &str)]| client_config(section, "data-worker.send", own);
        let client = config(&[("allow.auto.create.topics", "false")]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Each message is sent alone and awaited, so there is nothing to batch.
        let producer = config(&[("linger.ms", "0"), ("acks", "all"), ("message.timeout.ms", "10000")]).create()?;
        Ok(Self { section: section.clone(), client, producer, runtime })
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
        Ok(Mark { topic: topic.to_owned(), next: self.spans(topic)?.iter().map(|span| span.to).collect() })
    }

    /// The start of the retained records of a topic.
    pub fn oldest(&self, topic: &str) -> Result<Mark, AdminClientError> {
        Ok(Mark { topic: topic.to_owned(), next: self.spans(topic)?.iter().map(|span| span.from).collect() })
    }

    /// What the partitions of a topic hold now.
    pub fn spans(&self, topic: &str) -> Result<Vec<Span>, AdminClientError> {
        let consumer = self.consumer()?;
        let metadata = consumer.fetch_metadata(Some(topic), BROKER_ANSWER)?;
        let found = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if found == 0 {
            let needed = NeededTopic::of(&self.section).into_iter().find(|needed| needed.name == topic);
            let missing = MissingTopic { name: topic, settings: COMMAND_SETTINGS }.to_string();
            return Err(AdminClientError::NoTopic(needed.map_or(missing, |needed| needed.missing())));
        }
        let spans = (0..i32::try_from(found).unwrap_or(i32::MAX)).map(|partition| {
            let (from, to) = consumer.fetch_watermarks(topic, partition, BROKER_ANSWER)?;
            Ok(Span { topic: topic.to_owned(), partition, from, to })
        });
        Ok(spans.collect::<KafkaResult<_>>()?)
    }

    /// The records after a mark, up to the end of the topic.
    pub fn since(&self, mark: &Mark) -> Result<Vec<Record>, AdminClientError> {
        let (read, outcome) = self.read(mark)?;
        // An outcome may be in what was not read.
        outcome?;
        Ok(read)
    }

    /// All records after a mark, up to the end of the topic; the mark advances past them.
    pub fn all_next(&self, mark: &mut Mark) -> Result<Vec<Record>, AdminClientError> {
        let mut all = Vec::new();
        loop {
            let read = self.next(mark)?;
            if read.is_empty() {
                return Ok(all);
            }
            all.extend(read);
        }
    }

    /// The records after a mark, which advances past them. If there are many, the next call returns the rest, or says
    /// what cannot be read.
    pub fn next(&self, mark: &mut Mark) -> Result<Vec<Record>, AdminClientError> {
        let (read, outcome) = self.read(mark)?;
        if read.is_empty() {
            outcome?;
        }
        for Record { position, .. } in &read {
            let place = usize::try_from(position.partition).ok().and_then(|partition| mark.next.get_mut(partition));
            if let Some(next) = place {
                *next = (*next).max(position.offset + 1);
            }
        }
        Ok(read)
    }

    /// Reads to the end of all partitions, or to the first error. The outcome is an error if the end was not reached.
    fn read(&self, mark: &Mark) -> Result<ReadRecords, AdminClientError> {
        let consumer = self.consumer()?;
        let mut list = TopicPartitionList::new();
        for (partition, next) in (0_i32..).zip(&mark.next) {
            list.add_partition_offset(&mark.topic, partition, Offset::Offset(*next))?;
        }
        consumer.assign(&list)?;
        // A partition that grows meanwhile is at its end more than once.
        let (mut records, mut at_end, deadline) = (Vec::new(), BTreeSet::new(), Instant::now() + BROKER_ANSWER);
        while at_end.len() < mark.next.len() {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    records.push(record(&message));
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    at_end.insert(partition);
                }
                Some(Err(error)) if !is_transient(&error) => {
                    return Ok((records, Err(self.what_is_wrong(mark, error))));
                }
                Some(Err(_)) | None => {}
            }
            if Instant::now() >= deadline && at_end.len() < mark.next.len() {
                return Ok((records, Err(AdminClientError::NotRead(mark.topic.clone()))));
            }
        }
        Ok((records, Ok(())))
    }

    /// Visits the records of a span one by one, until the visitor breaks. The client holds at most a few megabytes.
    pub fn visit(
        &self,
        span: &Span,
        mut visitor: impl FnMut(&BorrowedMessage<'_>) -> ControlFlow<()>,
    ) -> Result<(), AdminClientError> {
        if span.from >= span.to {
            return Ok(());
        }
        let consumer = self.consumer()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&span.topic, span.partition, Offset::Offset(span.from))?;
        consumer.assign(&list)?;
        let mut last_heard = Instant::now();
        loop {
            match consumer.poll(POLL) {
                Some(Ok(message)) if message.offset() >= span.to => return Ok(()),
                Some(Ok(message)) => {
                    if visitor(&message).is_break() || message.offset() + 1 == span.to {
                        return Ok(());
                    }
                    last_heard = Instant::now();
                }
                // What is left are transaction markers.
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
                Some(Err(error)) if !is_transient(&error) => return Err(error.into()),
                Some(Err(_)) | None if last_heard.elapsed() < BROKER_ANSWER => {}
                Some(Err(_)) | None => return Err(AdminClientError::NotRead(span.topic.clone())),
            }
        }
    }

    /// The record at a position, if the topic still holds it.
    pub fn record_at(
        &self,
        Position { topic, partition, offset }: &Position,
    ) -> Result<Option<OwnedMessage>, AdminClientError> {
        let is_there = |span: &Span| span.partition == *partition && (span.from..span.to).contains(offset);
        if !self.spans(topic)?.iter().any(is_there) {
            return Ok(None);
        }
        let span = Span { topic: topic.clone(), partition: *partition, from: *offset, to: offset + 1 };
        let mut found = None;
        self.visit(&span, |message| {
            found = Some(message.detach());
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Finds the partition that cannot be read: the error of a poll does not name it.
    fn what_is_wrong(&self, mark: &Mark, error: KafkaError) -> AdminClientError {
        let topic: Arc<str> = mark.topic.as_str().into();
        let find = || -> KafkaResult<Option<AdminClientError>> {
            let probe = LogProbe::new(&KafkaClients::new(&self.section), "data-worker.send")?;
            for (partition, first) in (0_i32..).zip(&mark.next) {
                let (deadline, key) = (Instant::now() + BROKER_ANSWER, (topic.clone(), partition));
                if let Err((offset, reason)) = probe.readable_from(&key, *first, deadline)? {
                    let position = Position { topic: mark.topic.clone(), partition, offset };
                    return Ok(Some(AdminClientError::Unreadable { position, reason }));
                }
            }
            Ok(None)
        };
        find().ok().flatten().unwrap_or(AdminClientError::Kafka(error))
    }

    /// The offsets that the consumer group has committed in these partitions. A partition without a commit is left out.
    pub fn committed(
        &self,
        partitions: &BTreeSet<(String, i32)>,
    ) -> Result<BTreeMap<(String, i32), i64>, AdminClientError> {
        if partitions.is_empty() {
            return Ok(BTreeMap::new());
        }
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let committed = match self.consumer()?.committed_offsets(list, BROKER_ANSWER) {
            // The group has never existed.
            Err(KafkaError::OffsetFetch(RDKafkaErrorCode::NoOffset)) => return Ok(BTreeMap::new()),
            committed => committed?,
        };
        let next = committed.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(next) => Some(((element.topic().to_owned(), element.partition()), next)),
            _ => None,
        });
        Ok(next.collect())
    }

    /// A consumer without a subscription: it reads the commits of the group and is not a member of it.
    fn consumer(&self) -> KafkaResult<BaseConsumer> {
        self.client
            .clone()
            .set("group.id", &self.section.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // What retention has deleted meanwhile is passed over.
            .set("auto.offset.reset", "earliest")
            .set("queued.max.messages.kbytes", "4096")
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
    let (topic, partition, offset) = (message.topic().to_owned(), message.partition(), message.offset());
    let position = Position { topic, partition, offset };
    Record { position, headers: headers.collect(), payload: message.payload().unwrap_or_default().to_vec() }
}

/// A message cannot be sent or tracked.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// An error of Kafka.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// A record cannot be read.
    #[error("{}[{}] cannot be read from offset {} on: {reason}", position.topic, position.partition, position.offset)]
    Unreadable {
        /// The first offset that cannot be read.
        position: Position,
        /// The reason.
        reason: String,
    },
    /// The end of the topic was not reached in time.
    #[error("the broker did not deliver the topic {0} to its end within {s} s", s = BROKER_ANSWER.as_secs())]
    NotRead(String),
    /// The topic does not exist.
    #[error("{0}")]
    NoTopic(String),
    /// The client cannot start in this process.
    #[error("cannot start the Kafka client: {0}")]
    Client(#[from] std::io::Error),
}
