// Upstream: consumer
// Downstream: actors, broker, data_worker
// Role: A client of the consumer group on the model of a broker, with the behaviour of librdkafka.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::{RawCommand, TraceIds};
use data_worker::adapters::kafka::group_client::{
    CommittedOffset, GroupClient, GroupClients, Polled, Position, StartAt,
};
use data_worker::adapters::kafka::intake::{PartitionKey, Waiting};
use data_worker::adapters::kafka::topic_ids::TopicIds;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::broker::{Broker, Commit, GroupAnswer, SESSION};

/// The topic's name.
pub const TOPIC: &str = "commands";

/// Interval of what the client does by itself.
const TICK: Duration = Duration::from_millis(50);
/// Interval of commits.
const COMMIT: Duration = Duration::from_secs(1);
/// Time until a question without an answer ends.
const ANSWER: Duration = Duration::from_secs(3);

/// Makes the clients of one worker.
pub struct SimulatedClients {
    /// The name of the member.
    pub member: String,
    /// Kafka.
    pub broker: Arc<Broker>,
}

impl GroupClients for SimulatedClients {
    type Client = SimulatedClient;

    fn create(&mut self) -> KafkaResult<SimulatedClient> {
        self.broker.hear(&self.member);
        let state = Rc::new(RefCell::new(State {
            member: self.member.clone(),
            broker: self.broker.clone(),
            is_subscribed: false,
            phase: Phase::Out { has_asked: false },
            generation: 0,
            is_lost: false,
            paused: BTreeSet::new(),
            event: None,
            next: BTreeMap::new(),
            last_read: 0,
            stored: BTreeMap::new(),
            answered: Instant::now(),
            committed: Instant::now(),
        }));
        let own = state.clone();
        let background = actix_rt::spawn(async move {
            loop {
                own.borrow_mut().tick();
                tokio::time::sleep(TICK).await;
            }
        });
        Ok(SimulatedClient { state, background })
    }
}

/// One client. Like librdkafka it keeps its membership and commits while nobody polls it.
pub struct SimulatedClient {
    state: Rc<RefCell<State>>,
    background: JoinHandle<()>,
}

impl Drop for SimulatedClient {
    fn drop(&mut self) {
        self.background.abort();
    }
}

/// The membership of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It has no partitions. Contains whether it has asked to join.
    Out { has_asked: bool },
    /// It has received an assignment that nobody has answered.
    Offered,
    /// It reads its partitions.
    Assigned,
    /// Its partitions are revoked, and nobody has given them up.
    Revoking,
}

struct State {
    member: String,
    broker: Arc<Broker>,
    is_subscribed: bool,
    phase: Phase,
    /// The generation of the last assignment.
    generation: u64,
    is_lost: bool,
    /// The partitions that are paused. Like librdkafka it keeps them over assignments.
    paused: BTreeSet<usize>,
    /// The rebalance for the next poll.
    event: Option<Polled>,
    /// The next offset to fetch, by partition; `None` until the committed one is known.
    next: BTreeMap<usize, Option<i64>>,
    /// The partition of the last record.
    last_read: usize,
    /// Positions for the next commit.
    stored: BTreeMap<usize, Commit>,
    /// When the broker answered last.
    answered: Instant,
    committed: Instant,
}

fn key(partition: usize) -> PartitionKey {
    (TOPIC.into(), partition as i32)
}

fn error(code: RDKafkaErrorCode) -> KafkaError {
    KafkaError::ConsumerCommit(code)
}

impl State {
    fn answers(&self) -> bool {
        self.broker.answers(&self.member)
    }

