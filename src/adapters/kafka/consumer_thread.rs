// Upstream: consumer_tests, feed, membership_watch
// Downstream: many
// Role: The consumer thread: polls, delivers commands, stores resolved offsets, pauses, redelivers and rebuilds.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use actors::domain::RawCommand;
use actors::ports::{CommandReceived, Delivery, PartitionsWithdrawn};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};

use crate::adapters::kafka::consumer_context::{FeedContext, FeedShared, lock};
use crate::adapters::kafka::dead_letters::headers;
use crate::adapters::kafka::intake::{FeedEvent, Intake, PartitionKey, Taken};
use crate::adapters::kafka::log_probe::{Following, LogProbe};
use crate::adapters::kafka::watchdog::Watchdog;
use crate::config::KafkaSection;

/// Maximum wait for a record, and so the maximum delay of a pause, a redelivery or a stop.
const POLL: Duration = Duration::from_millis(20);

/// Delay before returned commands are redelivered: the actor that returned them may be restarting.
const REDELIVERY_PAUSE: Duration = Duration::from_millis(100);

/// Delay before a failed consumer is rebuilt. It gives the broker time and limits log output.
const REBUILD_PAUSE: Duration = Duration::from_secs(2);

/// Timeout of a broker request between two polls: far below the session timeout.
const BROKER_ANSWER: Duration = Duration::from_secs(3);

/// Figures that other threads read.
#[derive(Debug)]
pub struct FeedFigures {
    born: Instant,
    last_poll_ms: AtomicU64,
    /// Whether this member has joined the group and received its assignment.
    pub joined: AtomicBool,
    /// Number of assigned partitions.
    pub num_partitions: AtomicUsize,
    /// Commands delivered and not settled.
    pub num_unresolved: AtomicUsize,
    /// Number of rebuilt consumers.
    pub num_rebuilds: AtomicU64,
    membership: Mutex<Membership>,
}

/// What the broker says about the membership of this worker.
#[derive(Debug, Clone, Default)]
pub struct Membership {
    /// Why the worker does not have its share of the partitions.
    pub fault: Option<String>,
    /// Why this is not known.
    pub unknown: Option<String>,
}

impl Default for FeedFigures {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            last_poll_ms: AtomicU64::default(),
            joined: AtomicBool::default(),
            num_partitions: AtomicUsize::default(),
            num_unresolved: AtomicUsize::default(),
            num_rebuilds: AtomicU64::default(),
            membership: Mutex::default(),
        }
    }
}

impl FeedFigures {
    fn polled(&self) {
        self.last_poll_ms.store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Whether this member has received an assignment since it subscribed.
    pub fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Acquire)
    }

    /// The last answer of the broker.
    pub fn membership(&self) -> Membership {
        lock(&self.membership).clone()
    }

    /// Sets the answer of the broker.
    pub fn set_membership(&self, fault: Option<String>, unknown: Option<String>) {
        *lock(&self.membership) = Membership { fault, unknown };
    }

    /// Time since the last iteration of the poll loop.
    pub fn since_last_poll(&self) -> Duration {
        let last = Duration::from_millis(self.last_poll_ms.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(last)
    }
}

/// State of the consumer thread.
pub struct ConsumerThread {
    config: KafkaSection,
    client: ClientConfig,
    client_id: String,
    shared: Arc<FeedShared>,
    figures: Arc<FeedFigures>,
    /// Whether consumption is paused. Polling continues meanwhile; otherwise the group would revoke the partitions.
    paused: bool,
    stopping: bool,
    watchdog: Watchdog,
    last_redelivery: Instant,
}

/// Why a consumer ended.
enum End {
    Close(tokio::sync::oneshot::Sender<Result<(), String>>),
    Rebuild(String),
}

