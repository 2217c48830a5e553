// Upstream: actor
// Downstream: many
// Role: The startup of the worker from STARTING to RUNNING, and its shutdown from any state to STOPPED.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use actix::prelude::*;

use crate::batch_writer::FlushWithoutWaiting;
use crate::config_actor::CurrentSettings;
use crate::domain::{Lifecycle, Stage, counted_len};
use crate::heartbeat::{RemoveHeartbeat, SendHeartbeatNow};
use crate::notifications::WorkerEvent;
use crate::ports::{CommandReceiver, OrderReceived};
use crate::quality_monitor::PublishPending;
use crate::settings::{ActorSettings, ms};
use crate::store_retry::store_delays;
use crate::supervision::StatusBoard;
use crate::supervisor::spawn::Children;
use crate::supervisor::{ExitReport, WorkerParts};

/// Interval between checks of a condition during startup and drain.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The part of the drain deadline that is reserved for the steps after the drain: the offset commit, the last messages
/// and the removal of the heartbeat. It is also the timeout of each group of last messages and of the removal.
const SHUTDOWN_RESERVE: Duration = Duration::from_secs(3);

/// Maximum wait for the control topic before the worker enters RUNNING, because a running worker should obey orders.
/// After the timeout it runs without the topic.
const ORDERS_TIMEOUT: Duration = Duration::from_secs(5);

/// The startup: from STARTING to RUNNING.
pub(crate) struct Startup {
    pub(crate) parts: WorkerParts,
    pub(crate) settings: Arc<ActorSettings>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) children: Children,
    pub(crate) orders: Recipient<OrderReceived>,
}

impl Startup {
    pub(crate) async fn run(self) -> Result<(), String> {
        self.prepare_store().await?;
        if let Ok(in_force) = self.children.config.send(CurrentSettings).await {
            let settings = serde_json::json!(*in_force.settings);
            tracing::info!(generation = in_force.generation, %settings, "settings in force");
        }
        let receiver = CommandReceiver {
            commands: self.children.router.clone().recipient(),
            withdrawals: self.children.router.clone().recipient(),
            breaks: self.children.quality.clone().recipient(),
            gate: self.children.gate.clone(),
        };
        self.parts.feed.start(receiver).map_err(|error| error.to_string())?;
        self.parts.orders.start(self.orders).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + ORDERS_TIMEOUT;
        while !self.parts.feed.state().joined || (!self.parts.orders.is_receiving() && Instant::now() < deadline) {
            if self.board.lifecycle() != Lifecycle::Starting {
                return Ok(()); // the worker was stopped meanwhile
            }
            actix_rt::time::sleep(POLL_INTERVAL).await;
        }
        if self.board.enter(Lifecycle::Running) {
            self.children.heartbeat.do_send(SendHeartbeatNow);
            self.children.announcer.announce(&WorkerEvent::Started, None).await;
        }
        Ok(())
    }

    /// Prepares the table of quality reports. A failure does not end the start: it is logged, and each report is still
    /// tried.
    async fn prepare_reports(&self) {
        if self.settings.quality.keep_reports
            && let Err(error) = self.parts.stores.pin().reports.prepare().await
        {
            self.board.record_error(&error.to_string());
            tracing::error!(%error, "quality reports cannot be stored; they are only sent to the notification topic");
        }
    }

    /// Waits until the store is ready. A permanent error, such as a wrong table schema, ends the start.
    async fn prepare_store(&self) -> Result<(), String> {
        let mut delays = store_delays(&self.settings);
        loop {
            let stores = self.parts.stores.pin();
            let prepared = match stores.bars.prepare().await {
                Ok(()) => stores.factors.prepare().await,
                failed => failed,
            };
            let Err(error) = prepared else {
                self.prepare_reports().await;
                return Ok(());
            };
            self.board.record_error(&error.to_string());
            if !error.class.is_transient() {
                return Err(error.to_string());
            }
            if self.board.lifecycle() != Lifecycle::Starting {
                return Ok(());
            }
            let delay = delays.next().unwrap_or(ms(self.settings.batch.max_retry_delay_ms));
            tracing::warn!(%error, retry_in = ?delay, "the store is not ready, will retry");
            actix_rt::time::sleep(delay).await;
        }
    }
}

/// The shutdown: from any state to STOPPED.
pub(crate) struct Shutdown {
    pub(crate) parts: WorkerParts,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) children: Children,
    pub(crate) deadline: Duration,
    pub(crate) failure: Option<String>,
    pub(crate) stop_order: Option<String>,
}

