// Upstream: app
// Downstream: adapters, client_config, clients, config, topics
// Role: Tests the connection to the Kafka cluster and lists brokers and missing topics.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::metadata::Metadata;
use rdkafka::producer::{BaseProducer, DeliveryResult, Producer, ProducerContext};

use crate::adapters::kafka::client_config::{advice, client_config};
use crate::adapters::kafka::clients::KafkaClients;
use crate::adapters::kafka::topics::{NeededTopic, TopicsClient};
use crate::adapters::probe::{Answer, DEADLINE};
use crate::config::KafkaSection;

/// The part of a deadline that is left after the metadata request, so that the reason is still reported.
const REPORT: Duration = Duration::from_millis(500);

/// Time to receive the pending log lines of librdkafka.
const LISTEN: Duration = Duration::from_millis(20);

/// Maximum number of brokers in the output; a cluster may have hundreds.
const MAX_NAMED: usize = 3;

/// Keeps the last error message of librdkafka, or the last one whose cause is known: an error code alone does not
/// contain the reason.
#[derive(Default)]
struct LastWords(Mutex<Option<String>>);

impl ClientContext for LastWords {
    fn log(&self, level: RDKafkaLogLevel, _facility: &str, message: &str) {
        if (level as i32) <= RDKafkaLogLevel::Error as i32 {
            // The message starts with a thread name in brackets.
            let words = message.split_once("]: ").map_or(message, |(_, words)| words);
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if advice(words).is_some() || kept.as_deref().and_then(advice).is_none() {
                *kept = Some(words.to_owned());
            }
        }
    }

    fn error(&self, _error: KafkaError, _reason: &str) {
        // The log line contains the same text and the address.
    }
}

impl ProducerContext for LastWords {
    type DeliveryOpaque = ();

    fn delivery(&self, _result: &DeliveryResult<'_>, _opaque: ()) {}
}

/// Requests the metadata of the cluster. The protocol does not contain the version; record headers require 0.11.
pub async fn probe(section: &KafkaSection) -> Result<Answer, String> {
    let section = section.clone();
    let asking = tokio::task::spawn_blocking(move || ask(&section));
    asking.await.unwrap_or_else(|error| Err(error.to_string()))
}

/// Connects and logs in, within the deadline.
pub async fn try_login(section: &KafkaSection, deadline: Duration) -> Result<(), String> {
    let section = section.clone();
    let asking = tokio::task::spawn_blocking(move || metadata(&section, deadline).map(drop));
    asking.await.unwrap_or_else(|error| Err(error.to_string()))
}

fn ask(section: &KafkaSection) -> Result<Answer, String> {
    let metadata = metadata(section, DEADLINE)?;
    let topics = TopicsClient::new(KafkaClients::new(section), "data-worker.check".to_owned());
    Ok(describe(&metadata, section, |topic| topic.create(&topics, true)))
}

/// The metadata of the cluster, or what prevents it.
fn metadata(section: &KafkaSection, deadline: Duration) -> Result<Metadata, String> {
    let client: BaseProducer<LastWords> = client_config(section, "data-worker.check", &[])
        .create_with_context(LastWords::default())
        .map_err(|error| with_advice(error.to_string()))?;
    client.client().fetch_metadata(None, deadline.saturating_sub(REPORT)).map_err(|error| {
        client.poll(LISTEN);
        let last_words = client.context().0.lock().unwrap_or_else(PoisonError::into_inner).take();
        with_advice(last_words.unwrap_or_else(|| error.to_string()))
    })
}

/// The rights of a worker where the brokers have ACLs.
fn rights(section: &KafkaSection) -> String {
    let group = &section.group_id;
    format!(
        "needs Read on the topics of commands, orders and dead letters and on groups {group}*; Write on those of parts, \
         dead letters, notifications and prices and on transactional ids {group}*"
    )
}

/// An error with the setting to change, if that is known.
fn with_advice(error: String) -> String {
    match advice(&error) {
        Some(advice) => format!("{advice} ({error})"),
        None => error,
    }
}

/// A missing topic is a fault, unless the worker may create it, which `try_to_create` finds out.
fn describe(
    metadata: &Metadata,
    section: &KafkaSection,
    try_to_create: impl Fn(&NeededTopic) -> Option<Result<(), String>>,
) -> Answer {
    let brokers = metadata.brokers();
    let named: Vec<String> =
        brokers.iter().take(MAX_NAMED).map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
    let mut answer = Answer::of("Kafka does not report its version (0.11 or newer is required)").with(format!(
        "brokers: {} ({})",
        brokers.len(),
        named.join(", ")
    ));
    let there: HashSet<&str> = metadata.topics().iter().map(|topic| topic.name()).collect();
    let needed = NeededTopic::of(section);
    let missing: Vec<&NeededTopic> = needed.iter().filter(|topic| !there.contains(topic.name.as_str())).collect();
    for topic in &missing {
        answer = match try_to_create(topic) {
            Some(Ok(())) => answer.with(format!("the topic {} does not exist; the worker creates it", topic.name)),
            Some(Err(reason)) => {
                answer.with_fault(format!("{}; the broker refuses it to the worker: {reason}", topic.missing()))
            }
            None => answer.with_fault(topic.missing()),
        };
    }
    let found = metadata.topics().iter().filter(|topic| needed.iter().any(|needed| needed.name == topic.name()));
    let found: Vec<String> = found.map(|topic| format!("{} ({})", topic.name(), topic.partitions().len())).collect();
    if !found.is_empty() {
        answer = answer.with(format!("topics with their partitions: {}", found.join(", ")));
    }
    if missing.is_empty() {
        answer = answer.with("all topics exist");
    }
    answer.with(rights(section))
}
