// Upstream: app, clients_tests, kafka
// Downstream: actors, adapters::kafka::dead_letters, clients, parts_publisher
// Role: The producer: publishes notifications, price updates, command parts and dead letters.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::{CommandPart, PriceUpdate, RawCommand};
use actors::ports::{DeadLetter, Outbox, OutboxError, PartsOutcome};
use async_trait::async_trait;
use chrono::{SecondsFormat, Utc};
use futures_util::future::try_join_all;
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::types::RDKafkaErrorCode;

use crate::adapters::kafka::clients::{KafkaClients, SharedClient};
use crate::adapters::kafka::dead_letters::headers::{self, with, with_mark, with_trace};
use crate::adapters::kafka::parts_publisher::{PartsPublisher, publish_on_thread};

/// Maximum wait for space in the producer's queue. Messages are few and small.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// Maximum message size of the producer. It exceeds the broker's default (1 MB), so the broker enforces the limit.
const MAX_MESSAGE_BYTES: &str = "4000000";

/// Bytes kept of a command that is too large for a dead letter.
const CUT_BYTES: usize = 65_536;

/// The worker's producer.
///
/// A dead letter is the original record with unchanged key and value, so `data-worker dlq replay` can send it again. The
/// dead letter of a command that was sent again carries its mark, and that of a command with trace ids carries them.
/// The headers `dlq.reason`, `dlq.class`, `dlq.attempts`, `dlq.topic`, `dlq.partition`, `dlq.offset`, `dlq.node` and
/// `dlq.time` describe the failure. If the headers make the record too large for the broker, the value is cut, and
/// `dlq.cut_from` holds its original length in bytes. A dead letter must not block the partition, and the complete
/// command is still at its original offset.
pub struct KafkaOutbox {
    producer: SharedClient<FutureProducer>,
    node_id: String,
    dead_letter_topic: String,
    notification_topic: String,
    parts_topic: String,
    parts: tokio::sync::Mutex<Arc<PartsPublisher>>,
    market_data_topic: String,
}

impl KafkaOutbox {
    /// Connects in the background. Fails only for settings that librdkafka rejects.
    pub fn new(clients: &Arc<KafkaClients>, node_id: &str) -> Result<Self, KafkaError> {
        let own = [
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("message.timeout.ms", "10000"),
            ("message.max.bytes", MAX_MESSAGE_BYTES),
            ("linger.ms", "5"),
            ("queue.buffering.max.messages", "10000"),
            ("queue.buffering.max.kbytes", "4096"),
        ];
        let producer = clients.make(node_id, &own, DefaultClientContext)?;
        let config = clients.section();
        Ok(Self {
            producer,
            node_id: node_id.to_owned(),
            dead_letter_topic: config.dead_letter_topic.clone(),
            notification_topic: config.notification_topic.clone(),
            parts_topic: config.topic_of_parts().to_owned(),
            parts: tokio::sync::Mutex::new(Arc::new(PartsPublisher::new(clients.clone(), node_id))),
            market_data_topic: config.market_data_topic.clone(),
        })
    }

    async fn send(&self, record: FutureRecord<'_, [u8], [u8]>) -> Result<(), OutboxError> {
        let topic = record.topic.to_owned();
        let sent = self.try_send(record).await;
        sent.map_err(|error| OutboxError { topic, reason: error.to_string() })
    }

    async fn try_send(&self, record: FutureRecord<'_, [u8], [u8]>) -> Result<(), KafkaError> {
        self.producer.send(record, QUEUE_WAIT).await.map(drop).map_err(|(error, _)| error)
    }
}

#[async_trait]
impl Outbox for KafkaOutbox {
    async fn notify(&self, message: &str) -> Result<(), OutboxError> {
        let key = self.node_id.as_bytes();
        self.send(FutureRecord::to(&self.notification_topic).key(key).payload(message.as_bytes())).await
    }

    async fn price_updates(&self, updates: &[PriceUpdate]) -> Result<(), OutboxError> {
        // All updates are enqueued before the first acknowledgement arrives, so they share round trips.
        let sending = updates.iter().map(|update| {
            let record = FutureRecord::to(&self.market_data_topic);
            self.send(record.key(update.key.as_bytes()).payload(update.payload.as_bytes()))
        });
        try_join_all(sending).await.map(drop)
    }

    async fn command(&self, command: &CommandPart) -> Result<(), OutboxError> {
        let record = FutureRecord::to(&self.parts_topic);
        self.send(record.key(command.key.as_bytes()).payload(command.payload.as_bytes())).await
    }

    async fn parts(&self, command: &Arc<RawCommand>, parts: &Arc<[CommandPart]>) -> Result<PartsOutcome, OutboxError> {
        // One after the other: two of one partition would end each other's transaction.
        let publisher = self.parts.lock().await;
        let published = publish_on_thread(publisher.clone(), command.clone(), parts.clone()).await;
        published.map_err(|reason| OutboxError { topic: self.parts_topic.clone(), reason })
    }

    async fn dead_letter(&self, letter: &DeadLetter) -> Result<(), OutboxError> {
        let command = &letter.command;
        let texts = [
            (headers::REASON, letter.reason.clone()),
            (headers::CLASS, letter.class.to_owned()),
            (headers::ATTEMPTS, letter.attempts.to_string()),
            (headers::TOPIC, command.topic.to_string()),
            (headers::PARTITION, command.partition.to_string()),
            (headers::OFFSET, command.offset.to_string()),
            (headers::NODE, self.node_id.clone()),
            (headers::TIME, Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)),
        ];
        let headers = with_mark(OwnedHeaders::new_with_capacity(texts.len()), command.replay.as_ref());
        let headers = with_trace(headers, &letter.trace);
        let headers = texts.iter().fold(headers, |headers, (key, value)| with(headers, key, value));
        let record = |payload, headers| {
            let record = FutureRecord::to(&self.dead_letter_topic).payload(payload).headers(headers);
            match &command.key {
                Some(key) => record.key(key.as_slice()),
                None => record,
            }
        };
        let whole = command.payload.as_slice();
        let sent = match (self.try_send(record(whole, headers.clone())).await, whole.get(..CUT_BYTES)) {
            (Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)), Some(beginning)) => {
                let length = whole.len().to_string();
                let headers = with(headers, headers::CUT_FROM, &length);
                self.try_send(record(beginning, headers)).await
            }
            (sent, _) => sent,
        };
        sent.map_err(|error| OutboxError { topic: self.dead_letter_topic.clone(), reason: error.to_string() })
    }
}
