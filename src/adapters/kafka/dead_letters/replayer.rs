// Upstream: cli::dlq
// Downstream: actors, adapters::kafka, config, headers, letter, replay_record
// Role: Sends the commands of dead letters again, each together with the record that it was.

use std::time::{Duration, Instant};

use actors::domain::clock::utc_now;
use actors::domain::{ReplayMark, TraceIds};
use futures_util::future::try_join_all;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use uuid::Uuid;

use crate::adapters::kafka::admin_client::Position;
use crate::adapters::kafka::client_config::{COMMAND_PRODUCER, client_config};
use crate::adapters::kafka::dead_letters::headers::{with_mark, with_trace};
use crate::adapters::kafka::dead_letters::letter::LetterName;
use crate::adapters::kafka::dead_letters::replay_record::ReplayRecord;
use crate::config::KafkaSection;

/// Timeout of each question to the broker.
const BROKER_ANSWER: Duration = Duration::from_secs(20);

/// How long the end of a transaction is asked for again.
const COMMIT_WAIT: Duration = Duration::from_secs(60);

/// The broker aborts a transaction that is open for this long. Until then nobody reads what follows it.
const TRANSACTION_MS: &str = "30000";

/// The most commands of a transaction.
const MAX_BATCH: usize = 100;

/// A command to send again.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Its dead letter.
    pub letter: LetterName,
    /// Its identity, see `Letter::command_id`.
    pub command_id: Uuid,
    /// How often it is replayed, this time included.
    pub number: u32,
    /// The trace ids of its dead letter.
    pub trace: TraceIds,
    /// The topic that it is sent to.
    pub topic: String,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Replay {
    fn record(&self, to: Option<&Position>) -> ReplayRecord {
        ReplayRecord {
            letter: self.letter.to_string(),
            command_id: self.command_id,
            number: self.number,
            time: utc_now(),
            to: to.map(Position::to_string),
        }
    }
}

/// Sends commands again.
///
/// A command and the record that it was replayed leave in one transaction: readers see both or none. The transactional
/// id is the same for all who replay letters of this group. Whoever begins ends the transaction of the one before and
/// shuts it out, so what is read afterwards is all that was replayed.
///
/// Without transactions (`kafka.parts_in_transaction`) a record is written before the command and another afterwards.
pub struct Replayer {
    producer: FutureProducer,
    runtime: tokio::runtime::Runtime,
    dead_letter_topic: String,
    in_transaction: bool,
}

impl Replayer {
    /// Connects, and shuts out those who replay at the same time.
    pub fn begin(config: &KafkaSection) -> Result<Self, ReplayError> {
        let in_transaction = config.parts_in_transaction;
        let mut client = client_config(config, "data-worker.dlq", &COMMAND_PRODUCER);
        // Whatever kafka.properties say: the longest command fits with its mark, as the broker limits the compressed
        // length.
        client.set("compression.type", "gzip");
        if in_transaction {
            client
                .set("transactional.id", format!("{}.replays", config.group_id))
                .set("transaction.timeout.ms", TRANSACTION_MS);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ReplayError::Client(error.to_string()))?;
        let producer: FutureProducer = client.create().map_err(|error| ReplayError::Client(error.to_string()))?;
        if in_transaction {
            producer.init_transactions(BROKER_ANSWER).map_err(ReplayError::NoTransactions)?;
        }
        Ok(Self { producer, runtime, dead_letter_topic: config.dead_letter_topic.clone(), in_transaction })
    }

    /// The most commands to send at once.
    pub fn max_batch(&self) -> usize {
        if self.in_transaction { MAX_BATCH } else { 1 }
    }

    /// Sends commands and returns where they are now. In a transaction all are sent or none.
    pub fn send(&self, replays: &[Replay]) -> Result<Vec<Position>, ReplayError> {
        if !self.in_transaction {
            return replays.iter().map(|replay| self.send_between_records(replay)).collect();
        }
        let sent = self.producer.begin_transaction().and_then(|()| self.runtime.block_on(self.send_all(replays)));
        // For tests: time to end the program before the transaction ends.
        fail::fail_point!("kafka::replay");
        match sent {
            Ok(positions) => self.commit().map(|()| positions),
            Err(error) => Err(self.abort(error)),
        }
    }