impl ConsumerThread {
    /// Configures the consumer: offsets are stored explicitly and committed in the background; buffers are small.
    pub fn new(config: KafkaSection, node_id: &str, shared: Arc<FeedShared>, figures: Arc<FeedFigures>) -> Self {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", config.address())
            .set("group.id", &config.group_id)
            .set("client.id", node_id)
            .set("auto.offset.reset", "earliest")
            .set("enable.auto.commit", "true")
            .set("enable.auto.offset.store", "false")
            .set("auto.commit.interval.ms", config.commit_interval_ms.to_string())
            .set("enable.partition.eof", "false")
            // Eager assignment: commits and cooperative rebalances conflict in librdkafka (its issue 4059).
            .set("partition.assignment.strategy", "range,roundrobin")
            .set("session.timeout.ms", config.session_timeout_ms.to_string())
            .set("heartbeat.interval.ms", (config.session_timeout_ms / 10).max(100).to_string())
            .set("max.poll.interval.ms", "300000")
            // Commands are small. These limits keep the prefetched records within a few megabytes.
            .set("queued.max.messages.kbytes", "2048")
            .set("fetch.message.max.bytes", "262144")
            .set("fetch.wait.max.ms", "100")
            .set("statistics.interval.ms", "5000")
            .set("allow.auto.create.topics", "false")
            // Detects topics created after the start within seconds.
            .set("topic.metadata.refresh.interval.ms", "5000")
            .set("reconnect.backoff.max.ms", "5000");
        if config.static_membership {
            client.set("group.instance.id", node_id);
        }
        let now = Instant::now();
        let watchdog = Watchdog::new(Duration::from_millis(config.stall_after_ms));
        let client_id = format!("{node_id}.probe");
        Self {
            config,
            client,
            client_id,
            shared,
            figures,
            paused: false,
            stopping: false,
            watchdog,
            last_redelivery: now,
        }
    }

    /// Runs until the feed is closed.
    pub fn run(mut self) {
        loop {
            let end = match self.subscribe() {
                Ok(consumer) => {
                    let end = self.poll_until_end(&consumer);
                    self.leave(consumer, end)
                }
                Err(error) => Some(format!("cannot build the consumer: {error}")),
            };
            let Some(reason) = end else { return };
            tracing::error!(reason, "rebuilding the consumer");
            self.figures.num_rebuilds.fetch_add(1, Ordering::Relaxed);
            if self.wait_for_rebuild() {
                return;
            }
        }
    }

    fn subscribe(&mut self) -> KafkaResult<BaseConsumer<FeedContext>> {
        let consumer: BaseConsumer<FeedContext> = self.client.create_with_context(FeedContext(self.shared.clone()))?;
        consumer.subscribe(&self.topics())?;
        self.watchdog.excuse();
        self.paused = false;
        self.shared.is_paused.store(false, Ordering::Release);
        tracing::info!(topics = ?self.topics(), group = self.config.group_id, "subscribed");
        Ok(consumer)
    }

    fn poll_until_end(&mut self, consumer: &BaseConsumer<FeedContext>) -> End {
        loop {
            self.figures.polled();
            self.shared.hear();
            if let Some(end) = self.act_on_orders(Some(consumer)) {
                return end;
            }
            leave_in_tests(consumer);
            self.redeliver();
            self.store_positions(consumer);
            self.control_flow(consumer);
            self.publish_figures();
            match consumer.poll(POLL) {
                None => {}
                Some(Ok(message)) => {
                    if let Some(end) = self.hand_out(&message) {
                        return end;
                    }
                }
                Some(Err(error)) if is_fatal(&error) => return End::Rebuild(reason_of(consumer, &error)),
                Some(Err(error)) => {
                    tracing::warn!(%error, "poll failed, will retry");
                    *lock(&self.shared.poll_error) = Some(error.to_string());
                }
            }
            if self.stands_still() {
                return End::Rebuild("the consumer is stalled although its partitions hold more records".to_owned());
            }
        }
    }

    /// Handles requests from other threads. Without a consumer there is nothing to rejoin or rebuild.
    fn act_on_orders(&mut self, consumer: Option<&BaseConsumer<FeedContext>>) -> Option<End> {
        let orders = std::mem::take(&mut *lock(&self.shared.deferred));
        let mut end = None;
        for order in orders {
            match order {
                FeedEvent::StopIntake => self.stop_intake(),
                FeedEvent::Close(answer) => return Some(End::Close(answer)),
                FeedEvent::Rejoin => {
                    if let Some(consumer) = consumer
                        && let Err(error) = self.rejoin(consumer)
                    {
                        end = Some(End::Rebuild(format!("cannot subscribe again: {error}")));
                    }
                }
                FeedEvent::TopicReplaced(topic) => {
                    let keys = lock(&self.shared.intake).assigned();
                    let keys: Vec<PartitionKey> = keys.into_iter().filter(|(name, _)| *name == topic).collect();
                    let reason = format!("topic {topic} was deleted and created again while it was read");
                    end = consumer.map(|_| self.drop_log(&keys, reason));
                }
                FeedEvent::Rebuild(reason) => end = consumer.map(|_| End::Rebuild(reason)),
                FeedEvent::Settled { .. } => {}
            }
        }
        end
    }