    /// Keeps the membership and commits stored positions.
    fn tick(&mut self) {
        if !self.answers() {
            if self.answered.elapsed() > SESSION {
                self.lose();
            }
            return;
        }
        self.answered = Instant::now();
        match self.phase {
            Phase::Out { .. } => self.join(),
            // A rebalance is seen again after the answer.
            Phase::Offered => drop(self.broker.heartbeat(&self.member, self.generation)),
            Phase::Assigned | Phase::Revoking => match self.broker.heartbeat(&self.member, self.generation) {
                GroupAnswer::Ok | GroupAnswer::Silent => {}
                GroupAnswer::Rebalancing => self.revoke(),
                GroupAnswer::Unknown => self.lose(),
            },
        }
        if self.committed.elapsed() >= COMMIT {
            self.commit_stored();
        }
    }

    fn join(&mut self) {
        let Phase::Out { has_asked } = &mut self.phase else { return };
        if !self.is_subscribed {
            return;
        }
        if !std::mem::replace(has_asked, true) {
            self.broker.join(&self.member);
        }
        let Some(assignment) = self.broker.assignment(&self.member) else { return };
        (self.generation, self.is_lost, self.phase) = (assignment.generation, false, Phase::Offered);
        self.next = assignment.partitions.iter().map(|number| (*number, None)).collect();
        self.event = Some(Polled::Assigned(self.keys()));
    }

    fn keys(&self) -> Vec<PartitionKey> {
        self.next.keys().map(|number| key(*number)).collect()
    }

    fn revoke(&mut self) {
        if self.phase == Phase::Assigned {
            self.phase = Phase::Revoking;
            self.event = Some(Polled::Revoked(self.keys()));
        }
    }

    fn lose(&mut self) {
        match self.phase {
            Phase::Out { .. } => self.phase = Phase::Out { has_asked: false },
            Phase::Offered => {}
            Phase::Assigned | Phase::Revoking => {
                self.is_lost = true;
                self.revoke();
            }
        }
    }

    /// The next record of the partitions in turn.
    fn read(&mut self) -> Option<RawCommand> {
        if self.phase != Phase::Assigned || !self.broker.delivers(&self.member) {
            return None;
        }
        let (before, after): (Vec<usize>, Vec<usize>) = self.next.keys().partition(|number| **number <= self.last_read);
        for number in after.into_iter().chain(before).filter(|number| !self.paused.contains(number)) {
            let committed = || self.broker.committed(number).map_or(0, |commit| commit.offset);
            let from = self.next.get(&number).copied().flatten().unwrap_or_else(committed);
            self.next.insert(number, Some(from));
            let Some(record) = self.broker.fetch(number, from) else { continue };
            self.next.insert(number, Some(record.offset + 1));
            self.last_read = number;
            return Some(RawCommand {
                topic: TOPIC.into(),
                partition: number as i32,
                offset: record.offset,
                key: None,
                payload: record.payload.into_bytes(),
                timestamp_ms: Some(record.arrived_ms),
                replay: None,
                trace: TraceIds::default(),
            });
        }
        None
    }

    fn store(&mut self, positions: &[Position]) {
        for Position { key: (_, number), offset, metadata } in positions {
            let commit = Commit { offset: *offset, metadata: metadata.clone() };
            self.stored.insert(*number as usize, commit);
        }
    }

    fn commit_stored(&mut self) -> GroupAnswer {
        self.committed = Instant::now();
        if self.stored.is_empty() {
            return GroupAnswer::Ok;
        }
        let answer = self.broker.commit(&self.member, self.generation, &self.stored);
        if answer == GroupAnswer::Ok {
            self.stored.clear();
        }
        answer
    }
}

impl SimulatedClient {
    /// Waits for an answer of the broker.
    async fn ask<T>(&self, question: impl FnOnce(&Broker) -> T) -> KafkaResult<T> {
        if !self.state.borrow().answers() {
            tokio::time::sleep(ANSWER).await;
        }
        let state = self.state.borrow();
        if state.answers() { Ok(question(&state.broker)) } else { Err(error(RDKafkaErrorCode::OperationTimedOut)) }
    }
}