    async fn send_all(&self, replays: &[Replay]) -> KafkaResult<Vec<Position>> {
        let positions = try_join_all(replays.iter().map(|replay| self.send_command(replay))).await?;
        let records = replays.iter().zip(&positions);
        try_join_all(records.map(|(replay, position)| self.send_record(replay, Some(position)))).await?;
        Ok(positions)
    }

    fn commit(&self) -> Result<(), ReplayError> {
        let deadline = Instant::now() + COMMIT_WAIT;
        loop {
            match self.producer.commit_transaction(BROKER_ANSWER) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if error.txn_requires_abort() => {
                    return Err(self.abort(KafkaError::Transaction(error)));
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(error) => return Err(ReplayError::Unknown(error)),
            }
        }
    }

    /// Ends the transaction without its records. Without an answer the broker does so in time.
    fn abort(&self, cause: KafkaError) -> ReplayError {
        match self.producer.abort_transaction(BROKER_ANSWER) {
            Ok(()) if is_of_one_record(&cause) => ReplayError::Refused(cause),
            _ => ReplayError::NotSent(cause),
        }
    }

    fn send_between_records(&self, replay: &Replay) -> Result<Position, ReplayError> {
        let refused =
            |error| if is_of_one_record(&error) { ReplayError::Refused(error) } else { ReplayError::NotSent(error) };
        self.runtime.block_on(self.send_record(replay, None)).map_err(refused)?;
        // For tests: time to end the program between the record and the command.
        fail::fail_point!("kafka::replay");
        let position = self.runtime.block_on(self.send_command(replay)).map_err(ReplayError::Unknown)?;
        self.runtime.block_on(self.send_record(replay, Some(&position))).map_err(ReplayError::Unknown)?;
        Ok(position)
    }

    async fn send_command(&self, replay: &Replay) -> KafkaResult<Position> {
        let mark = ReplayMark { letter: replay.letter.to_string(), number: replay.number };
        let headers = with_trace(with_mark(OwnedHeaders::new(), Some(&mark)), &replay.trace);
        let record = FutureRecord::to(&replay.topic).payload(replay.payload.as_slice()).headers(headers);
        match &replay.key {
            Some(key) => self.acknowledged(record.key(key.as_slice())).await,
            None => self.acknowledged(record).await,
        }
    }

    /// The record goes to the partition of the letter, behind it: retention deletes the letter first.
    async fn send_record(&self, replay: &Replay, to: Option<&Position>) -> KafkaResult<Position> {
        let record = FutureRecord::<[u8], [u8]>::to(&self.dead_letter_topic).payload(b"".as_slice());
        self.acknowledged(record.partition(replay.letter.partition).headers(replay.record(to).headers())).await
    }

    async fn acknowledged(&self, record: FutureRecord<'_, [u8], [u8]>) -> KafkaResult<Position> {
        let topic = record.topic.to_owned();
        let delivery = self.producer.send(record, BROKER_ANSWER).await.map_err(|(error, _)| error)?;
        Ok(Position { topic, partition: delivery.partition, offset: delivery.offset })
    }
}

/// Whether an error concerns one record, so that others may be sent.
fn is_of_one_record(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{InvalidMessageSize, InvalidRecord, MessageSizeTooLarge, PolicyViolation};
    matches!(
        error.rdkafka_error_code(),
        Some(MessageSizeTooLarge | InvalidMessageSize | InvalidRecord | PolicyViolation)
    )
}

/// Commands were not sent again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The client cannot start in this process.
    #[error("cannot start the Kafka client: {0}")]
    Client(String),
    /// The broker begins no transaction.
    #[error("the broker begins no transaction, see kafka.parts_in_transaction: {0}")]
    NoTransactions(KafkaError),
    /// The broker does not take one of the records. Others may be sent.
    #[error("not sent: {0}")]
    Refused(KafkaError),
    /// Nothing was sent, and further commands would not be either.
    #[error("not sent: {0}")]
    NotSent(KafkaError),
    /// The broker has not confirmed the end.
    #[error("it is not known whether it was sent, `data-worker dlq list --all` shows it: {0}")]
    Unknown(KafkaError),
}
