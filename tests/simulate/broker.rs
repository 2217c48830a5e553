// Upstream: checks, client, cluster, consumer, outbox, run
// Downstream: data_worker
// Role: A model of a Kafka broker: the partitions of one topic, committed offsets, and one consumer group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use data_worker::adapters::kafka::log_identity::metadata_of;
use tokio::time::Instant;

/// Time without a sign of life after which the group expels a member.
pub const SESSION: Duration = Duration::from_secs(6);

/// Time after which the group no longer waits for members that have not joined again.
const REBALANCE: Duration = Duration::from_secs(30);

/// One record.
#[derive(Debug, Clone)]
pub struct Record {
    /// The offset. Offsets have gaps, as transactions and compaction leave them.
    pub offset: i64,
    /// The value.
    pub payload: String,
    /// When it arrived, in milliseconds since the start of the broker.
    pub arrived_ms: i64,
    /// Number of trading days that the vendor offered when it was sent.
    pub num_days: usize,
}

/// The answer to a heartbeat or a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupAnswer {
    /// The member has this assignment still.
    Ok,
    /// The group is being rebalanced: the member must give up its partitions and join again.
    Rebalancing,
    /// The group does not know this member or its generation.
    Unknown,
    /// The broker does not answer.
    Silent,
}

/// A committed offset.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// The offset.
    pub offset: i64,
    /// What the member added to it.
    pub metadata: String,
}

/// Partitions and a generation of the group.
#[derive(Debug, Clone)]
pub struct GroupAssignment {
    /// The generation.
    pub generation: u64,
    /// The partitions.
    pub partitions: Vec<usize>,
}

/// The broker.
pub struct Broker {
    state: Mutex<State>,
    num_days: AtomicUsize,
    born: Instant,
}

#[derive(Default)]
struct State {
    /// Number of times that the topic was deleted and created again.
    num_recreated: u64,
    logs: Vec<Vec<Record>>,
    committed: Vec<Option<Commit>>,
    members: BTreeMap<String, Member>,
    generation: u64,
    /// Begin of the rebalance that is under way.
    rebalancing: Option<Instant>,
    silent_until: Option<Instant>,
    /// Commands whose parts are in the topic.
    split: BTreeSet<String>,
    /// Members that cannot reach the broker until then.
    cut_off: BTreeMap<String, Instant>,
    /// Members whose client receives nothing more.
    deaf: BTreeSet<String>,
}

struct Member {
    heard: Instant,
    has_joined: bool,
    partitions: Vec<usize>,
}

impl Broker {
    /// A broker whose topic has this many partitions.
    pub fn new(partitions: usize) -> Self {
        let broker = Self { state: Mutex::default(), num_days: AtomicUsize::default(), born: Instant::now() };
        (0..partitions).for_each(|_| broker.add_partition());
        broker
    }

    /// Adds a partition and rebalances the group.
    pub fn add_partition(&self) {
        let mut state = self.lock();
        state.logs.push(Vec::new());
        state.committed.push(None);
        state.begin_rebalance();
    }

    /// Deletes the topic and creates it again: its records are gone, and the group's offsets stay.
    pub fn recreate(&self) {
        let mut state = self.lock();
        state.num_recreated += 1;
        state.logs.iter_mut().for_each(Vec::clear);
        state.split.clear();
    }

    /// The id of the topic.
    pub fn topic_id(&self) -> String {
        self.lock().topic_id()
    }

    /// The vendor offers this number of days from now on.
    pub fn note_days(&self, num_days: usize) {
        self.num_days.store(num_days, Ordering::Relaxed);
    }

    /// Appends a record after `gap` unused offsets.
    pub fn append(&self, partition: usize, payload: String, gap: i64) {
        let record = self.record(payload);
        self.lock().append(partition, record, gap);
    }

    /// Appends the parts of a command in one transaction, each with its partition, unless they are there already.
    pub fn append_once(&self, command: &str, parts: Vec<(usize, String)>) -> bool {
        let mut state = self.lock();
        let is_new = state.split.insert(command.to_owned());
        if is_new {
            // The marker of the transaction takes an offset before the next record.
            parts.into_iter().for_each(|(partition, part)| state.append(partition, self.record(part), 1));
        }
        is_new
    }

    /// A record that has no offset yet.
    fn record(&self, payload: String) -> Record {
        let arrived_ms = self.born.elapsed().as_millis() as i64;
        Record { offset: 0, payload, arrived_ms, num_days: self.num_days.load(Ordering::Relaxed) }
    }

    /// Does not answer for this time. Its own clocks stand still as well.
    pub fn fall_silent(&self, lasting: Duration) {
        let mut state = self.lock();
        state.silent_until = Some(Instant::now() + lasting);
        for member in state.members.values_mut() {
            member.heard += lasting;
        }
    }

    /// Makes the broker unreachable for one member.
    pub fn cut_off(&self, member: &str, lasting: Duration) {
        self.lock().cut_off.insert(member.to_owned(), Instant::now() + lasting);
    }

    /// Delivers nothing to this member's client any more, without a word.
    pub fn deafen(&self, member: &str) {
        self.lock().deaf.insert(member.to_owned());
    }

    /// A new client of this member receives records.
    pub fn hear(&self, member: &str) {
        self.lock().deaf.remove(member);
    }

    /// Whether this member's client receives records.
    pub fn delivers(&self, member: &str) -> bool {
        self.answers(member) && !self.lock().deaf.contains(member)
    }

