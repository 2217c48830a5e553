// Upstream: consumer_tests, feed
// Downstream: many
// Role: The thread that asks the broker whether this worker has its share of the partitions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use tokio::sync::mpsc::UnboundedSender;

use crate::adapters::kafka::clients::{KafkaClients, SharedClient};
use crate::adapters::kafka::feed_figures::FeedFigures;
use crate::adapters::kafka::feed_shared::{FeedShared, lock};
use crate::adapters::kafka::intake::{FeedEvent, PartitionKey};
use crate::adapters::kafka::membership::{GroupView, Judgement, MembershipJudge, Remedy, Standing, partitions_of};
use crate::adapters::kafka::reading_watch::ReadingWatch;
use crate::adapters::kafka::topic_ids::{TopicIds, topic_ids};

/// Timeout of each request to the broker.
const BROKER_ANSWER: Duration = Duration::from_secs(5);

/// The longest interval of the questions. Each is one request for the group and one for each topic.
const MAX_INTERVAL: Duration = Duration::from_secs(5);

/// The interval until the worker was seen as a member, for at most a session: what leaves before it was seen is not
/// missed.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);

/// The watch over the membership of one worker. It asks on a thread and a client of its own: the client of the consumer
/// is what may have failed, and its thread must poll.
pub struct MembershipWatch {
    /// Makes its clients.
    pub clients: Arc<KafkaClients>,
    /// The worker, whose consumer has it as its client id.
    pub node_id: String,
    /// The state of the consumer.
    pub shared: Arc<FeedShared>,
    /// Receives the result.
    pub figures: Arc<FeedFigures>,
    /// Receives the remedies.
    pub orders: UnboundedSender<FeedEvent>,
}

