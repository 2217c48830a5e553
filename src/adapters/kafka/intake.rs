// Upstream: many
// Downstream: actors, watermark
// Role: Tracks delivered and returned commands and commit positions by partition, independent of the Kafka client.

use std::collections::BTreeMap;
use std::sync::Arc;

use actors::domain::RawCommand;
use actors::ports::{Assignment, Delivery, OldestCommand, PartitionState, Settlement, SettlementSink};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

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

/// An event for the consumer's loop.
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

/// Where the reading of an assigned partition begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// At this offset.
    Offset(i64),
    /// At the first record that the partition holds.
    Beginning,
    /// The broker did not answer, and the client asks it again.
    Unknown,
}

/// A partition that may hold more than was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// The partition.
    pub key: PartitionKey,
    /// Its assignment.
    pub generation: u64,
    /// The offset after the last delivered one.
    pub next: i64,
}

/// Offsets of a partition that were passed over: there was no record, or retention has deleted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The partition.
    pub key: PartitionKey,
    /// The first offset that was passed over.
    pub from: i64,
    /// The offset of the record that arrived.
    pub to: i64,
}

/// Maximum number of gaps that are kept until they are judged. Further ones extend the last: their bounds are then
/// coarser. A topic that is compacted has one before each record.
pub const MAX_GAPS: usize = 16;

/// One assigned partition.
struct Partition {
    generation: u64,
    start: ReadFrom,
    gaps: Vec<(i64, i64)>,
    assignment: Assignment,
    sink: Arc<PartitionSink>,
    watermark: Watermark<Out>,
    stored: Option<i64>,
}

impl Partition {
    /// The offset of the next record, if there is one for each offset. `None` if it is not known.
    fn expected(&self) -> Option<i64> {
        let start = if let ReadFrom::Offset(start) = self.start { Some(start) } else { None };
        self.watermark.next().or(start)
    }

    /// An offset before which all that is there was delivered.
    fn next(&self) -> Option<i64> {
        self.expected().or_else(|| (self.start == ReadFrom::Beginning).then_some(0))
    }

    fn note_gap(&mut self, offset: i64) {
        let Some(from) = self.expected().filter(|expected| *expected < offset) else { return };
        let is_full = self.gaps.len() == MAX_GAPS;
        match self.gaps.last_mut().filter(|_| is_full) {
            Some(last) => last.1 = offset,
            None => self.gaps.push((from, offset)),
        }
    }
}

/// Receives the settlements of one assignment of one partition.
struct PartitionSink {
    generation: u64,
    events: UnboundedSender<FeedEvent>,
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
    events: UnboundedSender<FeedEvent>,
    next_generation: u64,
    partitions: BTreeMap<PartitionKey, Partition>,
    num_returned: usize,
}

impl Intake {
    /// An intake without partitions. Settlements are sent to `events`.
    pub fn new(events: UnboundedSender<FeedEvent>) -> Self {
        Self { events, next_generation: 0, partitions: BTreeMap::new(), num_returned: 0 }
    }

    /// Adds a partition that was assigned to this member.
    pub fn assign(&mut self, key: PartitionKey, start: ReadFrom) {
        self.next_generation += 1;
        let generation = self.next_generation;
        let partition = Partition {
            generation,
            start,
            gaps: Vec::new(),
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
        partition.note_gap(command.offset);
        let command = Arc::new(command);
        let out = Out { command: command.clone(), num_crashes: 0, taken_at: Instant::now(), returned: false };
        let is_new = partition.watermark.hand_out(command.offset, out);
        if !is_new {
            return Taken::Known;
        }
        Taken::New(Delivery::new(command, partition.assignment.clone(), 0, partition.sink.clone()))
    }

    /// The partitions that are held, each with the offset after the last delivered one.
    pub fn waiting(&self) -> Vec<Waiting> {
        let held = self.partitions.iter().filter(|(_, partition)| partition.assignment.is_held());
        let waiting = held.filter_map(|(key, partition)| {
            Some(Waiting { key: key.clone(), generation: partition.generation, next: partition.next()? })
        });
        waiting.collect()
    }

    /// Passes over the end of a partition, given that no record lies between the last delivered one and `end`: else
    /// these offsets would count as unread for ever. Does nothing while commands are held or if the partition has moved
    /// on.
    pub fn pass_tail(&mut self, tail: &Waiting, end: i64) -> bool {
        let Some(partition) = self.partitions.get_mut(&tail.key) else { return false };
        let is_the_same = partition.generation == tail.generation && partition.next() == Some(tail.next);
        is_the_same && tail.next < end && partition.watermark.pass_to(end)
    }

    /// The gaps since the last call.
    pub fn take_gaps(&mut self) -> Vec<Gap> {
        let taken = self.partitions.iter_mut().flat_map(|(key, partition)| {
            let gaps = std::mem::take(&mut partition.gaps);
            gaps.into_iter().map(|(from, to)| Gap { key: key.clone(), from, to })
        });
        taken.collect()
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