    /// Ends all faults.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.silent_until = None;
        state.cut_off.clear();
    }

    /// Whether this member gets answers.
    pub fn answers(&self, member: &str) -> bool {
        let (state, now) = (self.lock(), Instant::now());
        let is_silent = state.silent_until.is_some_and(|until| now < until);
        !is_silent && state.cut_off.get(member).is_none_or(|until| now >= *until)
    }

    /// Asks to join, or to join again.
    pub fn join(&self, member: &str) {
        let mut state = self.lock();
        let joined = Member { heard: Instant::now(), has_joined: true, partitions: Vec::new() };
        state.members.insert(member.to_owned(), joined);
        state.begin_rebalance();
    }

    /// Leaves the group.
    pub fn leave(&self, member: &str) {
        let mut state = self.lock();
        if state.members.remove(member).is_some() {
            state.begin_rebalance();
        }
    }

    /// The assignment, once the group has one.
    pub fn assignment(&self, member: &str) -> Option<GroupAssignment> {
        let mut state = self.lock();
        state.advance();
        if state.rebalancing.is_some() {
            if let Some(member) = state.members.get_mut(member) {
                member.heard = Instant::now();
            }
            return None;
        }
        let generation = state.generation;
        let member = state.members.get_mut(member)?;
        member.heard = Instant::now();
        Some(GroupAssignment { generation, partitions: member.partitions.clone() })
    }

    /// Takes a sign of life.
    pub fn heartbeat(&self, member: &str, generation: u64) -> GroupAnswer {
        let mut state = self.lock();
        state.advance();
        let (current, is_rebalancing) = (state.generation, state.rebalancing.is_some());
        let Some(member) = state.members.get_mut(member) else { return GroupAnswer::Unknown };
        member.heard = Instant::now();
        match () {
            () if is_rebalancing => GroupAnswer::Rebalancing,
            () if current != generation => GroupAnswer::Unknown,
            () => GroupAnswer::Ok,
        }
    }

    /// Commits offsets, unless the member has lost its partitions.
    pub fn commit(&self, member: &str, generation: u64, positions: &BTreeMap<usize, Commit>) -> GroupAnswer {
        if !self.answers(member) {
            return GroupAnswer::Silent;
        }
        let mut state = self.lock();
        state.advance();
        if state.generation != generation || !state.members.contains_key(member) {
            return GroupAnswer::Unknown;
        }
        for (number, commit) in positions {
            state.committed[*number] = Some(commit.clone());
        }
        GroupAnswer::Ok
    }

    /// The committed offset of a partition, which may be of a topic that was deleted.
    pub fn committed(&self, partition: usize) -> Option<Commit> {
        self.lock().committed[partition].clone()
    }

    /// The offset after the last record of a partition.
    pub fn end(&self, partition: usize) -> i64 {
        end(&self.lock().logs[partition])
    }

    /// The next record of a partition from an offset on, or the first one if the log ends before the offset, as
    /// `auto.offset.reset` wants it.
    pub fn fetch(&self, partition: usize, from: i64) -> Option<Record> {
        let state = self.lock();
        let log = &state.logs[partition];
        let from = if from > end(log) { 0 } else { from };
        log.get(log.partition_point(|record| record.offset < from)).cloned()
    }

    /// Every partition's records and committed offset in them. An offset of a deleted topic is none.
    pub fn logs(&self) -> Vec<(Vec<Record>, Option<i64>)> {
        let state = self.lock();
        let metadata = metadata_of(&state.topic_id());
        let valid = |commit: &Option<Commit>| {
            commit.as_ref().filter(|commit| commit.metadata == metadata).map(|commit| commit.offset)
        };
        state.logs.iter().cloned().zip(state.committed.iter().map(valid)).collect()
    }

    /// Whether the group has done every record.
    pub fn is_done(&self) -> bool {
        let done = |(log, committed): (Vec<Record>, Option<i64>)| {
            log.last().is_none_or(|last| committed.is_some_and(|committed| committed > last.offset))
        };
        self.logs().into_iter().all(done)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The offset after the last record.
fn end(log: &[Record]) -> i64 {
    log.last().map_or(0, |last| last.offset + 1)
}

impl State {
    fn topic_id(&self) -> String {
        format!("topic {}", self.num_recreated)
    }

    fn append(&mut self, partition: usize, record: Record, gap: i64) {
        let partition = partition % self.logs.len();
        let Some(log) = self.logs.get_mut(partition) else { return };
        log.push(Record { offset: end(log) + gap, ..record });
    }

    fn begin_rebalance(&mut self) {
        self.rebalancing.get_or_insert_with(Instant::now);
    }

    /// Expels silent members and ends a rebalance whose members have all joined.
    fn advance(&mut self) {
        let now = Instant::now();
        if self.silent_until.is_some_and(|until| now < until) {
            return;
        }
        let before = self.members.len();
        self.members.retain(|_, member| now.duration_since(member.heard) <= SESSION);
        if self.members.len() < before {
            self.begin_rebalance();
        }
        let Some(since) = self.rebalancing else { return };
        if now.duration_since(since) > REBALANCE {
            self.members.retain(|_, member| member.has_joined);
        }
        if self.members.is_empty() || self.members.values().any(|member| !member.has_joined) {
            return;
        }
        self.rebalancing = None;
        self.generation += 1;
        let num_members = self.members.len();
        for (index, member) in self.members.values_mut().enumerate() {
            member.has_joined = false;
            member.partitions = (0..self.logs.len()).filter(|number| number % num_members == index).collect();
        }
    }
}
