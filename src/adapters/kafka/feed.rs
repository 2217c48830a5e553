// Upstream: app, clients_tests, consumer_tests, kafka
// Downstream: many
// Role: Implements the command feed: starts, stops and closes the consumer thread.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use actors::ports::{CommandFeed, CommandReceiver, FeedError, FeedState, PartitionState};
use async_trait::async_trait;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::adapters::kafka::clients::KafkaClients;
use crate::adapters::kafka::consumer_client::ConsumerClients;
use crate::adapters::kafka::consumer_loop::ConsumerLoop;
use crate::adapters::kafka::feed_figures::{FeedFigures, Membership};
use crate::adapters::kafka::feed_shared::{FeedShared, lock};
use crate::adapters::kafka::intake::{FeedEvent, Intake};
use crate::adapters::kafka::membership_watch::MembershipWatch;
use crate::adapters::kafka::orders::OrdersFault;
use crate::adapters::kafka::topics::{TopicWatch, TopicsFault};

/// The command feed: one member of the consumer group.
pub struct KafkaFeed {
    clients: Arc<KafkaClients>,
    node_id: String,
    figures: Arc<FeedFigures>,
    /// Sends requests to the thread. `None` until it starts.
    orders: Mutex<Option<UnboundedSender<FeedEvent>>>,
    /// State shared with the thread while it runs.
    shared: Mutex<Option<Arc<FeedShared>>>,
    /// Why operator orders are not heard, if so: a worker that cannot be ordered is not well either.
    orders_fault: OrdersFault,
    /// Which topics are missing, if so.
    topics_fault: TopicsFault,
    /// Ends the watches over the membership and the topics when they are dropped.
    watches: Mutex<Vec<Sender<()>>>,
}

impl KafkaFeed {
    /// Creates the feed; `start` connects it.
    pub fn new(clients: Arc<KafkaClients>, node_id: &str, orders_fault: OrdersFault) -> Self {
        Self {
            clients,
            node_id: node_id.to_owned(),
            figures: Arc::default(),
            orders: Mutex::default(),
            shared: Mutex::default(),
            orders_fault,
            topics_fault: Arc::default(),
            watches: Mutex::default(),
        }
    }

    fn error(&self, what: &'static str, reason: impl std::fmt::Display) -> FeedError {
        let feed = format!("{} group {}", self.clients.section().address(), self.clients.section().group_id);
        FeedError { feed, what, reason: reason.to_string() }
    }
}

#[async_trait]
impl CommandFeed for KafkaFeed {
    fn start(&self, receiver: CommandReceiver) -> Result<(), FeedError> {
        let (orders, events) = unbounded_channel();
        let shared = Arc::new(FeedShared::new(Intake::new(orders.clone()), receiver));
        let clients = ConsumerClients::new(self.clients.clone(), &self.node_id, shared.clone());
        let config = self.clients.section().clone();
        let consumer = ConsumerLoop::new(config, clients, events, shared.clone(), self.figures.clone());
        spawn_consumer(consumer).map_err(|error| self.error("start", error))?;
        let watch = MembershipWatch {
            clients: self.clients.clone(),
            node_id: self.node_id.clone(),
            shared: shared.clone(),
            figures: self.figures.clone(),
            orders: orders.clone(),
        };
        let (watching, closed) = channel();
        std::thread::Builder::new()
            .name("kafka-membership".to_owned())
            .spawn(move || watch.run(&closed))
            .map_err(|error| self.error("start", error))?;
        let topics = TopicWatch::new(self.clients.clone(), &self.node_id, self.topics_fault.clone());
        let (looking, closed) = channel();
        std::thread::Builder::new()
            .name("kafka-topics".to_owned())
            .spawn(move || topics.run(&closed))
            .map_err(|error| self.error("start", error))?;
        *lock(&self.watches) = vec![watching, looking];
        *lock(&self.orders) = Some(orders);
        *lock(&self.shared) = Some(shared);
        Ok(())
    }

    fn stop_intake(&self) {
        if let Some(orders) = lock(&self.orders).as_ref()
            && orders.send(FeedEvent::StopIntake).is_err()
        {
            tracing::debug!("the consumer thread has already ended");
        }
    }

    async fn close(&self, deadline: Duration) -> Result<(), FeedError> {
        let Some(orders) = lock(&self.orders).take() else { return Ok(()) };
        lock(&self.watches).clear();
        *lock(&self.shared) = None;
        let (answer, closed) = tokio::sync::oneshot::channel();
        if orders.send(FeedEvent::Close(answer)).is_err() {
            return Err(self.error("close", "the consumer thread has already ended"));
        }
        match tokio::time::timeout(deadline, closed).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(reason))) => Err(self.error("close", reason)),
            Ok(Err(_)) => Err(self.error("close", "the consumer thread ended without an answer")),
            Err(_) => Err(self.error("close", format!("not finished within {deadline:?}"))),
        }
    }

    fn partitions(&self) -> Vec<PartitionState> {
        lock(&self.shared).as_ref().map(|shared| shared.partitions()).unwrap_or_default()
    }

    fn state(&self) -> FeedState {
        let started = lock(&self.orders).is_some();
        let Membership { fault, unknown } = if started { self.figures.membership() } else { Membership::default() };
        // A missing topic is the cause of what the others see of it.
        let missing = lock(&self.topics_fault).clone().filter(|_| started);
        let joined = self.figures.has_joined() && fault.is_none();
        let fault = missing.or(fault);
        FeedState {
            joined,
            fault: fault.or_else(|| lock(&self.orders_fault).clone().filter(|_| started)),
            unknown,
            num_partitions: self.figures.num_partitions.load(Ordering::Relaxed),
            num_topic_partitions: Some(self.figures.num_topic_partitions.load(Ordering::Relaxed))
                .filter(|number| *number > 0),
            num_unresolved: self.figures.num_unresolved.load(Ordering::Acquire),
            // Before the start and after the close nobody polls, which is not a fault.
            since_last_poll: if started { self.figures.since_last_poll() } else { Duration::ZERO },
            oldest: lock(&self.shared).as_ref().and_then(|shared| lock(&shared.intake).oldest()),
            num_rebuilds: self.figures.num_rebuilds.load(Ordering::Relaxed),
        }
    }
}

/// Runs a consumer on a thread of its own, because the calls of its client block.
pub(crate) fn spawn_consumer(consumer: ConsumerLoop<ConsumerClients>) -> std::io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    std::thread::Builder::new().name("kafka-consumer".to_owned()).spawn(move || runtime.block_on(consumer.run()))
}
