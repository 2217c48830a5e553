// Upstream: admin_client, feed, probe
// Downstream: clients, config, feed_shared
// Role: The topics that a worker needs: creates its own where the broker allows it, and names those that are missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext, DefaultClientContext};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};

use crate::adapters::kafka::clients::{KafkaClients, SharedClient};
use crate::adapters::kafka::feed_shared::lock;
use crate::config::KafkaSection;

/// Timeout of each request to the broker.
const BROKER_ANSWER: Duration = Duration::from_secs(5);

/// Interval of the looks.
const INTERVAL: Duration = Duration::from_secs(5);

/// Interval of the looks while a topic is missing.
const INTERVAL_MISSING: Duration = Duration::from_secs(1);

/// Time for which a topic that was there may be missing before that is a fault: a reset deletes and creates topics.
const MISSING_FOR: Duration = Duration::from_secs(10);

/// The same for a topic that has never been there.
const NEVER_THERE_FOR: Duration = Duration::from_secs(2);

/// Time for the creation of a topic.
const CREATION: Duration = Duration::from_secs(5);

/// How long dead letters are kept: time for an operator to see to them. A broker's own default may be hours.
const DEAD_LETTERS_KEPT_MS: &str = "604800000";

/// Why topics are missing, if so.
pub type TopicsFault = Arc<Mutex<Option<String>>>;

/// A topic that a worker needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeededTopic {
    /// Its name.
    pub name: String,
    /// The settings that name it.
    settings: &'static str,
    /// The form in which the worker creates it; `None` if it belongs to others.
    own: Option<OwnTopic>,
}

/// The form of a topic that the worker creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OwnTopic {
    partitions: i32,
    retention_ms: Option<&'static str>,
    /// For how long it must be missing. Ginkgo's reset deletes all topics and creates its own one after the other: a
    /// topic that is one of them must not appear meanwhile.
    missing_for: Duration,
}

/// The text about a topic that does not exist.
pub struct MissingTopic<'a> {
    /// The name of the topic.
    pub name: &'a str,
    /// The settings that name it.
    pub settings: &'a str,
}

/// The settings that name the topics of commands.
pub const COMMAND_SETTINGS: &str = "kafka.command_topics and kafka.control_topic";

impl fmt::Display for MissingTopic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the topic {} does not exist; create it, or see {}", self.name, self.settings)
    }
}

impl NeededTopic {
    /// All topics that a worker with these settings needs.
    pub fn of(section: &KafkaSection) -> Vec<Self> {
        let commands: BTreeSet<&String> = section.command_topics.iter().chain([&section.control_topic]).collect();
        let others =
            commands.into_iter().map(|name| Self { name: name.clone(), settings: COMMAND_SETTINGS, own: None });
        let own = [
            (
                &section.dead_letter_topic,
                "kafka.dead_letter_topic",
                OwnTopic { partitions: 1, retention_ms: Some(DEAD_LETTERS_KEPT_MS), missing_for: Duration::ZERO },
            ),
            (
                &section.notification_topic,
                "kafka.notification_topic",
                OwnTopic { partitions: 3, retention_ms: None, missing_for: MISSING_FOR },
            ),
        ];
        others.chain(own.map(|(name, settings, own)| Self { name: name.clone(), settings, own: Some(own) })).collect()
    }

    /// The text for a topic that does not exist.
    pub fn missing(&self) -> String {
        MissingTopic { name: &self.name, settings: self.settings }.to_string()
    }

    /// Whether the topic exists. An error means that this is not known.
    pub fn is_there<C: ClientContext>(&self, client: &Client<C>, timeout: Duration) -> KafkaResult<bool> {
        let metadata = client.fetch_metadata(Some(&self.name), timeout)?;
        let Some(topic) = metadata.topics().first() else { return Ok(false) };
        match topic.error().map(RDKafkaErrorCode::from) {
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(false),
            // Refused or without a leader: it exists, as far as can be seen.
            Some(_) => Ok(true),
            None => Ok(!topic.partitions().is_empty()),
        }
    }

    /// Whether the worker may create the topic. With `only_try`, the broker checks the request and creates nothing.
    /// `None` if the topic belongs to others.
    pub fn create(&self, client: &TopicsClient, only_try: bool) -> Option<Result<(), String>> {
        let own = self.own.filter(|_| client.clients.section().create_topics)?;
        Some(client.create(&self.name, own, only_try))
    }
}

/// Makes the clients of questions about topics.
pub struct TopicsClient {
    clients: Arc<KafkaClients>,
    client_id: String,
}

impl TopicsClient {
    /// Clients with this name.
    pub fn new(clients: Arc<KafkaClients>, client_id: String) -> Self {
        Self { clients, client_id }
    }

    fn make(&self) -> KafkaResult<SharedClient<AdminClient<DefaultClientContext>>> {
        self.clients.make(&self.client_id, &[("allow.auto.create.topics", "false")], DefaultClientContext)
    }

    fn create(&self, name: &str, own: OwnTopic, only_try: bool) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let admin = self.make().map_err(|error| error.to_string())?;
        // The broker's own number of replicas.
        let mut topic = NewTopic::new(name, own.partitions, TopicReplication::Fixed(-1));
        if let Some(retention) = own.retention_ms {
            topic = topic.set("retention.ms", retention);
        }
        let options = AdminOptions::new()
            .request_timeout(Some(BROKER_ANSWER))
            .operation_timeout(Some(BROKER_ANSWER))
            .validate_only(only_try);
        let outcomes = runtime.block_on(admin.create_topics(&[topic], &options)).map_err(|error| error.to_string())?;
        match outcomes.into_iter().next() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => Err(code.to_string()),
            _ => Ok(()),
        }
    }
}