impl MembershipWatch {
    /// Asks at an interval until the sender of `closed` is dropped.
    pub fn run(self, closed: &Receiver<()>) {
        let client_id = format!("{}.membership", self.node_id);
        let own = [("allow.auto.create.topics", "false")];
        let client: SharedClient<BaseProducer> = match self.clients.make(&client_id, &own, DefaultProducerContext) {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "cannot create the client that watches the membership");
                let fault = format!("cannot create the client that watches the membership: {error}");
                self.figures.set_membership(Some(fault), None);
                return;
            }
        };
        let session = Duration::from_millis(self.clients.section().session_timeout_ms);
        let mut reading = ReadingWatch::new(self.clients.clone(), &self.node_id, self.shared.clone());
        let mut judge = MembershipJudge::new(session);
        let mut last = Standing::Sound;
        // A broker that does not describe the members of groups proves nothing: this worker must have been seen once.
        let (mut was_seen, begun) = (false, Instant::now());
        let mut reported = TopicIds::new();
        let interval = |was_seen: bool| match was_seen || begun.elapsed() > session {
            true => MAX_INTERVAL.min(session / 4),
            false => FIRST_INTERVAL,
        };
        while closed.recv_timeout(interval(was_seen)) == Err(RecvTimeoutError::Timeout) {
            // Before the first assignment the start of the worker waits for it and says so.
            if !self.figures.has_joined() {
                continue;
            }
            let (mut standing, place) = self.ask(&client);
            was_seen |= matches!(standing, Standing::Sound | Standing::Unassigned(_));
            if !was_seen && standing == Standing::NotAMember {
                standing = Standing::Sound;
            }
            if standing != last {
                tracing::debug!(%standing, "membership of the consumer group");
            }
            self.compare_topics(&client, &mut reported);
            let judgement = judge.judge(&standing, place, Instant::now());
            let is_answering = !matches!(standing, Standing::Unknown(_));
            last = standing;
            self.apply(judgement, reading.look(is_answering));
        }
    }

    /// Orders a new start of each topic that was deleted and created again since its assignment.
    fn compare_topics(&self, client: &BaseProducer, reported: &mut TopicIds) {
        let assigned: Vec<Arc<str>> = lock(&self.shared.topic_ids).keys().cloned().collect();
        let topics: Vec<&str> = assigned.iter().map(AsRef::as_ref).collect();
        if topics.is_empty() {
            return;
        }
        // Without an answer nothing is known; the next question follows soon.
        let Ok(current) = topic_ids(client.client(), &topics, BROKER_ANSWER) else { return };
        for topic in self.shared.replaced_topics(&current, reported) {
            if self.orders.send(FeedEvent::TopicReplaced(topic)).is_err() {
                tracing::debug!("the consumer thread has already ended");
            }
        }
    }

    fn apply(&self, judgement: Judgement, unreadable: Option<String>) {
        let Judgement { fault, unknown, remedy } = judgement;
        let order = remedy.map(|remedy| {
            let reason = fault.clone().unwrap_or_default();
            tracing::error!(reason, ?remedy, "the worker has lost its share of the partitions");
            match remedy {
                Remedy::Rejoin => FeedEvent::Rejoin,
                Remedy::Rebuild => FeedEvent::Rebuild(reason),
            }
        });
        self.figures.set_membership(fault.or(unreadable), unknown);
        if let Some(order) = order
            && self.orders.send(order).is_err()
        {
            tracing::debug!("the consumer thread has already ended");
        }
    }

    fn ask(&self, client: &BaseProducer) -> (Standing, usize) {
        match self.view(client) {
            Ok(Some(view)) => {
                let held: BTreeSet<PartitionKey> = lock(&self.shared.intake).assigned().into_iter().collect();
                (view.standing(&self.node_id, &held), view.place_of(&self.node_id))
            }
            // A broker that does not describe groups: there is nothing to compare with.
            Ok(None) => (Standing::Rebalancing, 0),
            Err(error) if is_unsupported(&error) => (Standing::Rebalancing, 0),
            Err(error) if is_denied(&error) => (
                Standing::Refused(format!("group {}: {error}; see its access rules", self.clients.section().group_id)),
                0,
            ),
            Err(error) => (Standing::Unknown(error.to_string()), 0),
        }
    }

    /// The group and its topics on the broker. `None` if the broker does not describe the members of groups.
    fn view(&self, client: &BaseProducer) -> Result<Option<GroupView>, KafkaError> {
        let (mut partitions, mut unavailable) = (BTreeSet::new(), BTreeMap::new());
        for name in &self.clients.section().command_topics {
            let metadata = client.client().fetch_metadata(Some(name), BROKER_ANSWER)?;
            let topic: Arc<str> = name.as_str().into();
            let refused = metadata.topics().iter().filter_map(|topic| topic.error()).map(RDKafkaErrorCode::from);
            for code in refused.filter(|code| is_refused(*code)) {
                unavailable.insert(name.clone(), code.to_string());
            }
            let found = metadata.topics().iter().flat_map(|topic| topic.partitions());
            partitions.extend(found.map(|partition| (topic.clone(), partition.id())));
        }
        self.figures.num_topic_partitions.store(partitions.len(), Ordering::Relaxed);
        let list = client.client().fetch_group_list(Some(&self.clients.section().group_id), BROKER_ANSWER)?;
        let Some(group) = list.groups().iter().find(|group| group.name() == self.clients.section().group_id) else {
            return Ok(None);
        };
        let mut members = BTreeMap::new();
        for member in group.members() {
            let partitions: &mut BTreeSet<PartitionKey> = members.entry(member.client_id().to_owned()).or_default();
            // No bytes: the group has not distributed its partitions yet.
            let Some(assigned) = member.assignment().map_or(Some(BTreeSet::new()), partitions_of) else {
                return Ok(None);
            };
            partitions.extend(assigned);
        }
        Ok(Some(GroupView { state: group.state().to_owned(), members, partitions, unavailable }))
    }
}

fn is_unsupported(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{InvalidRequest, UnsupportedFeature, UnsupportedVersion};
    matches!(error.rdkafka_error_code(), Some(InvalidRequest | UnsupportedFeature | UnsupportedVersion))
}

/// Whether the broker refuses access to the group.
fn is_denied(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{ClusterAuthorizationFailed, GroupAuthorizationFailed, TopicAuthorizationFailed};
    matches!(
        error.rdkafka_error_code(),
        Some(ClusterAuthorizationFailed | GroupAuthorizationFailed | TopicAuthorizationFailed)
    )
}

/// Whether a topic is missing or refused. Other errors pass, such as a leader that is being elected.
fn is_refused(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{InvalidTopic, TopicAuthorizationFailed, UnknownTopic, UnknownTopicOrPartition};
    matches!(code, InvalidTopic | TopicAuthorizationFailed | UnknownTopic | UnknownTopicOrPartition)
}
