// Upstream: cluster, run
// Downstream: actors, broker, data_worker
// Role: The consumer of one worker: the real intake and watermark on the model of a broker.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actix::Recipient;
use actors::domain::RawCommand;
use actors::ports::{
    CommandFeed, CommandReceived, CommandReceiver, FeedError, FeedState, OrderFeed, OrderReceived, PartitionState,
    PartitionsWithdrawn,
};
use async_trait::async_trait;
use data_worker::adapters::kafka::intake::{FeedEvent, Intake, PartitionKey, ReadFrom, Taken};
use data_worker::adapters::kafka::log_identity::{Committed, Log, Start, metadata_of, start};
use tokio::time::Instant;

use crate::broker::{Assigned, Broker, GroupAnswer, SESSION};

/// Interval of the consumer's steps.
const POLL: Duration = Duration::from_millis(20);
/// Interval of commits.
const COMMIT: Duration = Duration::from_secs(1);
/// Interval of redeliveries.
const REDELIVERY: Duration = Duration::from_millis(100);
/// Interval of questions for the id of the topic.
const IDENTITY: Duration = Duration::from_secs(5);
/// How long a rebalance waits for work in process.
const DRAIN: Duration = Duration::from_secs(10);
/// Maximum number of commands that are held.
pub const MAX_HELD: usize = 12;
/// Records that one step takes from a partition.
pub const FETCHED: usize = 4;

/// The topic's name.
const TOPIC: &str = "commands";

/// The consumer behind the port of the actors.
pub struct SimulatedFeed {
    member: String,
    broker: Arc<Broker>,
    intake: Arc<Mutex<Intake>>,
    events: Sender<FeedEvent>,
    heard: Mutex<Option<Receiver<FeedEvent>>>,
}

impl SimulatedFeed {
    /// A consumer that has not started.
    pub fn new(member: &str, broker: Arc<Broker>) -> Self {
        let (events, heard) = channel();
        let intake = Arc::new(Mutex::new(Intake::new(events.clone())));
        Self { member: member.to_owned(), broker, intake, events, heard: Mutex::new(Some(heard)) }
    }

    /// Number of unresolved commands, and the sum of all positions, which grows with each resolved one.
    pub fn progress(&self) -> (usize, usize) {
        let intake = lock(&self.intake);
        let positions = intake.positions(&intake.assigned());
        (intake.num_unresolved(), positions.iter().map(|(_, offset)| *offset as usize).sum())
    }