impl GroupClient for SimulatedClient {
    async fn poll(&mut self, wait: Duration) -> Polled {
        let found = |state: &mut State| state.event.take().or_else(|| state.read().map(Polled::Record));
        let at_once = found(&mut self.state.borrow_mut());
        if let Some(found) = at_once {
            tokio::task::yield_now().await;
            return found;
        }
        tokio::time::sleep(wait).await;
        found(&mut self.state.borrow_mut()).unwrap_or(Polled::Nothing)
    }

    fn subscribe(&mut self, _topics: &[&str]) -> KafkaResult<()> {
        self.state.borrow_mut().is_subscribed = true;
        Ok(())
    }

    fn unsubscribe(&mut self) {
        let mut state = self.state.borrow_mut();
        state.is_subscribed = false;
        state.revoke();
    }

    fn assign(&mut self, starts: &[StartAt]) -> KafkaResult<()> {
        let mut state = self.state.borrow_mut();
        let start = |start: &StartAt| (start.key.1 as usize, start.is_beginning.then_some(0));
        state.next = starts.iter().map(start).collect();
        state.phase = Phase::Assigned;
        Ok(())
    }

    fn unassign(&mut self) -> KafkaResult<()> {
        let mut state = self.state.borrow_mut();
        (state.phase, state.is_lost) = (Phase::Out { has_asked: false }, false);
        state.next.clear();
        state.stored.clear();
        if !state.is_subscribed && state.answers() {
            state.broker.leave(&state.member);
        }
        Ok(())
    }

    fn is_assignment_lost(&self) -> bool {
        self.state.borrow().is_lost
    }

    fn pause(&mut self, pause: bool) -> KafkaResult<()> {
        let state = &mut *self.state.borrow_mut();
        for number in state.next.keys() {
            if pause {
                state.paused.insert(*number)
            } else {
                state.paused.remove(number)
            };
        }
        Ok(())
    }

    fn store(&mut self, positions: &[Position]) -> KafkaResult<()> {
        self.state.borrow_mut().store(positions);
        Ok(())
    }

    async fn commit(&mut self, positions: &[Position]) -> KafkaResult<()> {
        self.state.borrow_mut().store(positions);
        self.ask(|_| ()).await?;
        match self.state.borrow_mut().commit_stored() {
            GroupAnswer::Ok => Ok(()),
            GroupAnswer::Silent => Err(error(RDKafkaErrorCode::OperationTimedOut)),
            GroupAnswer::Rebalancing => Err(error(RDKafkaErrorCode::RebalanceInProgress)),
            GroupAnswer::Unknown => Err(error(RDKafkaErrorCode::IllegalGeneration)),
        }
    }

    async fn committed(&mut self, keys: &[PartitionKey]) -> KafkaResult<Vec<CommittedOffset>> {
        let committed = |broker: &Broker, key: &PartitionKey| {
            let commit = broker.committed(key.1 as usize);
            let offset = commit.as_ref().map(|commit| commit.offset);
            CommittedOffset { key: key.clone(), offset, metadata: commit.unwrap_or_default().metadata }
        };
        self.ask(|broker| keys.iter().map(|key| committed(broker, key)).collect()).await
    }

    async fn topic_ids(&mut self, topics: &[&str]) -> KafkaResult<TopicIds> {
        self.ask(|broker| topics.iter().map(|topic| ((*topic).into(), broker.topic_id())).collect()).await
    }

    async fn bounds(&mut self, key: &PartitionKey) -> KafkaResult<(i64, i64)> {
        self.ask(|broker| (0, broker.end(key.1 as usize))).await
    }

    async fn holds_more(&mut self, waiting: &[Waiting]) -> KafkaResult<bool> {
        let holds = |broker: &Broker, waiting: &Waiting| broker.fetch(waiting.key.1 as usize, waiting.next).is_some();
        self.ask(|broker| waiting.iter().any(|waiting| holds(broker, waiting))).await
    }

    async fn close(self) {
        let mut state = self.state.borrow_mut();
        state.commit_stored();
        if state.answers() {
            state.broker.leave(&state.member);
        }
    }
}
