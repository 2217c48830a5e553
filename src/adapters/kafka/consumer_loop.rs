// Upstream: consumer_tests, feed, tests::simulate
// Downstream: many
// Role: The consumer's loop: polls, delivers commands, stores resolved offsets, pauses, redelivers and rebuilds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use actors::domain::RawCommand;
use actors::ports::{CommandReceived, Delivery, PartitionsWithdrawn};
use rdkafka::error::KafkaResult;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

use crate::adapters::kafka::feed_figures::FeedFigures;
use crate::adapters::kafka::feed_shared::{FeedShared, lock};
use crate::adapters::kafka::group_client::{GroupClient, GroupClients, Polled};
use crate::adapters::kafka::intake::{FeedEvent, Intake, PartitionKey, Taken, names_of};
use crate::adapters::kafka::log_start::LogStarts;
use crate::adapters::kafka::watchdog::Watchdog;
use crate::config::KafkaSection;

/// Maximum wait for a record, and so the maximum delay of a pause, a redelivery or a stop.
const POLL: Duration = Duration::from_millis(20);

/// Delay before returned commands are redelivered: the actor that returned them may be restarting.
const REDELIVERY_PAUSE: Duration = Duration::from_millis(100);

/// Delay before a failed consumer is rebuilt. It gives the broker time and limits log output.
const REBUILD_PAUSE: Duration = Duration::from_secs(2);

/// The consumer of one worker. It owns its client: nobody else calls it.
pub struct ConsumerLoop<C: GroupClients> {
    config: KafkaSection,
    clients: C,
    events: UnboundedReceiver<FeedEvent>,
    /// Requests that came while a rebalance waited for work in process.
    deferred: Vec<FeedEvent>,
    shared: Arc<FeedShared>,
    figures: Arc<FeedFigures>,
    /// Whether consumption is paused. Polling continues meanwhile; otherwise the group would revoke the partitions.
    paused: bool,
    stopping: bool,
    watchdog: Watchdog,
    last_redelivery: Instant,
}

/// Why a client ended.
enum End {
    Close(tokio::sync::oneshot::Sender<Result<(), String>>),
    Rebuild(String),
}

impl<C: GroupClients> ConsumerLoop<C> {
    /// A consumer that takes its requests and settlements from `events`.
    pub fn new(
        config: KafkaSection,
        clients: C,
        events: UnboundedReceiver<FeedEvent>,
        shared: Arc<FeedShared>,
        figures: Arc<FeedFigures>,
    ) -> Self {
        let watchdog = Watchdog::new(Duration::from_millis(config.stall_after_ms));
        Self {
            config,
            clients,
            events,
            deferred: Vec::new(),
            shared,
            figures,
            paused: false,
            stopping: false,
            watchdog,
            last_redelivery: Instant::now(),
        }
    }

    /// Runs until the feed is closed.
    pub async fn run(mut self) {
        loop {
            let end = match self.subscribe() {
                Ok(mut client) => {
                    let end = self.poll_until_end(&mut client).await;
                    self.leave(client, end).await
                }
                Err(error) => Some(format!("cannot build the consumer: {error}")),
            };
            let Some(reason) = end else { return };
            tracing::error!(reason, "rebuilding the consumer");
            self.figures.num_rebuilds.fetch_add(1, Ordering::Relaxed);
            if self.wait_for_rebuild().await {
                return;
            }
        }
    }

    fn subscribe(&mut self) -> KafkaResult<C::Client> {
        let mut client = self.clients.create()?;
        client.subscribe(&self.topics())?;
        self.watchdog.excuse();
        self.set_paused(false);
        tracing::info!(
            topics = self.topics().join(", "),
            group = self.config.group_id,
            "subscribed to the command topics"
        );
        Ok(client)
    }

    async fn poll_until_end(&mut self, client: &mut C::Client) -> End {
        loop {
            self.figures.polled();
            self.hear();
            if let Some(end) = self.act_on_orders(Some(client)) {
                return end;
            }
            self.redeliver();
            self.store_positions(client);
            self.control_flow(client);
            self.publish_figures();
            match client.poll(POLL).await {
                Polled::Nothing => {}
                Polled::Record(command) => {
                    if let Some(end) = self.hand_out(command) {
                        return end;
                    }
                }
                Polled::Assigned(keys) => self.take_over(client, &keys).await,
                Polled::Revoked(keys) => self.give_up(client, &keys).await,
                Polled::Fatal(reason) => return End::Rebuild(reason),
                Polled::Failed(error) => {
                    tracing::warn!(error, "poll failed, will retry");
                    *lock(&self.shared.poll_error) = Some(error);
                }
            }
            if self.stands_still(client).await {
                return End::Rebuild("the consumer is stalled although its partitions hold more records".to_owned());
            }
        }
    }

