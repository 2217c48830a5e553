// Upstream: consumer_tests, consumer_thread, feed, membership_watch
// Downstream: actors, intake
// Role: Callbacks of librdkafka on the consumer thread: rebalances, statistics and log lines.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actors::ports::{CommandReceiver, PartitionState, PartitionsWithdrawn};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::adapters::kafka::intake::{FeedEvent, Intake, PartitionKey};

/// Offsets of a partition on the broker.
#[derive(Debug, Clone, Copy)]
pub struct BrokerOffsets {
    /// The offset of the first record.
    first: i64,
    /// The offset of the next record to arrive.
    next: i64,
    /// The committed offset of the group, if any.
    committed: Option<i64>,
}

/// State shared by the poll loop and the callbacks. It survives a rebuild of the consumer. The loop holds no lock while
/// it polls.
pub struct FeedShared {
    /// Commands in process, by partition.
    pub intake: Mutex<Intake>,
    /// Events from other threads.
    pub events: Mutex<Receiver<FeedEvent>>,
    /// Events received in a callback that the poll loop must handle.
    pub deferred: Mutex<Vec<FeedEvent>>,
    /// Whether the group has sent at least one assignment.
    pub joined: AtomicBool,
    /// Set by a rebalance, which resumes paused partitions.
    pub resumed_by_rebalance: AtomicBool,
    /// Offsets on the broker by partition, from librdkafka's statistics.
    pub broker_offsets: Mutex<HashMap<PartitionKey, BrokerOffsets>>,
    receiver: CommandReceiver,
    drain: Duration,
}

impl FeedShared {
    /// The shared state of one feed.
    pub fn new(intake: Intake, events: Receiver<FeedEvent>, receiver: CommandReceiver, drain: Duration) -> Self {
        Self {
            intake: Mutex::new(intake),
            events: Mutex::new(events),
            deferred: Mutex::default(),
            joined: AtomicBool::new(false),
            resumed_by_rebalance: AtomicBool::new(false),
            broker_offsets: Mutex::default(),
            receiver,
            drain,
        }
    }

    /// The receiver of the commands.
    pub fn receiver(&self) -> &CommandReceiver {
        &self.receiver
    }

    /// Handles all pending events without waiting.
    pub fn hear(&self) {
        while let Ok(event) = lock(&self.events).try_recv() {
            self.take_event(event);
        }
    }

    fn take_event(&self, event: FeedEvent) {
        match event {
            FeedEvent::Settled { generation, partition, offset, settlement } => {
                lock(&self.intake).settle(generation, &partition, offset, settlement);
            }
            other => lock(&self.deferred).push(other),
        }
    }

