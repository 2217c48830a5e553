// Upstream: demonstration, standalone
// Downstream: config, error
// Role: librdkafka's in-process broker with the worker's topics, and the sender of the demonstration's commands.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};

use crate::config::KafkaSection;
use crate::standalone::error::StandaloneError;

/// Longest wait for a place in the producer's queue; it holds one command at a time.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// A broker of one node on a free port of 127.0.0.1. It speaks Kafka's protocol and keeps the newest 5 MB of each
/// partition in memory.
pub struct Broker {
    producer: FutureProducer,
    host: String,
    port: u16,
    command_topic: String,
    /// Dropped last: it is the server of all others.
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    /// Starts it with the topics that are configured. (It does not answer the protocol's own request to create topics.)
    pub fn start(kafka: &KafkaSection) -> Result<Self, StandaloneError> {
        let cluster = MockCluster::new(1).map_err(StandaloneError::broker("start"))?;
        let own = [&kafka.dead_letter_topic, &kafka.notification_topic];
        for topic in kafka.command_topics.iter().chain(own) {
            cluster.create_topic(topic, 1, 1).map_err(StandaloneError::broker("create a topic"))?;
        }
        let address = cluster.bootstrap_servers();
        let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        let (host, port) = parts.ok_or_else(|| StandaloneError::BrokerAddress(address.clone()))?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &address)
            .set("message.timeout.ms", "10000")
            .create()
            .map_err(StandaloneError::broker("build a producer"))?;
        let command_topic = kafka.command_topics.first().cloned().unwrap_or_default();
        Ok(Self { producer, host, port, command_topic, _cluster: cluster })
    }

    /// Its host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Where commands go.
    pub fn command_topic(&self) -> &str {
        &self.command_topic
    }

    /// Sends a command; returns when the broker has it.
    pub async fn send(&self, payload: &str) -> Result<(), StandaloneError> {
        let record = FutureRecord::<(), str>::to(&self.command_topic).payload(payload);
        let sent = self.producer.send(record, QUEUE_WAIT).await;
        sent.map(|_| ()).map_err(|(error, _)| StandaloneError::Broker { what: "send a command", error })
    }
}
