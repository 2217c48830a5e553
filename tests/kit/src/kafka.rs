// Upstream: scene, tests::it
// Downstream: wait
// Role: Blocking access to the real broker: topics, records and committed offsets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::wait::wait_until;

/// A consumed record.
#[derive(Debug, Clone)]
pub struct Record {
    /// The record's value.
    pub value: Vec<u8>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's headers.
    pub headers: BTreeMap<String, String>,
}

/// A broker with an open producer.
pub struct Broker {
    /// `host:port`.
    pub address: String,
    producer: BaseProducer,
}

impl Broker {
    /// Connects to a broker.
    pub fn connect(address: &str) -> Self {
        Self::with(address, "none", "1")
    }

    /// Connects to a broker with a producer that compresses its batches: gzip, snappy, lz4 or zstd. It gathers records
    /// for a while, because a batch that compression does not make smaller is sent as it is.
    pub fn compressing(address: &str, codec: &str) -> Self {
        Self::with(address, codec, "100")
    }

    fn with(address: &str, codec: &str, linger_ms: &str) -> Self {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", address)
            .set("compression.type", codec)
            .set("linger.ms", linger_ms)
            .set("message.timeout.ms", "20000")
            .set("message.max.bytes", "2000000")
            .create()
            .expect("a producer");
        Self { address: address.to_owned(), producer }
    }

    /// Creates topics with the given numbers of partitions and waits until the broker lists them: the controller
    /// confirms the creation before the broker has the metadata.
    pub fn create_topics(&self, topics: &[(&str, i32)]) {
        let (admin, options, runtime) = self.admin();
        let wanted: Vec<NewTopic<'_>> =
            topics.iter().map(|(name, n)| NewTopic::new(name, *n, TopicReplication::Fixed(1))).collect();
        let outcomes = runtime.block_on(admin.create_topics(&wanted, &options)).expect("topics");
        for outcome in outcomes {
            outcome.unwrap_or_else(|(topic, code)| panic!("topic {topic}: {code}"));
        }
        self.wait_for_partitions(topics);
    }

    /// Adds partitions to a topic until it has `total`, and waits until the broker lists them.
    pub fn add_partitions(&self, topic: &str, total: i32) {
        let (admin, options, runtime) = self.admin();
        let wanted = [NewPartitions::new(topic, usize::try_from(total).expect("a number"))];
        for outcome in runtime.block_on(admin.create_partitions(&wanted, &options)).expect("partitions") {
            outcome.unwrap_or_else(|(topic, code)| panic!("partitions of {topic}: {code}"));
        }
        self.wait_for_partitions(&[(topic, total)]);
    }

    /// Deletes a topic with all its records and creates it again, with the same name.
    pub fn create_again(&self, topic: &str, partitions: i32) {
        self.delete_topics(&[topic]);
        self.wait_until_gone(topic);
        self.create_topics(&[(topic, partitions)]);
    }

    /// Waits until the broker no longer lists a topic: the controller confirms the deletion before the broker has it,
    /// and until then the broker takes records for it.
    pub fn wait_until_gone(&self, topic: &str) {
        wait_until("the broker no longer lists the topic", Duration::from_secs(20), || {
            let metadata = self.producer.client().fetch_metadata(None, Duration::from_secs(20)).expect("metadata");
            metadata.topics().iter().all(|found| found.name() != topic)
        });
    }

    /// Deletes topics with all their records.
    pub fn delete_topics(&self, topics: &[&str]) {
        let (admin, options, runtime) = self.admin();
        for outcome in runtime.block_on(admin.delete_topics(topics, &options)).expect("topics") {
            outcome.unwrap_or_else(|(topic, code)| panic!("deletion of {topic}: {code}"));
        }
    }

    /// Commits an offset for a group that has no members.
    pub fn commit(&self, group: &str, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("an offset");
        self.consumer(group).commit(&list, CommitMode::Sync).expect("the offset is committed");
    }

