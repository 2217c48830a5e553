// Upstream: many
// Downstream: actors, group_client, intake, log_identity, topic_ids
// Role: State that the consumer's loop shares with the feed and the watches.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actors::ports::{CommandReceiver, LogBroken, PartitionState};

use crate::adapters::kafka::group_client::Position;
use crate::adapters::kafka::intake::{Intake, PartitionKey, Waiting};
use crate::adapters::kafka::log_identity::metadata_of;
use crate::adapters::kafka::topic_ids::TopicIds;

/// Offsets of a partition on the broker.
#[derive(Debug, Clone, Copy)]
pub struct BrokerOffsets {
    /// The offset of the first record.
    pub first: i64,
    /// The offset of the next record to arrive.
    pub next: i64,
    /// The committed offset of the group, if any.
    pub committed: Option<i64>,
}

/// State of one feed. It survives a rebuild of the consumer. The loop holds no lock while it waits.
pub struct FeedShared {
    /// Commands in process, by partition.
    pub intake: Mutex<Intake>,
    /// The ids of the assigned topics, at the time of the assignment.
    pub topic_ids: Mutex<TopicIds>,
    /// Whether consumption is paused.
    pub is_paused: AtomicBool,
    /// The last error of a poll that no record has followed.
    pub poll_error: Mutex<Option<String>>,
    /// Offsets on the broker by partition, from the client's statistics.
    pub broker_offsets: Mutex<HashMap<PartitionKey, BrokerOffsets>>,
    receiver: CommandReceiver,
}

impl FeedShared {
    /// The state of a feed without partitions.
    pub fn new(intake: Intake, receiver: CommandReceiver) -> Self {
        Self {
            intake: Mutex::new(intake),
            topic_ids: Mutex::default(),
            is_paused: AtomicBool::new(false),
            poll_error: Mutex::default(),
            broker_offsets: Mutex::default(),
            receiver,
        }
    }

    /// The receiver of the commands.
    pub fn receiver(&self) -> &CommandReceiver {
        &self.receiver
    }

    /// The assigned partitions that hold more than was delivered, as far as the statistics say: it may be nothing that
    /// a consumer receives.
    pub fn behind(&self) -> Vec<Waiting> {
        let mut waiting = lock(&self.intake).waiting();
        let on_broker = lock(&self.broker_offsets);
        waiting.retain(|waiting| on_broker.get(&waiting.key).is_none_or(|offsets| offsets.next > waiting.next));
        waiting
    }

    /// Positions to commit. Each carries the id of its topic, because it is a position in this log alone.
    pub fn positions_in_logs(&self, offsets: Vec<(PartitionKey, i64)>) -> Vec<Position> {
        let topic_ids = lock(&self.topic_ids);
        let position = |(key, offset): (PartitionKey, i64)| {
            let metadata = topic_ids.get(&key.0).map(|id| metadata_of(id)).unwrap_or_default();
            Position { key, offset, metadata }
        };
        offsets.into_iter().map(position).collect()
    }

    /// The topics that were deleted and created again since their assignment, given their ids now; each once for each
    /// id, which `reported` keeps. The old id stays with the partitions: until they are given up, their positions are
    /// committed as positions in the old log.
    pub fn replaced_topics(&self, current: &TopicIds, reported: &mut TopicIds) -> Vec<Arc<str>> {
        let mut replaced = Vec::new();
        for (topic, id) in lock(&self.topic_ids).iter() {
            let is_replaced = current.get(topic).is_some_and(|current| current != id);
            if is_replaced && reported.get(topic) != Some(id) {
                reported.insert(topic.clone(), id.clone());
                replaced.push(topic.clone());
            }
        }
        replaced
    }

    /// Reports that commands were lost, or that a position was dropped.
    pub fn report_break(&self, reason: String) {
        tracing::error!(reason, "the log of a command topic is not the one that was read");
        self.receiver.breaks.do_send(LogBroken { reason });
    }

    /// The assigned partitions, ordered by topic and number.
    pub fn partitions(&self) -> Vec<PartitionState> {
        let mut partitions = lock(&self.intake).partitions();
        let on_broker = lock(&self.broker_offsets);
        for partition in &mut partitions {
            let Some(offsets) = on_broker.get(&(partition.topic.clone(), partition.partition)) else { continue };
            let done = partition.position.or(offsets.committed).unwrap_or(offsets.first);
            partition.committed = offsets.committed;
            partition.end = Some(offsets.next);
            partition.lag = Some(u64::try_from(offsets.next - done).unwrap_or(0));
        }
        partitions
    }
}

/// Ignores lock poisoning: a panic while the lock is held ends the thread anyway.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