/// Looks at the topics of one worker as long as it runs.
pub struct TopicWatch {
    client: TopicsClient,
    needed: Vec<NeededTopic>,
    fault: TopicsFault,
    /// Since when a topic is missing.
    missing: BTreeMap<String, Instant>,
    seen: BTreeSet<String>,
    /// Topics that the broker has refused to create, which is said once.
    refused: BTreeSet<String>,
}

impl TopicWatch {
    /// A watch that has seen nothing yet.
    pub fn new(clients: Arc<KafkaClients>, node_id: &str, fault: TopicsFault) -> Self {
        Self {
            needed: NeededTopic::of(clients.section()),
            client: TopicsClient::new(clients, format!("{node_id}.topics")),
            fault,
            missing: BTreeMap::new(),
            seen: BTreeSet::new(),
            refused: BTreeSet::new(),
        }
    }

    /// Looks at an interval until the sender of `closed` is dropped.
    pub fn run(mut self, closed: &Receiver<()>) {
        let admin = match self.client.make() {
            Ok(admin) => admin,
            Err(error) => {
                tracing::error!(%error, "cannot create the client that looks at the topics");
                return;
            }
        };
        loop {
            self.look(admin.inner());
            let interval = if self.missing.is_empty() { INTERVAL } else { INTERVAL_MISSING };
            if closed.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    }

    fn look(&mut self, client: &Client<DefaultClientContext>) {
        for topic in self.needed.clone() {
            match topic.is_there(client, BROKER_ANSWER) {
                Ok(true) => self.found(&topic.name),
                Ok(false) => self.lacks(&topic),
                // The broker is away: nothing is known, and others report it.
                Err(error) => {
                    tracing::debug!(%error, topic = topic.name, "cannot look for the topic");
                    return;
                }
            }
        }
        let faults: Vec<String> =
            self.needed.iter().filter(|topic| self.is_fault(topic)).map(NeededTopic::missing).collect();
        *lock(&self.fault) = (!faults.is_empty()).then(|| faults.join("; "));
    }

    fn found(&mut self, name: &str) {
        if self.missing.remove(name).is_some() {
            tracing::info!(topic = name, "the topic exists now");
        }
        self.refused.remove(name);
        self.seen.insert(name.to_owned());
    }

    fn lacks(&mut self, topic: &NeededTopic) {
        let is_new = !self.missing.contains_key(&topic.name);
        let since = *self.missing.entry(topic.name.clone()).or_insert_with(Instant::now);
        if is_new {
            tracing::warn!(topic = topic.name, "{}", topic.missing());
        }
        if topic.own.is_none_or(|own| since.elapsed() < own.missing_for) {
            return;
        }
        match topic.create(&self.client, false) {
            Some(Ok(())) => tracing::info!(topic = topic.name, "topic created"),
            Some(Err(reason)) if self.refused.insert(topic.name.clone()) => {
                tracing::error!(topic = topic.name, reason, "cannot create the topic");
            }
            _ => {}
        }
    }

    fn is_fault(&self, topic: &NeededTopic) -> bool {
        let was_there = self.seen.contains(&topic.name);
        let allowed = if was_there { MISSING_FOR } else { NEVER_THERE_FOR };
        // A topic that the worker is about to create is no fault yet.
        let creates =
            topic.own.filter(|_| self.client.clients.section().create_topics && !self.refused.contains(&topic.name));
        let allowed = creates.map_or(allowed, |own| allowed.max(own.missing_for + CREATION));
        self.missing.get(&topic.name).is_some_and(|since| since.elapsed() >= allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_is_about_to_be_created_is_no_fault() {
        let mut watch = TopicWatch::new(KafkaClients::new(&KafkaSection::default()), "n1", TopicsFault::default());
        let topic = watch.needed.iter().find(|topic| topic.name == "ginkgo.notifications").cloned().unwrap();
        let missing_for = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        watch.missing.insert(topic.name.clone(), missing_for(8));
        assert!(!watch.is_fault(&topic), "it is created after ten seconds");
        watch.refused.insert(topic.name.clone());
        assert!(watch.is_fault(&topic), "the broker has refused it");
        watch.refused.clear();
        watch.missing.insert(topic.name.clone(), missing_for(20));
        assert!(watch.is_fault(&topic), "it was not created");
    }

    #[test]
    fn only_dead_letters_and_notifications_are_the_workers_own() {
        let section = KafkaSection::default();
        let needed = NeededTopic::of(&section);
        let names: Vec<(&str, bool)> = needed.iter().map(|topic| (topic.name.as_str(), topic.own.is_some())).collect();
        let expected = [
            ("ginkgo.data.commands", false),
            ("ginkgo.live.control.commands", false),
            ("ginkgo.data.commands.dlq", true),
            ("ginkgo.notifications", true),
        ];
        assert_eq!(names, expected);
        let text = "the topic ginkgo.data.commands.dlq does not exist; create it, or see kafka.dead_letter_topic";
        assert_eq!(needed[2].missing(), text);
        let off = KafkaSection { create_topics: false, ..section };
        let client = TopicsClient::new(KafkaClients::new(&off), "c".to_owned());
        assert!(needed[2].create(&client, true).is_none(), "it is switched off");
    }
}