    /// Stops new work of these partitions and waits, at most `deadline`, until no command of them is in process.
    pub fn drain(&self, keys: &[PartitionKey], deadline: Duration) {
        lock(&self.intake).withdraw(keys);
        self.receiver.withdrawals.do_send(PartitionsWithdrawn);
        let end = Instant::now() + deadline;
        loop {
            let num_in_hand = lock(&self.intake).num_in_hand(keys);
            let left = end.saturating_duration_since(Instant::now());
            if num_in_hand == 0 {
                return;
            }
            if left.is_zero() {
                tracing::warn!(num_in_hand, "commands did not finish in time; another worker will repeat them");
                return;
            }
            let news = lock(&self.events).recv_timeout(left);
            match news {
                Ok(event) => self.take_event(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    /// Number of records in the assigned partitions that the group has not committed. Waits at most `deadline` for the
    /// broker.
    pub fn num_behind(&self, consumer: &BaseConsumer<FeedContext>, deadline: Duration) -> Result<i64, KafkaError> {
        let assigned = lock(&self.intake).assigned();
        let mut list = TopicPartitionList::with_capacity(assigned.len());
        for (topic, partition) in &assigned {
            list.add_partition(topic, *partition);
        }
        if assigned.is_empty() {
            return Ok(0);
        }
        let committed = consumer.committed_offsets(list, deadline)?;
        let on_broker = lock(&self.broker_offsets);
        let behind = committed.elements().into_iter().filter_map(|element| {
            let BrokerOffsets { first, next, .. } = on_broker.get(&(element.topic().into(), element.partition()))?;
            let done = match element.offset() {
                Offset::Offset(offset) => offset,
                _ => *first, // no commit yet
            };
            Some((next - done).max(0))
        });
        Ok(behind.sum())
    }

    /// Commits the resolved offsets of these partitions and waits for the acknowledgement. They are stored first: a
    /// consumer that is closed commits its stored offsets once more, and an older one would take the commit back.
    pub fn commit(&self, consumer: &BaseConsumer<FeedContext>, keys: &[PartitionKey]) -> Result<(), KafkaError> {
        let positions = partition_list(&lock(&self.intake).positions(keys))?;
        if positions.count() > 0
            && let Err(error) = consumer.store_offsets(&positions)
        {
            tracing::warn!(%error, "cannot store resolved offsets before their commit");
        }
        match consumer.commit(&positions, CommitMode::Sync) {
            // Everything is already committed.
            Err(KafkaError::ConsumerCommit(rdkafka::types::RDKafkaErrorCode::NoOffset)) => Ok(()),
            outcome => outcome,
        }
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

    fn revoke(&self, consumer: &BaseConsumer<FeedContext>, keys: &[PartitionKey]) {
        let unresolved = lock(&self.intake).num_unresolved();
        tracing::info!(partitions = names_of(keys), unresolved, "partitions revoked");
        if consumer.assignment_lost() {
            tracing::warn!("the assignment is already lost: nothing is committed, and unfinished work is discarded");
        } else {
            self.drain(keys, self.drain);
            if let Err(error) = self.commit(consumer, keys) {
                tracing::warn!(%error, "cannot commit resolved offsets; their commands will be redelivered");
            }
        }
        lock(&self.intake).lose(keys);
    }
}

/// The callbacks of one consumer.
pub struct FeedContext(pub Arc<FeedShared>);

impl ClientContext for FeedContext {
    fn stats(&self, statistics: Statistics) {
        let mut on_broker = lock(&self.0.broker_offsets);
        on_broker.clear();
        for topic in statistics.topics.values() {
            let known = topic.partitions.values().filter(|partition| partition.hi_offset >= 0);
            on_broker.extend(known.map(|partition| {
                let key = (topic.topic.as_str().into(), partition.partition);
                // Negative numbers mean "none" or "unknown".
                let committed = Some(partition.committed_offset).filter(|offset| *offset >= 0);
                (key, BrokerOffsets { first: partition.lo_offset.max(0), next: partition.hi_offset, committed })
            }));
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Emerg, Error, Info, Notice, Warning};
        match level {
            Emerg | Alert | Critical | Error | Warning => tracing::warn!(facility, message, "librdkafka"),
            Notice | Info => tracing::debug!(facility, message, "librdkafka"),
            RDKafkaLogLevel::Debug => tracing::trace!(facility, message, "librdkafka"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        // Every broker that is down causes an error every few seconds. The poll loop reports the relevant ones.
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for FeedContext {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.0.revoke(consumer, &keys_of(partitions));
        }
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                let keys = keys_of(partitions);
                tracing::info!(partitions = names_of(&keys), "partitions assigned");
                let mut intake = lock(&self.0.intake);
                for key in keys {
                    intake.assign(key);
                }
                self.0.resumed_by_rebalance.store(true, Ordering::Release);
                self.0.joined.store(true, Ordering::Release);
            }
            Rebalance::Revoke(_) => {}
            Rebalance::Error(error) => tracing::warn!(%error, "rebalance failed"),
        }
    }
}

/// Converts partitions from librdkafka.
fn keys_of(partitions: &TopicPartitionList) -> Vec<PartitionKey> {
    // `elements()` of an empty list is undefined behaviour in rdkafka.
    if partitions.count() == 0 {
        return Vec::new();
    }
    partitions.elements().iter().map(|element| (element.topic().into(), element.partition())).collect()
}

/// Partitions for a log line: `topic[0], topic[1]`.
fn names_of(keys: &[PartitionKey]) -> String {
    keys.iter().map(|(topic, partition)| format!("{topic}[{partition}]")).collect::<Vec<_>>().join(", ")
}

/// Converts positions for librdkafka.
pub fn partition_list(positions: &[(PartitionKey, i64)]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for ((topic, partition), offset) in positions {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}

/// Ignores lock poisoning: a panic while the lock is held ends the thread anyway.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
