// Upstream: demonstration, standalone
// Downstream: config, error
// Role: Runs librdkafka's in-process broker with the worker's topics, and sends the demonstration's commands.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{DefaultProducerContext, FutureProducer, FutureRecord};

use crate::config::KafkaSection;
use crate::standalone::error::StandaloneError;

/// Maximum wait for space in the producer's queue, which contains one command at a time.
const QUEUE_WAIT: Duration = Duration::from_secs(5);

/// A one-node broker on a free port of 127.0.0.1. It implements the Kafka protocol and keeps the newest 5 MB of each
/// partition in memory.
pub struct Broker {
    producer: FutureProducer,
    host: String,
    port: u16,
    command_topic: String,
    /// Dropped last, because the producer is connected to it.
    _cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    /// Starts the broker with the configured topics. (It does not support the CreateTopics request of the protocol.)
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

    /// The host of the broker.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port of the broker.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of the broker as `host:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The topic for commands.
    pub fn command_topic(&self) -> &str {
        &self.command_topic
    }

    /// Sends a command and waits for the broker's acknowledgement.
    pub async fn send(&self, payload: &str) -> Result<(), StandaloneError> {
        let record = FutureRecord::<(), str>::to(&self.command_topic).payload(payload);
        let sent = self.producer.send(record, QUEUE_WAIT).await;
        sent.map(|_| ()).map_err(|(error, _)| StandaloneError::Broker { what: "send a command", error })
    }
}
