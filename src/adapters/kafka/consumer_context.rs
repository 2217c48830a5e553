// Upstream: many
// Downstream: actors, intake, log_identity, topic_ids
// Role: Callbacks of librdkafka on the consumer thread: rebalances, statistics and log lines.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use actors::ports::{CommandReceiver, LogBroken, PartitionState, PartitionsWithdrawn};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Offset, TopicPartitionList};

use crate::adapters::kafka::intake::{FeedEvent, Intake, PartitionKey, ReadFrom, Waiting, names_of};
use crate::adapters::kafka::log_identity::{Committed, Log, Start, metadata_of, start};
use crate::adapters::kafka::topic_ids::{TopicIds, topic_ids};

/// Timeout of each question during a rebalance, far below the time in which the group expects its end.
const BROKER_ANSWER: Duration = Duration::from_secs(3);

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
    /// The ids of the assigned topics, at the time of the assignment.
    pub topic_ids: Mutex<TopicIds>,
    /// Where the reading of the assigned partitions begins.
    starts: Mutex<HashMap<PartitionKey, ReadFrom>>,
    /// Whether consumption is paused.
    pub is_paused: AtomicBool,
    /// The last error of a poll that no record has followed.
    pub poll_error: Mutex<Option<String>>,
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
            topic_ids: Mutex::default(),
            starts: Mutex::default(),
            is_paused: AtomicBool::new(false),
            poll_error: Mutex::default(),
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

    /// The assigned partitions that hold more than was delivered, as far as the statistics say: it may be nothing that
    /// a consumer receives.
    pub fn behind(&self) -> Vec<Waiting> {
        let mut waiting = lock(&self.intake).waiting();
        let on_broker = lock(&self.broker_offsets);
        waiting.retain(|waiting| on_broker.get(&waiting.key).is_none_or(|offsets| offsets.next > waiting.next));
        waiting
    }

    /// Commits the resolved offsets of these partitions and waits for the acknowledgement. They are stored first: a
    /// consumer that is closed commits its stored offsets once more, and an older one would take the commit back.
    pub fn commit(&self, consumer: &BaseConsumer<FeedContext>, keys: &[PartitionKey]) -> Result<(), KafkaError> {
        let positions = self.partition_list(&lock(&self.intake).positions(keys))?;
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

    /// Converts positions for librdkafka. Each carries the id of its topic, because it is a position in this log alone.
    pub fn partition_list(&self, positions: &[(PartitionKey, i64)]) -> Result<TopicPartitionList, KafkaError> {
        let topic_ids = lock(&self.topic_ids);
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for ((topic, partition), offset) in positions {
            let mut element = list.add_partition(topic, *partition);
            element.set_offset(Offset::Offset(*offset))?;
            if let Some(id) = topic_ids.get(topic) {
                element.set_metadata(metadata_of(id));
            }
        }
        Ok(list)
    }

    /// Sets the start of each partition whose committed offset belongs to another log. A question that the broker does
    /// not answer changes nothing.
    fn set_starts(&self, consumer: &BaseConsumer<FeedContext>, list: &mut TopicPartitionList) {
        let keys = keys_of(list);
        let topics: BTreeSet<&str> = keys.iter().map(|(topic, _)| topic.as_ref()).collect();
        let topics: Vec<&str> = topics.into_iter().collect();
        let ids = topic_ids(consumer.client(), &topics, BROKER_ANSWER).unwrap_or_else(|error| {
            tracing::debug!(%error, "the broker reports no topic ids");
            TopicIds::new()
        });
        let mut starts = HashMap::new();
        match consumer.committed_offsets(list.clone(), BROKER_ANSWER) {
            Ok(committed) => starts = self.compare_logs(consumer, &committed, &ids, list),
            Err(error) => tracing::warn!(%error, "cannot compare the committed offsets with the topics"),
        }
        *lock(&self.starts) = starts;
        *lock(&self.topic_ids) = ids;
    }

    fn compare_logs(
        &self,
        consumer: &BaseConsumer<FeedContext>,
        committed: &TopicPartitionList,
        ids: &TopicIds,
        list: &mut TopicPartitionList,
    ) -> HashMap<PartitionKey, ReadFrom> {
        let mut starts = HashMap::new();
        let mut is_answered = true;
        for element in committed.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            if element.error().is_err() {
                continue; // the start is not known
            }
            let start_at = starts.entry((topic.into(), partition)).or_insert(ReadFrom::Beginning);
            let Offset::Offset(offset) = element.offset() else { continue };
            *start_at = ReadFrom::Offset(offset);
            // After one question without an answer the others are not asked: each would hold up the rebalance.
            let ask = || consumer.fetch_watermarks(topic, partition, BROKER_ANSWER).ok();
            let bounds = is_answered.then(ask).flatten();
            is_answered = bounds.is_some();
            let log = Log { topic_id: ids.get(topic).map(String::as_str), bounds };
            let reason = match start(Committed { offset, metadata: element.metadata() }, log) {
                Start::Committed => continue,
                Start::AfterLoss(reason) => {
                    *start_at = ReadFrom::Offset(bounds.map_or(offset, |(first, _)| first));
                    reason
                }
                Start::Beginning(reason) => {
                    *start_at = ReadFrom::Beginning;
                    if let Err(error) = list.set_partition_offset(topic, partition, Offset::Beginning) {
                        tracing::error!(%error, topic, partition, "cannot read from the beginning");
                    }
                    format!("{reason}; reading from the beginning")
                }
            };
            self.report_break(format!("{topic}[{partition}]: {reason}"));
        }
        starts
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

    fn revoke(&self, consumer: &BaseConsumer<FeedContext>, keys: &[PartitionKey]) {
        let unresolved = lock(&self.intake).num_unresolved();
        tracing::info!(partitions = names_of(keys, usize::MAX), unresolved, "partitions revoked");
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
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let is_assignment = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if is_assignment && list.count() > 0 {
            self.0.set_starts(consumer, list);
        }
        let rebalance = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(list),
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => Rebalance::Revoke(list),
            other => Rebalance::Error(KafkaError::Rebalance(other.into())),
        };
        self.pre_rebalance(consumer, &rebalance);
        // Eager assignment: each one is whole.
        let outcome = if is_assignment { consumer.assign(list) } else { consumer.unassign() };
        if let Err(error) = outcome {
            tracing::error!(%error, is_assignment, "cannot change the assignment");
        }
        self.post_rebalance(consumer, &rebalance);
    }

    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.0.revoke(consumer, &keys_of(partitions));
        }
    }

    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        match rebalance {
            Rebalance::Assign(partitions) => {
                let keys = keys_of(partitions);
                tracing::info!(partitions = names_of(&keys, usize::MAX), "partitions assigned");
                let starts = std::mem::take(&mut *lock(&self.0.starts));
                let mut intake = lock(&self.0.intake);
                for key in keys {
                    let start = starts.get(&key).copied().unwrap_or(ReadFrom::Unknown);
                    intake.assign(key, start);
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

/// Ignores lock poisoning: a panic while the lock is held ends the thread anyway.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