impl Shutdown {
    pub(crate) async fn run(self) -> ExitReport {
        let begun = Instant::now();
        if let Some(reason) = &self.failure {
            self.board.enter(Lifecycle::Error);
            self.announce_failure(reason).await;
        }
        self.board.enter(Lifecycle::Stopping);
        self.children.heartbeat.do_send(SendHeartbeatNow);
        self.parts.orders.close();
        self.parts.feed.stop_intake();
        self.children.writer.do_send(FlushWithoutWaiting);
        let unfinished = self.wait_for_open_commands(self.deadline.saturating_sub(SHUTDOWN_RESERVE)).await;
        let left = self.deadline.saturating_sub(begun.elapsed()).max(POLL_INTERVAL);
        if let Err(error) = self.parts.feed.close(left).await {
            tracing::error!(%error, "closing the command feed failed; resolved commands may be delivered again");
        }
        self.send_last_messages().await;
        self.board.enter(Lifecycle::Stopped);
        match (self.failure, unfinished) {
            (Some(failure), _) => ExitReport::Failed(failure),
            (None, Some(unfinished)) => ExitReport::DrainedTooLate(unfinished),
            (None, None) => ExitReport::Drained,
        }
    }

    /// Waits until all commands are resolved. If the deadline comes first, returns a description of the unfinished
    /// work.
    async fn wait_for_open_commands(&self, deadline: Duration) -> Option<String> {
        let begun = Instant::now();
        let mut last_logged = begun;
        loop {
            let unresolved = self.parts.feed.state().num_unresolved;
            if unresolved == 0 {
                return None;
            }
            let fetching = self.board.counters.tasks_upstream();
            let unfinished = format!(
                "{} unresolved, {fetching} being fetched, the rest being written",
                counted_len(unresolved, "command")
            );
            if self.only_waits_for_sources() {
                tracing::warn!(
                    unfinished,
                    "the sources refuse all requests; unresolved commands will be delivered again"
                );
                return Some(unfinished);
            }
            if begun.elapsed() >= deadline {
                tracing::error!(unfinished, "drain deadline exceeded; unresolved commands will be delivered again");
                return Some(unfinished);
            }
            if last_logged.elapsed() >= Duration::from_secs(5) {
                last_logged = Instant::now();
                tracing::info!(unfinished, left = ?(deadline - begun.elapsed()), "the worker finishes its work in progress");
            }
            actix_rt::time::sleep(POLL_INTERVAL).await;
        }
    }

    /// Whether all tasks that are left wait for a source that refuses the account. The drain would wait in vain.
    fn only_waits_for_sources(&self) -> bool {
        let tasks_in = |stage| self.board.counters.tasks_in(stage).get();
        let num_waiting = self.board.refused_sources.num_waiting();
        let num_running: u64 =
            [Stage::Fetching, Stage::Checking, Stage::Buffered, Stage::Writing].map(tasks_in).iter().sum();
        num_waiting > 0 && num_running == num_waiting
    }

    async fn announce_failure(&self, reason: &str) {
        let failed = WorkerEvent::Failed(reason.to_owned());
        let sending = self.children.announcer.announce(&failed, None);
        if actix_rt::time::timeout(SHUTDOWN_RESERVE, sending).await.is_err() {
            tracing::error!("timeout: the ERROR event was not sent");
        }
    }

    /// Writes the pending records, publishes the last report and the STOPPED event, and removes the heartbeat.
    async fn send_last_messages(&self) {
        if actix_rt::time::timeout(SHUTDOWN_RESERVE, self.children.sync_records.write_out()).await.is_err() {
            tracing::warn!("timeout: some records of ended tasks were not written");
        }
        let last_messages = async {
            self.children.price_updates.write_out().await;
            if let Err(error) = self.children.quality.send(PublishPending).await {
                tracing::warn!(%error, "the last quality report was not sent");
            }
            self.children.reports.write_out().await;
            self.children.announcer.announce(&WorkerEvent::Stopped, self.stop_order.as_deref()).await;
        };
        if actix_rt::time::timeout(SHUTDOWN_RESERVE, last_messages).await.is_err() {
            tracing::warn!("timeout: the STOPPED event was not sent");
        }
        let removal = self.children.heartbeat.send(RemoveHeartbeat);
        if !matches!(actix_rt::time::timeout(SHUTDOWN_RESERVE, removal).await, Ok(Ok(()))) {
            tracing::warn!("timeout: the heartbeat was not removed; it expires by itself");
        }
    }
}
