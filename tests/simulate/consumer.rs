// Upstream: cluster, run
// Downstream: actors, broker, client, data_worker
// Role: The feed of one worker: the real loop of the consumer on the model of a broker.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::Recipient;
use actors::ports::{CommandFeed, CommandReceiver, FeedError, FeedState, OrderFeed, OrderReceived, PartitionState};
use async_trait::async_trait;
use data_worker::adapters::kafka::consumer_loop::ConsumerLoop;
use data_worker::adapters::kafka::feed_figures::FeedFigures;
use data_worker::adapters::kafka::feed_shared::{FeedShared, lock};
use data_worker::adapters::kafka::intake::{FeedEvent, Intake};
use data_worker::config::KafkaSection;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::broker::Broker;
use crate::client::{SimulatedClients, TOPIC};

/// Interval of questions for the id of the topic.
const IDENTITY: Duration = Duration::from_secs(5);
/// Maximum number of commands that are held.
pub const MAX_HELD: usize = 12;

/// The consumer behind the port of the actors.
pub struct SimulatedFeed {
    member: String,
    broker: Arc<Broker>,
    figures: Arc<FeedFigures>,
    running: Mutex<Option<Running>>,
}

/// A feed that was started.
#[derive(Clone)]
struct Running {
    shared: Arc<FeedShared>,
    events: UnboundedSender<FeedEvent>,
}

impl SimulatedFeed {
    /// A consumer that has not started.
    pub fn new(member: &str, broker: Arc<Broker>) -> Self {
        Self { member: member.to_owned(), broker, figures: Arc::default(), running: Mutex::default() }
    }

    fn shared(&self) -> Option<Arc<FeedShared>> {
        lock(&self.running).as_ref().map(|running| running.shared.clone())
    }

    /// Number of unresolved commands, and the sum of all positions, which grows with each resolved one.
    pub fn progress(&self) -> (usize, usize) {
        let Some(shared) = self.shared() else { return (0, 0) };
        let intake = lock(&shared.intake);
        let positions = intake.positions(&intake.assigned());
        (intake.num_unresolved(), positions.iter().map(|(_, offset)| *offset as usize).sum())
    }

    /// Number of commands that are held.
    pub fn num_held(&self) -> usize {
        self.shared().map_or(0, |shared| lock(&shared.intake).num_held())
    }

    fn send(&self, event: FeedEvent) -> Result<(), FeedError> {
        let events = lock(&self.running).as_ref().map(|running| running.events.clone());
        let is_sent = events.is_some_and(|events| events.send(event).is_ok());
        is_sent.then_some(()).ok_or_else(|| failed("the consumer does not run".to_owned()))
    }
}

fn failed(reason: String) -> FeedError {
    FeedError { feed: "model".into(), what: "close", reason }
}

/// Compares the id of the topic, as the watch over the membership does.
async fn watch_topic(member: String, broker: Arc<Broker>, running: Running) {
    let mut reported = HashMap::new();
    loop {
        tokio::time::sleep(IDENTITY).await;
        if !broker.answers(&member) {
            continue;
        }
        let current = HashMap::from([(TOPIC.into(), broker.topic_id())]);
        for topic in running.shared.replaced_topics(&current, &mut reported) {
            if running.events.send(FeedEvent::TopicReplaced(topic)).is_err() {
                return;
            }
        }
    }
}

#[async_trait]
impl CommandFeed for SimulatedFeed {
    fn start(&self, receiver: CommandReceiver) -> Result<(), FeedError> {
        let (events, heard) = unbounded_channel();
        let shared = Arc::new(FeedShared::new(Intake::new(events.clone()), receiver));
        let config = KafkaSection {
            command_topics: vec![TOPIC.to_owned()],
            max_unresolved: MAX_HELD,
            ..KafkaSection::default()
        };
        let clients = SimulatedClients { member: self.member.clone(), broker: self.broker.clone() };
        let consumer = ConsumerLoop::new(config, clients, heard, shared.clone(), self.figures.clone());
        let running = Running { shared, events };
        actix_rt::spawn(consumer.run());
        actix_rt::spawn(watch_topic(self.member.clone(), self.broker.clone(), running.clone()));
        *lock(&self.running) = Some(running);
        Ok(())
    }

    fn stop_intake(&self) {
        // A worker may stop before its consumer has started.
        let _not_running = self.send(FeedEvent::StopIntake);
    }

    async fn close(&self, deadline: Duration) -> Result<(), FeedError> {
        if self.shared().is_none() {
            return Ok(());
        }
        let (answer, closed) = tokio::sync::oneshot::channel();
        self.send(FeedEvent::Close(answer))?;
        match tokio::time::timeout(deadline, closed).await {
            Ok(Ok(outcome)) => outcome.map_err(failed),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn state(&self) -> FeedState {
        FeedState {
            joined: self.figures.has_joined(),
            num_partitions: self.figures.num_partitions.load(Ordering::Relaxed),
            num_unresolved: self.figures.num_unresolved.load(Ordering::Acquire),
            num_rebuilds: self.figures.num_rebuilds.load(Ordering::Relaxed),
            since_last_poll: self.figures.since_last_poll(),
            ..FeedState::default()
        }
    }

    fn partitions(&self) -> Vec<PartitionState> {
        self.shared().map(|shared| shared.partitions()).unwrap_or_default()
    }
}

/// No operator gives orders.
pub struct NoOrders;

impl OrderFeed for NoOrders {
    fn start(&self, _receiver: Recipient<OrderReceived>) -> Result<(), FeedError> {
        Ok(())
    }

    fn is_receiving(&self) -> bool {
        true
    }

    fn close(&self) {}
}
