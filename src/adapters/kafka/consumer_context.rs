// Upstream: consumer_thread, feed
// Downstream: actors, intake
// Role: What librdkafka calls back: rebalances, statistics, its own log lines. Runs on the thread that polls.

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

/// What the broker has of a partition.
#[derive(Debug, Clone, Copy)]
pub struct BrokerOffsets {
    /// The first record's offset.
    first: i64,
    /// The offset of the next record to come.
    next: i64,
    /// What the group has committed, if anything.
    committed: Option<i64>,
}

/// What the poll loop and the callbacks share; outlives a consumer that is rebuilt. The loop holds no lock while it polls.
pub struct FeedShared {
    /// What is out.
    pub intake: Mutex<Intake>,
    /// News from other threads.
    pub events: Mutex<Receiver<FeedEvent>>,
    /// News that arrived in a callback and is the loop's to act on.
    pub deferred: Mutex<Vec<FeedEvent>>,
    /// Whether the group has answered at least once.
    pub joined: AtomicBool,
    /// Set by a rebalance: what was paused is not any more.
    pub resumed_by_rebalance: AtomicBool,
    /// What the broker has of each partition, by librdkafka's own statistics.
    pub broker_offsets: Mutex<HashMap<PartitionKey, BrokerOffsets>>,
    receiver: CommandReceiver,
    drain: Duration,
}

impl FeedShared {
    /// For one feed.
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

    /// Where commands go.
    pub fn receiver(&self) -> &CommandReceiver {
        &self.receiver
    }

    /// Takes all news without waiting.
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

    /// Begins nothing new of these partitions and waits until nothing of them is in hand, at most `deadline`.
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
                tracing::warn!(num_in_hand, "commands were not finished in time; another worker does them again");
                return;
            }
            let news = lock(&self.events).recv_timeout(left);
            match news {
                Ok(event) => self.take_event(event),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
        }
    }

    /// Records of the assigned partitions that the group has not committed. Asks the broker, at most `deadline`.
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
                _ => *first, // nothing is committed yet
            };
            Some((next - done).max(0))
        });
        Ok(behind.sum())
    }

    /// Commits what is resolved of these partitions, and waits for the broker's answer.
    pub fn commit(&self, consumer: &BaseConsumer<FeedContext>, keys: &[PartitionKey]) -> Result<(), KafkaError> {
        let positions = partition_list(&lock(&self.intake).positions(keys))?;
        match consumer.commit(&positions, CommitMode::Sync) {
            // Everything was committed before.
            Err(KafkaError::ConsumerCommit(rdkafka::types::RDKafkaErrorCode::NoOffset)) => Ok(()),
            outcome => outcome,
        }
    }

    /// The assigned partitions, by topic and number.
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
        tracing::info!(partitions = ?keys, unresolved = lock(&self.intake).num_unresolved(), "partitions go");
        if consumer.assignment_lost() {
            tracing::warn!("the assignment is lost already: nothing is committed, begun work is thrown away");
        } else {
            self.drain(keys, self.drain);
            if let Err(error) = self.commit(consumer, keys) {
                tracing::warn!(%error, "resolved offsets are not committed; they will be handed out again");
            }
        }
        lock(&self.intake).lose(keys);
    }
}

/// What one consumer calls back.
pub struct FeedContext(pub Arc<FeedShared>);

impl ClientContext for FeedContext {
    fn stats(&self, statistics: Statistics) {
        let mut on_broker = lock(&self.0.broker_offsets);
        on_broker.clear();
        for topic in statistics.topics.values() {
            let known = topic.partitions.values().filter(|partition| partition.hi_offset >= 0);
            on_broker.extend(known.map(|partition| {
                let key = (topic.topic.as_str().into(), partition.partition);
                // Negative numbers stand for "none" and "not known".
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
        // Every broker that is down says so every few seconds; the poll loop reports what matters.
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
                tracing::info!(partitions = ?keys, "partitions come");
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

/// Partitions as our keys.
fn keys_of(partitions: &TopicPartitionList) -> Vec<PartitionKey> {
    // `elements()` of an empty list is undefined in librdkafka's binding.
    if partitions.count() == 0 {
        return Vec::new();
    }
    partitions.elements().iter().map(|element| (element.topic().into(), element.partition())).collect()
}

/// Our positions as librdkafka's list.
pub fn partition_list(positions: &[(PartitionKey, i64)]) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for ((topic, partition), offset) in positions {
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}

/// A panic while the lock was held is the thread's end anyway.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