    /// Deletes the records of a partition before this offset, as retention does.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let (admin, options, runtime) = self.admin();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("an offset");
        runtime.block_on(admin.delete_records(&list, &options)).expect("the records are deleted");
    }

    fn admin(&self) -> (AdminClient<DefaultClientContext>, AdminOptions, tokio::runtime::Runtime) {
        let admin = ClientConfig::new().set("bootstrap.servers", &self.address).create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        (admin, options, runtime)
    }

    fn wait_for_partitions(&self, topics: &[(&str, i32)]) {
        wait_until("the created topics in the broker's metadata", Duration::from_secs(20), || {
            let metadata = self.producer.client().fetch_metadata(None, Duration::from_secs(20)).expect("metadata");
            topics.iter().all(|(name, n)| {
                let there = metadata.topics().iter().find(|topic| topic.name() == *name);
                there.is_some_and(|topic| usize::try_from(*n).is_ok_and(|n| topic.partitions().len() == n))
            })
        });
    }

    /// Sends records round-robin over the partitions and waits until the broker has acknowledged all of them.
    pub fn send(&self, topic: &str, values: &[Vec<u8>], partitions: i32) {
        for (n, value) in values.iter().enumerate() {
            let partition = i32::try_from(n).unwrap_or(0) % partitions;
            let mut record = BaseRecord::<(), [u8]>::to(topic).payload(value).partition(partition);
            while let Err((error, back)) = self.producer.send(record) {
                assert_eq!(error.rdkafka_error_code(), Some(rdkafka::types::RDKafkaErrorCode::QueueFull), "{error}");
                self.producer.poll(Duration::from_millis(20));
                record = back;
            }
        }
        self.producer.flush(Duration::from_secs(20)).expect("all records acknowledged");
    }

    /// Sends one record with its key and its headers to partition 0 and waits until the broker has acknowledged it.
    pub fn send_record(&self, topic: &str, record: &Record) {
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value.as_str()) })
        });
        let sent = BaseRecord::<[u8], [u8]>::to(topic).payload(&record.value).headers(headers).partition(0);
        let sent = match &record.key {
            Some(key) => sent.key(key.as_slice()),
            None => sent,
        };
        assert!(self.producer.send(sent).is_ok(), "the record is queued");
        self.producer.flush(Duration::from_secs(20)).expect("the record is acknowledged");
    }

    /// A producer inside a transaction that holds these records of one partition. The transaction is open: the caller
    /// commits or aborts it. Records of others behind it are held back too.
    pub fn transaction(&self, topic: &str, values: &[Vec<u8>], partition: i32) -> BaseProducer {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", &self.address)
            .set("transactional.id", format!("{topic}.{partition}.test"))
            .create()
            .expect("a producer");
        producer.init_transactions(Duration::from_secs(60)).expect("transactions");
        producer.begin_transaction().expect("a transaction");
        for value in values {
            let record = BaseRecord::<(), [u8]>::to(topic).payload(value).partition(partition);
            assert!(producer.send(record).is_ok(), "the record is queued");
        }
        producer.flush(Duration::from_secs(20)).expect("all records acknowledged");
        producer
    }

    /// Waits until all partitions of a topic have a leader, as after a restart of the broker.
    pub fn wait_until_readable(&self, topic: &str, partitions: i32) {
        let consumer = self.consumer("reader");
        wait_until("all partitions have a leader", Duration::from_secs(60), || {
            (0..partitions)
                .all(|partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(20)).is_ok())
        });
    }

    /// The number of offsets that are written in all partitions, also by transactions that are still open.
    pub fn written(&self, topic: &str, partitions: i32) -> i64 {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.address)
            .set("group.id", "reader")
            .set("isolation.level", "read_uncommitted")
            .create()
            .expect("a consumer");
        let end = |partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(20)).expect("an end").1;
        (0..partitions).map(end).sum()
    }

    /// The end of each partition, also behind what no consumer receives.
    pub fn ends(&self, topic: &str, partitions: i32) -> Vec<i64> {
        let consumer = self.consumer("reader");
        let end = |partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(20)).expect("an end").1;
        (0..partitions).map(end).collect()
    }

    fn consumer(&self, group: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.address)
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            // The default of 500 ms would delay the end-of-partition event.
            .set("fetch.wait.max.ms", "10")
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("a consumer")
    }

    /// All records that a topic holds now.
    pub fn records(&self, topic: &str, partitions: i32) -> Vec<Record> {
        let consumer = self.consumer("reader");
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
        }
        consumer.assign(&list).expect("assigned");
        let deadline = Instant::now() + Duration::from_secs(20);
        let (mut records, mut at_end) = (Vec::new(), 0);
        while at_end < partitions {
            assert!(Instant::now() < deadline, "timeout before the end of {topic}");
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => records.push(record_of(&message)),
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => at_end += 1,
                Some(Err(error)) => assert!(Instant::now() < deadline, "{error}"),
                None => {}
            }
        }
        records
    }

    /// The first `count` records that the single member of a consumer group receives from a topic.
    pub fn follow(&self, topic: &str, group: &str, count: usize, deadline: Duration) -> Vec<Record> {
        let consumer = self.consumer(group);
        consumer.subscribe(&[topic]).expect("subscribed");
        let (begun, mut records) = (Instant::now(), Vec::new());
        while records.len() < count {
            assert!(begun.elapsed() < deadline, "{} of {count} records of {topic} in group {group}", records.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                records.push(record_of(&message));
            }
        }
        records
    }

    /// The group's committed offsets of a topic, by partition: 0 if nothing is committed, -1 if the request fails.
    pub fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<i64> {
        let consumer = self.consumer(group);
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition(topic, partition);
        }
        let Ok(committed) = consumer.committed_offsets(list, Duration::from_secs(10)) else {
            return vec![-1; usize::try_from(partitions).unwrap_or(0)];
        };
        committed.elements().iter().map(|element| element.offset().to_raw().unwrap_or(0).max(0)).collect()
    }
}

fn record_of(message: &impl Message) -> Record {
    Record {
        value: message.payload().unwrap_or_default().to_vec(),
        key: message.key().map(<[u8]>::to_vec),
        headers: headers_of(message),
    }
}

fn headers_of(message: &impl Message) -> BTreeMap<String, String> {
    let Some(headers) = message.headers() else { return BTreeMap::new() };
    headers
        .iter()
        .map(|header| (header.key.to_owned(), String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned()))
        .collect()
}
