// Upstream: many
// Downstream: actors, watermark
// Role: Tracks delivered and returned commands and commit positions by partition, independent of the Kafka client.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use actors::domain::RawCommand;
use actors::ports::{Assignment, Delivery, OldestCommand, PartitionState, Settlement, SettlementSink};

use crate::adapters::kafka::watermark::Watermark;

/// Topic and partition number.
pub type PartitionKey = (Arc<str>, i32);

/// Partitions for a text: `topic[0], topic[1]`, at most `max` of them and the number of the others.
pub fn names_of<'a>(keys: impl IntoIterator<Item = &'a PartitionKey>, max: usize) -> String {
    let names: Vec<String> = keys.into_iter().map(|(topic, partition)| format!("{topic}[{partition}]")).collect();
    let more = names.len().saturating_sub(max);
    let shown = names.get(..max).unwrap_or(&names).join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// An event for the consumer thread.
#[derive(Debug)]
pub enum FeedEvent {
    /// A delivery was settled.
    Settled {
        /// The assignment it belongs to. Settlements of an old assignment are ignored.
        generation: u64,
        /// The partition.
        partition: PartitionKey,
        /// The offset.
        offset: i64,
        /// The settlement.
        settlement: Settlement,
    },
    /// Stop taking new commands.
    StopIntake,
    /// Unsubscribe and subscribe: the worker has lost its share of the partitions.
    Rejoin,
    /// Drop the positions of this topic and replace the consumer: the topic was deleted and created again.
    TopicReplaced(Arc<str>),
    /// Replace the consumer, for this reason.
    Rebuild(String),
    /// Commit, leave the group and report the result through the channel.
    Close(tokio::sync::oneshot::Sender<Result<(), String>>),
}

/// A delivered, unresolved command.
#[derive(Debug)]
struct Out {
    command: Arc<RawCommand>,
    num_crashes: u32,
    taken_at: Instant,
    /// Whether it was returned and waits for its redelivery.
    returned: bool,
}

/// One assigned partition.
struct Partition {
    generation: u64,
    assignment: Assignment,
    sink: Arc<PartitionSink>,
    watermark: Watermark<Out>,
    stored: Option<i64>,
}

/// Receives the settlements of one assignment of one partition.
struct PartitionSink {
    generation: u64,
    events: Sender<FeedEvent>,
}

impl SettlementSink for PartitionSink {
    fn settled(&self, command: &RawCommand, settlement: Settlement) {
        let event = FeedEvent::Settled {
            generation: self.generation,
            partition: (command.topic.clone(), command.partition),
            offset: command.offset,
            settlement,
        };
        if self.events.send(event).is_err() {
            tracing::debug!(%command, "command settled after the feed was closed");
        }
    }
}

/// The outcome of [`Intake::take`].
#[derive(Debug)]
pub enum Taken {
    /// The command is new.
    New(Delivery),
    /// The command is already delivered, or its partition is not held.
    Known,
    /// The record lies before the position, which is contained: all before it is done, so this is another log.
    BeforePosition(i64),
}

#[cfg(test)]
impl Taken {
    /// The delivery of a new command.
    pub fn delivery(self) -> Option<Delivery> {
        match self {
            Self::New(delivery) => Some(delivery),
            Self::Known | Self::BeforePosition(_) => None,
        }
    }
}

/// All assigned partitions.
pub struct Intake {
    events: Sender<FeedEvent>,
    next_generation: u64,
    partitions: BTreeMap<PartitionKey, Partition>,
    num_returned: usize,
}

impl Intake {
    /// An intake without partitions. Settlements are sent to `events`.
    pub fn new(events: Sender<FeedEvent>) -> Self {
        Self { events, next_generation: 0, partitions: BTreeMap::new(), num_returned: 0 }
    }

    /// Adds a partition that was assigned to this member.
    pub fn assign(&mut self, key: PartitionKey) {
        self.next_generation += 1;
        let generation = self.next_generation;
        let partition = Partition {
            generation,
            assignment: Assignment::default(),
            sink: Arc::new(PartitionSink { generation, events: self.events.clone() }),
            watermark: Watermark::default(),
            stored: None,
        };
        self.partitions.insert(key, partition);
    }

    /// The assigned partitions.
    pub fn assigned(&self) -> Vec<PartitionKey> {
        self.partitions.keys().cloned().collect()
    }

    /// Number of delivered, unresolved commands of all partitions.
    pub fn num_unresolved(&self) -> usize {
        self.partitions.values().map(|partition| partition.watermark.num_unresolved()).sum()
    }

    /// Number of delivered commands at or after the positions of all partitions, resolved or not.
    pub fn num_held(&self) -> usize {
        self.partitions.values().map(|partition| partition.watermark.num_held()).sum()
    }

    /// The command that has been unresolved for the longest time. It holds the position of its partition.
    pub fn oldest(&self) -> Option<OldestCommand> {
        let firsts = self.partitions.values().filter_map(|partition| partition.watermark.unresolved_values().next());
        let oldest = firsts.min_by_key(|out| out.taken_at)?;
        Some(OldestCommand { command: oldest.command.clone(), age: oldest.taken_at.elapsed() })
    }

    /// Creates the delivery of a record.
    pub fn take(&mut self, command: RawCommand) -> Taken {
        let Some(partition) = self.partitions.get_mut(&(command.topic.clone(), command.partition)) else {
            return Taken::Known;
        };
        if !partition.assignment.is_held() {
            return Taken::Known;
        }
        if let Some(position) = partition.watermark.position()
            && command.offset < position
        {
            return Taken::BeforePosition(position);
        }
        let command = Arc::new(command);
        let out = Out { command: command.clone(), num_crashes: 0, taken_at: Instant::now(), returned: false };
        let is_new = partition.watermark.hand_out(command.offset, out);
        if !is_new {
            return Taken::Known;
        }
        Taken::New(Delivery::new(command, partition.assignment.clone(), 0, partition.sink.clone()))
    }

    /// Applies a settlement.
    pub fn settle(&mut self, generation: u64, key: &PartitionKey, offset: i64, settlement: Settlement) {
        let Some(partition) = self.partitions.get_mut(key).filter(|partition| partition.generation == generation)
        else {
            return;
        };
        match settlement {
            Settlement::Resolved => {
                partition.watermark.resolve(offset);
            }
            Settlement::Returned { suspect } => {
                if let Some(out) = partition.watermark.unresolved_mut(offset) {
                    out.num_crashes += u32::from(suspect);
                    out.returned = true;
                    self.num_returned += 1;
                }
            }
        }
    }

    /// Creates the redeliveries of returned commands. Commands of withdrawn partitions are left to the next owner.
    pub fn take_returned(&mut self) -> Vec<Delivery> {
        if self.num_returned == 0 {
            return Vec::new();
        }
        self.num_returned = 0;
        let mut again = Vec::new();
        for partition in self.partitions.values_mut().filter(|partition| partition.assignment.is_held()) {
            let Partition { watermark, assignment, sink, .. } = partition;
            for out in watermark.unresolved_values_mut() {
                if std::mem::take(&mut out.returned) {
                    let (command, sink) = (out.command.clone(), sink.clone());
                    again.push(Delivery::new(command, assignment.clone(), out.num_crashes, sink));
                }
            }
        }
        again
    }

    /// Changed positions to store for the next commit.
    pub fn positions_to_store(&mut self) -> Vec<(PartitionKey, i64)> {
        let moved = |(key, partition): (&PartitionKey, &mut Partition)| {
            let position = partition.watermark.position()?;
            (partition.stored.replace(position) != Some(position)).then(|| (key.clone(), position))
        };
        self.partitions.iter_mut().filter_map(moved).collect()
    }

    /// The positions of the given partitions that have one.
    pub fn positions(&self, keys: &[PartitionKey]) -> Vec<(PartitionKey, i64)> {
        keys.iter().filter_map(|key| Some((key.clone(), self.partitions.get(key)?.watermark.position()?))).collect()
    }

    /// The assigned partitions without broker data, ordered by topic and number.
    pub fn partitions(&self) -> Vec<PartitionState> {
        let state = |((topic, number), partition): (&PartitionKey, &Partition)| PartitionState {
            topic: topic.clone(),
            partition: *number,
            position: partition.watermark.position(),
            committed: None,
            end: None,
            lag: None,
            num_unresolved: partition.watermark.num_unresolved(),
        };
        let mut states: Vec<PartitionState> = self.partitions.iter().map(state).collect();
        states.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        states
    }

    /// Marks partitions as withdrawn: no new work of them starts.
    pub fn withdraw(&self, keys: &[PartitionKey]) {
        for partition in keys.iter().filter_map(|key| self.partitions.get(key)) {
            partition.assignment.withdraw();
        }
    }

    /// Number of commands of these partitions that are in process.
    pub fn num_in_hand(&self, keys: &[PartitionKey]) -> usize {
        let partitions = keys.iter().filter_map(|key| self.partitions.get(key));
        partitions.map(|partition| partition.watermark.unresolved_values().filter(|out| !out.returned).count()).sum()
    }

    /// Removes partitions that now belong to another member: nothing of them may be written any more.
    pub fn lose(&mut self, keys: &[PartitionKey]) {
        for key in keys {
            if let Some(partition) = self.partitions.remove(key) {
                partition.assignment.lose();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    fn key(partition: i32) -> PartitionKey {
        ("t".into(), partition)
    }

    fn record(partition: i32, offset: i64) -> RawCommand {
        RawCommand { topic: "t".into(), partition, offset, key: None, payload: vec![], timestamp_ms: None }
    }

    fn intake() -> (Intake, Receiver<FeedEvent>) {
        let (events, news) = channel();
        let mut intake = Intake::new(events);
        intake.assign(key(0));
        (intake, news)
    }

    fn hear(intake: &mut Intake, news: &Receiver<FeedEvent>) {
        while let Ok(FeedEvent::Settled { generation, partition, offset, settlement }) = news.try_recv() {
            intake.settle(generation, &partition, offset, settlement);
        }
    }

    #[test]
    fn redelivers_dropped_delivery_and_counts_crash() {
        let (mut intake, news) = intake();
        drop(intake.take(record(0, 5)).delivery().unwrap());
        hear(&mut intake, &news);
        let again = intake.take_returned().pop().unwrap();
        assert_eq!((again.command().offset, again.num_crashes()), (5, 0));
        assert!(intake.take_returned().is_empty(), "it is redelivered once");
        let crash = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _in_hand = again;
            panic!("a handler panics");
        }));
        assert!(crash.is_err());
        hear(&mut intake, &news);
        let again = intake.take_returned().pop().unwrap();
        assert_eq!(again.num_crashes(), 1);
        again.resolve();
        hear(&mut intake, &news);
        assert_eq!(intake.positions_to_store(), [(key(0), 6)]);
        assert_eq!(intake.positions_to_store(), [], "a position is stored once");
    }

    #[test]
    fn a_record_that_is_out_is_not_handed_out_twice() {
        let (mut intake, _news) = intake();
        let first = intake.take(record(0, 1)).delivery();
        assert!(first.is_some() && intake.take(record(0, 1)).delivery().is_none());
        assert!(intake.take(record(9, 1)).delivery().is_none(), "not our partition");
    }

    #[test]
    fn one_unresolved_command_holds_all_that_follow() {
        let (mut intake, news) = intake();
        let first = intake.take(record(0, 0)).delivery().unwrap();
        for offset in 1..=50 {
            intake.take(record(0, offset)).delivery().unwrap().resolve();
        }
        hear(&mut intake, &news);
        assert_eq!((intake.num_unresolved(), intake.num_held()), (1, 51));
        assert_eq!(intake.oldest().unwrap().command.offset, 0);
        first.resolve();
        hear(&mut intake, &news);
        assert_eq!((intake.num_held(), intake.oldest()), (0, None));
    }

    #[test]
    fn a_record_before_the_position_is_of_another_log() {
        let (mut intake, news) = intake();
        intake.take(record(0, 7)).delivery().unwrap().resolve();
        hear(&mut intake, &news);
        assert!(matches!(intake.take(record(0, 3)), Taken::BeforePosition(8)));
        intake.lose(&[key(0)]);
        intake.assign(key(0));
        assert!(intake.take(record(0, 3)).delivery().is_some(), "a new assignment has no position");
    }

    #[test]
    fn messages_of_an_old_assignment_change_nothing() {
        let (mut intake, news) = intake();
        let old = intake.take(record(0, 1)).delivery().unwrap();
        let assignment = old.assignment().clone();
        intake.lose(&[key(0)]);
        assert!(assignment.is_lost());
        intake.assign(key(0));
        let new = intake.take(record(0, 1)).delivery().unwrap();
        old.resolve();
        hear(&mut intake, &news);
        assert_eq!((intake.num_unresolved(), intake.positions_to_store()), (1, vec![]));
        drop(new);
    }

    #[test]
    fn revoked_partition_takes_no_returned_delivery() {
        let (mut intake, news) = intake();
        let delivery = intake.take(record(0, 1)).delivery().unwrap();
        intake.withdraw(&[key(0)]);
        assert_eq!(intake.num_in_hand(&[key(0)]), 1);
        assert!(intake.take(record(0, 2)).delivery().is_none(), "nothing new begins");
        drop(delivery);
        hear(&mut intake, &news);
        assert_eq!(intake.num_in_hand(&[key(0)]), 0);
        assert!(intake.take_returned().is_empty());
        assert_eq!(intake.positions(&[key(0)]), []);
    }
}