    /// Number of commands that are held.
    pub fn num_held(&self) -> usize {
        lock(&self.intake).num_held()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(partition: usize) -> PartitionKey {
    (TOPIC.into(), partition as i32)
}

#[async_trait]
impl CommandFeed for SimulatedFeed {
    fn start(&self, receiver: CommandReceiver) -> Result<(), FeedError> {
        let events = lock(&self.heard).take().expect("started once");
        let consumer = Consumer {
            member: self.member.clone(),
            broker: self.broker.clone(),
            intake: self.intake.clone(),
            events,
            receiver,
            generation: None,
            topic_id: String::new(),
            has_asked: false,
            next: BTreeMap::new(),
            stored: BTreeMap::new(),
            answered: Instant::now(),
            committed: Instant::now(),
            redelivered: Instant::now(),
            compared: Instant::now(),
            is_stopping: false,
        };
        actix_rt::spawn(consumer.run());
        Ok(())
    }

    fn stop_intake(&self) {
        self.events.send(FeedEvent::StopIntake).expect("the consumer runs");
    }

    async fn close(&self, deadline: Duration) -> Result<(), FeedError> {
        let (answer, closed) = tokio::sync::oneshot::channel();
        let failed = |reason: String| FeedError { feed: "model".into(), what: "close", reason };
        self.events.send(FeedEvent::Close(answer)).map_err(|error| failed(error.to_string()))?;
        match tokio::time::timeout(deadline, closed).await {
            Ok(Ok(outcome)) => outcome.map_err(failed),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }

    fn state(&self) -> FeedState {
        let intake = lock(&self.intake);
        let num_partitions = intake.assigned().len();
        FeedState { joined: true, num_partitions, num_unresolved: intake.num_unresolved(), ..FeedState::default() }
    }

    fn partitions(&self) -> Vec<PartitionState> {
        lock(&self.intake).partitions()
    }
}

/// The state of the consumer's loop.
struct Consumer {
    member: String,
    broker: Arc<Broker>,
    intake: Arc<Mutex<Intake>>,
    events: Receiver<FeedEvent>,
    receiver: CommandReceiver,
    /// The generation of the assignment; `None` without one.
    generation: Option<u64>,
    /// The id of the topic at the assignment.
    topic_id: String,
    /// Whether the member has asked to join.
    has_asked: bool,
    /// The next offset to fetch, by partition.
    next: BTreeMap<usize, i64>,
    /// Positions for the next commit.
    stored: BTreeMap<usize, i64>,
    answered: Instant,
    committed: Instant,
    redelivered: Instant,
    compared: Instant,
    is_stopping: bool,
}

impl Consumer {
    async fn run(mut self) {
        loop {
            if let Some(FeedEvent::Close(answer)) = self.hear() {
                self.close();
                let _gone = answer.send(Ok(()));
                return;
            }
            if self.broker.answers(&self.member) {
                self.answered = Instant::now();
                self.keep_membership().await;
                self.compare_topics();
            } else if self.answered.elapsed() > SESSION {
                self.lose(); // as librdkafka does
            }
            self.redeliver();
            self.store_positions();
            self.fetch();
            tokio::time::sleep(POLL).await;
        }
    }

    fn hear(&mut self) -> Option<FeedEvent> {
        while let Ok(event) = self.events.try_recv() {
            match event {
                FeedEvent::Settled { generation, partition, offset, settlement } => {
                    lock(&self.intake).settle(generation, &partition, offset, settlement);
                }
                FeedEvent::StopIntake => {
                    self.is_stopping = true;
                    self.withdraw();
                }
                other => return Some(other),
            }
        }
        None
    }

    fn withdraw(&self) {
        let intake = lock(&self.intake);
        intake.withdraw(&intake.assigned());
        drop(intake);
        self.receiver.withdrawals.do_send(PartitionsWithdrawn);
    }

    async fn keep_membership(&mut self) {
        let Some(generation) = self.generation else { return self.join() };
        match self.broker.heartbeat(&self.member, generation) {
            GroupAnswer::Ok | GroupAnswer::Silent => {}
            GroupAnswer::Rebalancing => {
                self.drain().await;
                self.commit();
                self.lose();
            }
            GroupAnswer::Unknown => self.lose(),
        }
    }

    fn join(&mut self) {
        if self.is_stopping {
            return;
        }
        if !std::mem::replace(&mut self.has_asked, true) {
            self.broker.join(&self.member);
        }
        let Some(assignment) = self.broker.assignment(&self.member) else { return };
        self.generation = Some(assignment.generation);
        self.topic_id = assignment.topic_id;
        for partition in assignment.partitions {
            let position = self.position(&partition);
            lock(&self.intake).assign(key(partition.number), position.map_or(ReadFrom::Beginning, ReadFrom::Offset));
            self.next.insert(partition.number, position.unwrap_or(0));
        }
    }

    /// The committed offset, if it belongs to the log that the broker has now.
    fn position(&self, partition: &Assigned) -> Option<i64> {
        let commit = partition.committed.as_ref()?;
        let committed = Committed { offset: commit.offset, metadata: &commit.metadata };
        let log = Log { topic_id: Some(&self.topic_id), bounds: Some((0, partition.end)) };
        match start(committed, log) {
            Start::Committed => Some(commit.offset),
            Start::AfterLoss(_) | Start::Beginning(_) => None,
        }
    }

    /// Gives up all positions once the topic is another one.
    fn compare_topics(&mut self) {
        if self.generation.is_none() || self.compared.elapsed() < IDENTITY {
            return;
        }
        self.compared = Instant::now();
        if self.broker.topic_id() != self.topic_id {
            self.drop_log();
        }
    }

    fn drop_log(&mut self) {
        self.lose();
        self.broker.leave(&self.member);
    }

    /// Waits for the work in process, as a rebalance does.
    async fn drain(&mut self) {
        self.withdraw();
        let end = Instant::now() + DRAIN;
        while Instant::now() < end {
            self.hear();
            // librdkafka's own thread sends heartbeats meanwhile.
            if let Some(generation) = self.generation.filter(|_| self.broker.answers(&self.member)) {
                self.answered = Instant::now();
                self.broker.heartbeat(&self.member, generation);
            }
            if self.num_in_hand() == 0 {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn num_in_hand(&self) -> usize {
        let intake = lock(&self.intake);
        intake.num_in_hand(&intake.assigned())
    }

    fn lose(&mut self) {
        let mut intake = lock(&self.intake);
        let assigned = intake.assigned();
        intake.lose(&assigned);
        drop(intake);
        (self.generation, self.has_asked) = (None, false);
        self.next.clear();
        self.stored.clear();
    }

    fn redeliver(&mut self) {
        if self.redelivered.elapsed() < REDELIVERY {
            return;
        }
        self.redelivered = Instant::now();
        let returned = lock(&self.intake).take_returned();
        returned.into_iter().for_each(|delivery| self.receiver.commands.do_send(CommandReceived(delivery)));
    }

    fn store_positions(&mut self) {
        for ((_, partition), offset) in lock(&self.intake).positions_to_store() {
            self.stored.insert(partition as usize, offset);
        }
        if self.committed.elapsed() >= COMMIT {
            self.committed = Instant::now();
            self.commit();
        }
    }

    fn commit(&mut self) {
        let Some(generation) = self.generation else { return };
        let intake = lock(&self.intake);
        for ((_, partition), offset) in intake.positions(&intake.assigned()) {
            self.stored.insert(partition as usize, offset);
        }
        drop(intake);
        let metadata = metadata_of(&self.topic_id);
        if self.broker.commit(&self.member, generation, &metadata, &self.stored) == GroupAnswer::Ok {
            self.stored.clear();
        }
    }

    fn fetch(&mut self) {
        let is_open = self.receiver.gate.is_open() && !self.is_stopping && self.broker.answers(&self.member);
        let partitions: Vec<usize> = self.next.keys().copied().collect();
        for number in partitions.into_iter().filter(|_| is_open) {
            if lock(&self.intake).num_held() >= MAX_HELD {
                return;
            }
            for record in self.broker.fetch(number, self.next[&number], FETCHED) {
                self.next.insert(number, record.offset + 1);
                let command = RawCommand {
                    topic: TOPIC.into(),
                    partition: number as i32,
                    offset: record.offset,
                    key: None,
                    payload: record.payload.into_bytes(),
                    timestamp_ms: Some(record.arrived_ms),
                    replay: None,
                };
                let taken = lock(&self.intake).take(command);
                match taken {
                    Taken::New(delivery) => self.receiver.commands.do_send(CommandReceived(delivery)),
                    Taken::Known => {}
                    Taken::BeforePosition(position) => {
                        let is_another = self.broker.topic_id() != self.topic_id;
                        assert!(is_another, "offset {} before {position}", record.offset);
                        return self.drop_log();
                    }
                }
            }
        }
    }

    fn close(&mut self) {
        self.hear();
        self.commit();
        self.lose();
        self.broker.leave(&self.member);
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