    /// Handles all pending events without waiting.
    fn hear(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.take_event(event);
        }
    }

    fn take_event(&mut self, event: FeedEvent) {
        match event {
            FeedEvent::Settled { generation, partition, offset, settlement } => {
                lock(&self.shared.intake).settle(generation, &partition, offset, settlement);
            }
            other => self.deferred.push(other),
        }
    }

    /// Handles requests. Without a client there is nothing to rejoin or rebuild.
    fn act_on_orders(&mut self, mut client: Option<&mut C::Client>) -> Option<End> {
        let mut end = None;
        for order in std::mem::take(&mut self.deferred) {
            match order {
                FeedEvent::StopIntake => self.stop_intake(),
                FeedEvent::Close(answer) => return Some(End::Close(answer)),
                FeedEvent::Rejoin => {
                    if let Some(client) = client.as_deref_mut()
                        && let Err(error) = self.rejoin(client)
                    {
                        end = Some(End::Rebuild(format!("cannot subscribe again: {error}")));
                    }
                }
                FeedEvent::TopicReplaced(topic) => {
                    let keys = lock(&self.shared.intake).assigned();
                    let keys: Vec<PartitionKey> = keys.into_iter().filter(|(name, _)| *name == topic).collect();
                    let reason = format!("topic {topic} was deleted and created again while it was read");
                    end = client.is_some().then(|| self.drop_log(&keys, reason));
                }
                FeedEvent::Rebuild(reason) => end = client.is_some().then_some(End::Rebuild(reason)),
                FeedEvent::Settled { .. } => {}
            }
        }
        end
    }

    /// Leaves the group and joins it again. A static member that is merely rebuilt gets its old assignment back; a new
    /// subscription makes the group distribute its partitions.
    fn rejoin(&mut self, client: &mut C::Client) -> KafkaResult<()> {
        client.unsubscribe();
        client.subscribe(&self.topics())?;
        self.watchdog.excuse();
        tracing::warn!(group = self.config.group_id, "subscribed again");
        Ok(())
    }

    fn topics(&self) -> Vec<&str> {
        self.config.command_topics.iter().map(String::as_str).collect()
    }

    fn stop_intake(&mut self) {
        self.stopping = true;
        let assigned = lock(&self.shared.intake).assigned();
        self.withdraw(&assigned);
    }

    /// Stops new work of these partitions.
    fn withdraw(&self, keys: &[PartitionKey]) {
        lock(&self.shared.intake).withdraw(keys);
        self.shared.receiver().withdrawals.do_send(PartitionsWithdrawn);
    }

    /// Takes over the partitions of an assignment.
    async fn take_over(&mut self, client: &mut C::Client, keys: &[PartitionKey]) {
        let mut starts = LogStarts::find(client, keys).await;
        starts.breaks.drain(..).for_each(|reason| self.shared.report_break(reason));
        *lock(&self.shared.topic_ids) = std::mem::take(&mut starts.topic_ids);
        // A partition that was given up while it was paused is still paused when it comes back.
        if let Err(error) = client.assign(&starts.for_client(keys)).and_then(|()| client.pause(false)) {
            tracing::error!(%error, "cannot take over the partitions of the assignment");
        }
        tracing::info!(partitions = names_of(keys, usize::MAX), "partitions assigned");
        let mut intake = lock(&self.shared.intake);
        keys.iter().for_each(|key| intake.assign(key.clone(), starts.of(key)));
        drop(intake);
        self.set_paused(false);
        self.figures.joined.store(true, Ordering::Release);
    }

    /// Gives up partitions that the group revokes.
    async fn give_up(&mut self, client: &mut C::Client, keys: &[PartitionKey]) {
        let unresolved = lock(&self.shared.intake).num_unresolved();
        tracing::info!(partitions = names_of(keys, usize::MAX), unresolved, "partitions revoked");
        if client.is_assignment_lost() {
            tracing::warn!("the assignment is already lost: nothing is committed, and unfinished work is discarded");
        } else {
            self.drain(keys, Duration::from_millis(self.config.rebalance_drain_ms)).await;
            if let Err(error) = self.commit(client, keys).await {
                tracing::warn!(%error, "cannot commit resolved offsets; their commands will be redelivered");
            }
        }
        lock(&self.shared.intake).lose(keys);
        if let Err(error) = client.unassign() {
            tracing::error!(%error, "cannot give up the partitions");
        }
    }

    /// Stops new work of these partitions and waits, at most `longest`, until no command of them is in process.
    pub(crate) async fn drain(&mut self, keys: &[PartitionKey], longest: Duration) {
        self.withdraw(keys);
        let end = Instant::now() + longest;
        loop {
            let num_in_hand = lock(&self.shared.intake).num_in_hand(keys);
            if num_in_hand == 0 {
                return;
            }
            match tokio::time::timeout_at(end, self.events.recv()).await {
                Ok(Some(event)) => self.take_event(event),
                Ok(None) | Err(_) => {
                    tracing::warn!(num_in_hand, "commands did not finish in time; another worker will repeat them");
                    return;
                }
            }
        }
    }

    async fn commit(&self, client: &mut C::Client, keys: &[PartitionKey]) -> KafkaResult<()> {
        let positions = lock(&self.shared.intake).positions(keys);
        client.commit(&self.shared.positions_in_logs(positions)).await
    }

    /// Delivers a record. Returns the end of this client if the partition has another log.
    fn hand_out(&mut self, command: RawCommand) -> Option<End> {
        // For tests: simulates a stalled consumer.
        fail::fail_point!("kafka::deaf", |_| None);
        self.watchdog.heard();
        if self.stopping {
            return None; // unresolved, so it is consumed again after the next start
        }
        let (topic, partition, offset) = (command.topic.clone(), command.partition, command.offset);
        let taken = lock(&self.shared.intake).take(command);
        match taken {
            Taken::New(delivery) => self.send(delivery),
            Taken::Known => {}
            Taken::BeforePosition(position) => {
                let reason = format!(
                    "{topic}[{partition}]: the broker sent offset {offset} after {position} was done: the log was \
                     truncated, or the topic created again"
                );
                return Some(self.drop_log(&[(topic, partition)], reason));
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

    fn store_positions(&mut self, client: &mut C::Client) {
        let positions = lock(&self.shared.intake).positions_to_store();
        if positions.is_empty() {
            return;
        }
        if let Err(error) = client.store(&self.shared.positions_in_logs(positions)) {
            // Not fatal: the commit at the revocation contains the positions again.
            tracing::warn!(%error, "cannot store resolved offsets");
        }
    }

    /// Pauses if too many commands are held (unresolved, or resolved behind an unresolved one) or the intake gate is
    /// closed. Acts only on a change, because each pause discards the prefetched records.
    fn control_flow(&mut self, client: &mut C::Client) {
        // A command that takes long holds all that follow: they stay in memory, and a restart delivers them again.
        let num_held = lock(&self.shared.intake).num_held();
        let limit = self.config.max_unresolved;
        // Resumes at three quarters of the limit, so that it does not pause and resume with every command.
        let enough = if self.paused { num_held > limit / 4 * 3 } else { num_held >= limit };
        let pause = enough || self.stopping || !self.shared.receiver().gate.is_open();
        if pause == self.paused {
            return;
        }
        match client.pause(pause) {
            Ok(()) => {
                tracing::info!(pause, num_held, "consumption paused or resumed");
                self.set_paused(pause);
            }
            Err(error) => tracing::warn!(%error, pause, "pause or resume failed"),
        }
    }

    fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        self.shared.is_paused.store(paused, Ordering::Release);
    }

    fn publish_figures(&self) {
        let intake = lock(&self.shared.intake);
        self.figures.num_unresolved.store(self.num_open(&intake), Ordering::Release);
        self.figures.num_partitions.store(intake.assigned().len(), Ordering::Relaxed);
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
    async fn stands_still(&mut self, client: &mut C::Client) -> bool {
        if self.paused || lock(&self.shared.intake).num_unresolved() > 0 {
            self.watchdog.excuse();
        }
        if !self.watchdog.is_due() {
            return false;
        }
        // The end of a partition says nothing: it may lie behind transaction markers. What cannot be read is reported
        // elsewhere, and no new client would read it.
        let behind = self.shared.behind();
        let holds_more = if behind.is_empty() { Ok(false) } else { client.holds_more(&behind).await };
        match holds_more {
            Ok(is_behind) => self.watchdog.judge(is_behind),
            Err(error) => {
                // The consumer is not at fault if the broker does not answer.
                tracing::warn!(%error, "cannot determine whether the consumer is behind");
                self.watchdog.excuse();
                false
            }
        }
    }

    /// Commits and closes a client. Returns the reason for a rebuild, if any.
    async fn leave(&mut self, mut client: C::Client, end: End) -> Option<String> {
        self.hear();
        let assigned = lock(&self.shared.intake).assigned();
        let committed = self.commit(&mut client, &assigned).await.map_err(|error| format!("final commit: {error}"));
        lock(&self.shared.intake).lose(&assigned);
        client.close().await;
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

    /// Waits before the next client is built. Returns whether the feed was closed meanwhile.
    async fn wait_for_rebuild(&mut self) -> bool {
        let end = Instant::now() + REBUILD_PAUSE;
        while Instant::now() < end {
            self.figures.polled();
            self.hear();
            if let Some(End::Close(answer)) = self.act_on_orders(None) {
                // Nothing is assigned, so there is nothing to commit.
                return answer.send(Ok(())).is_ok();
            }
            tokio::time::sleep(POLL).await;
        }
        false
    }
}