    /// Leaves the group and joins it again. A static member that is merely rebuilt gets its old assignment back; a new
    /// subscription makes the group distribute its partitions.
    fn rejoin(&mut self, consumer: &BaseConsumer<FeedContext>) -> KafkaResult<()> {
        consumer.unsubscribe();
        consumer.subscribe(&self.topics())?;
        self.watchdog.excuse();
        tracing::warn!(group = self.config.group_id, "subscribed again");
        Ok(())
    }

    fn topics(&self) -> Vec<&str> {
        self.config.command_topics.iter().map(String::as_str).collect()
    }

    fn stop_intake(&mut self) {
        self.stopping = true;
        let intake = lock(&self.shared.intake);
        intake.withdraw(&intake.assigned());
        drop(intake);
        self.shared.receiver().withdrawals.do_send(PartitionsWithdrawn);
    }

    /// Delivers a record. Returns the end of this consumer if the partition has another log.
    fn hand_out(&mut self, message: &BorrowedMessage<'_>) -> Option<End> {
        // For tests: simulates a stalled consumer.
        fail::fail_point!("kafka::deaf", |_| None);
        self.watchdog.heard();
        if self.stopping {
            return None; // unresolved, so it is consumed again after the next start
        }
        let command = RawCommand {
            topic: message.topic().into(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().unwrap_or_default().to_vec(),
            timestamp_ms: message.timestamp().to_millis(),
            replay: headers::mark_of(message),
        };
        let taken = lock(&self.shared.intake).take(command);
        match taken {
            Taken::New(delivery) => self.send(delivery),
            Taken::Known => {}
            Taken::BeforePosition(position) => {
                let key = (message.topic().into(), message.partition());
                let reason = format!(
                    "{}[{}]: the broker sent offset {} after {position} was done: the log was truncated, or the topic \
                     created again",
                    message.topic(),
                    message.partition(),
                    message.offset()
                );
                return Some(self.drop_log(&[key], reason));
            }
        }
        None
    }

    /// Gives up the positions of partitions whose log is another one. The next assignment compares the logs and finds
    /// where to start.
    fn drop_log(&self, keys: &[PartitionKey], reason: String) -> End {
        self.shared.report_break(reason.clone());
        lock(&self.shared.intake).lose(keys);
        End::Rebuild(reason)
    }

    /// A closed mailbox drops the delivery, which returns the command for a redelivery.
    fn send(&self, delivery: Delivery) {
        self.shared.receiver().commands.do_send(CommandReceived(delivery));
    }

    fn redeliver(&mut self) {
        if self.last_redelivery.elapsed() < REDELIVERY_PAUSE {
            return;
        }
        self.last_redelivery = Instant::now();
        let returned = lock(&self.shared.intake).take_returned();
        if !returned.is_empty() {
            tracing::warn!(commands = returned.len(), "redelivering commands that were returned unfinished");
        }
        for delivery in returned {
            self.send(delivery);
        }
    }

    fn store_positions(&self, consumer: &BaseConsumer<FeedContext>) {
        let positions = lock(&self.shared.intake).positions_to_store();
        if positions.is_empty() {
            return;
        }
        if let Err(error) = self.shared.partition_list(&positions).and_then(|list| consumer.store_offsets(&list)) {
            // Not fatal: the commit at the revocation contains the positions again.
            tracing::warn!(%error, "cannot store resolved offsets");
        }
    }

    /// Pauses if too many commands are held (unresolved, or resolved behind an unresolved one) or the intake gate is
    /// closed. Acts only on a change, because each pause discards the prefetched records.
    fn control_flow(&mut self, consumer: &BaseConsumer<FeedContext>) {
        if self.shared.resumed_by_rebalance.swap(false, Ordering::AcqRel) {
            self.paused = false;
            self.shared.is_paused.store(false, Ordering::Release);
        }
        // A command that takes long holds all that follow: they stay in memory, and a restart delivers them again.
        let num_held = lock(&self.shared.intake).num_held();
        let limit = self.config.max_unresolved;
        // Resumes at three quarters of the limit, so that it does not pause and resume with every command.
        let enough = if self.paused { num_held > limit / 4 * 3 } else { num_held >= limit };
        let pause = enough || self.stopping || !self.shared.receiver().gate.is_open();
        if pause == self.paused {
            return;
        }
        let outcome = consumer
            .assignment()
            .and_then(|partitions| if pause { consumer.pause(&partitions) } else { consumer.resume(&partitions) });
        match outcome {
            Ok(()) => {
                tracing::info!(pause, num_held, "consumption paused or resumed");
                self.paused = pause;
                self.shared.is_paused.store(pause, Ordering::Release);
            }
            Err(error) => tracing::warn!(%error, pause, "pause or resume failed"),
        }
    }

    fn publish_figures(&self) {
        let intake = lock(&self.shared.intake);
        self.figures.num_unresolved.store(self.num_open(&intake), Ordering::Release);
        self.figures.num_partitions.store(intake.assigned().len(), Ordering::Relaxed);
        self.figures.joined.store(self.shared.joined.load(Ordering::Acquire), Ordering::Release);
    }

    /// While the worker stops, only commands in process count: returned ones are consumed again after the next start.
    fn num_open(&self, intake: &Intake) -> usize {
        if self.stopping {
            let assigned = intake.assigned();
            intake.num_in_hand(&assigned)
        } else {
            intake.num_unresolved()
        }
    }

    /// Whether the consumer is stalled: it receives nothing although its partitions hold more records.
    fn stands_still(&mut self) -> bool {
        if self.paused || lock(&self.shared.intake).num_unresolved() > 0 {
            self.watchdog.excuse();
        }
        if !self.watchdog.is_due() {
            return false;
        }
        match self.has_unread_records() {
            Ok(is_behind) => self.watchdog.judge(is_behind),
            Err(error) => {
                // The consumer is not at fault if the broker does not answer.
                tracing::warn!(%error, "cannot determine whether the consumer is behind");
                self.watchdog.excuse();
                false
            }
        }
    }

    /// Whether another client finds a record that this one has not received. The end of a partition says nothing: it
    /// may lie behind transaction markers. What cannot be read is reported elsewhere, and no new client would read it.
    fn has_unread_records(&self) -> KafkaResult<bool> {
        let behind = self.shared.behind();
        if behind.is_empty() {
            return Ok(false);
        }
        let probe = LogProbe::new(&self.config, &self.client_id)?;
        let deadline = Instant::now() + BROKER_ANSWER;
        for waiting in behind {
            if probe.following(&waiting.key, waiting.next, deadline)? == Following::Record {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Commits and drops a consumer on this thread, which may block. Returns the reason for a rebuild, if any.
    fn leave(&mut self, consumer: BaseConsumer<FeedContext>, end: End) -> Option<String> {
        self.shared.hear();
        let assigned = lock(&self.shared.intake).assigned();
        let committed = self.shared.commit(&consumer, &assigned).map_err(|error| format!("final commit: {error}"));
        lock(&self.shared.intake).lose(&assigned);
        drop(consumer);
        self.publish_figures();
        match end {
            End::Close(answer) => {
                if answer.send(committed).is_err() {
                    tracing::warn!("the feed was closed after its deadline");
                }
                None
            }
            End::Rebuild(reason) => {
                if let Err(error) = committed {
                    tracing::warn!(error, "cannot commit resolved offsets; their commands will be redelivered");
                }
                Some(reason)
            }
        }
    }

    /// Waits before the next consumer is built. Returns whether the feed was closed meanwhile.
    fn wait_for_rebuild(&mut self) -> bool {
        let end = Instant::now() + REBUILD_PAUSE;
        while Instant::now() < end {
            self.figures.polled();
            self.shared.hear();
            if let Some(End::Close(answer)) = self.act_on_orders(None) {
                // Nothing is assigned, so there is nothing to commit.
                return answer.send(Ok(())).is_ok();
            }
            std::thread::park_timeout(POLL);
        }
        false
    }
}

/// For tests: the client leaves the group without a word and does not come back.
fn leave_in_tests(_consumer: &BaseConsumer<FeedContext>) {
    fail::fail_point!("kafka::leaves", |_| _consumer.unsubscribe());
}

/// The reason of a fatal error, which names what an operator can change.
fn reason_of(consumer: &BaseConsumer<FeedContext>, error: &KafkaError) -> String {
    let cause = consumer.client().fatal_error();
    match cause {
        Some((RDKafkaErrorCode::FencedInstanceId, text)) => format!(
            "{text}: another worker has joined the group with the same node id; give each worker its own worker.node_id"
        ),
        Some((_, text)) => text,
        None => error.to_string(),
    }
}

fn is_fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal)
}
