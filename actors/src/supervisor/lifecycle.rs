// Upstream: actor
// Downstream: many
// Role: The way of the whole worker: from STARTING to RUNNING, and from any state through the drain to STOPPED.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use actix::prelude::*;

use crate::batch_writer::FlushWithoutWaiting;
use crate::config_actor::CurrentSettings;
use crate::domain::Lifecycle;
use crate::heartbeat::{RemoveHeartbeat, SendHeartbeatNow};
use crate::notifications::WorkerEvent;
use crate::ports::{CommandReceiver, OrderReceived};
use crate::quality_monitor::PublishPending;
use crate::settings::{ActorSettings, ms};
use crate::store_retry::store_delays;
use crate::supervision::StatusBoard;
use crate::supervisor::spawn::Children;
use crate::supervisor::{ExitReport, WorkerParts};

/// How often a condition is looked at while starting and draining.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The part of the drain deadline that is kept for leaving: committing, the last messages, the heartbeat.
const DELISTING_DAYS: Duration = Duration::from_secs(3);

/// The longest wait for the control topic: who sees a worker run expects that it obeys. Without the topic it works all the
/// same.
const HEARING: Duration = Duration::from_secs(5);

/// From STARTING to RUNNING.
pub(crate) struct Starting {
    pub(crate) parts: WorkerParts,
    pub(crate) settings: Arc<ActorSettings>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) children: Children,
    pub(crate) orders: Recipient<OrderReceived>,
}

impl Starting {
    pub(crate) async fn run(self) -> Result<(), String> {
        self.prepare_store().await?;
        if let Ok(in_force) = self.children.config.send(CurrentSettings).await {
            tracing::info!(generation = in_force.generation, settings = ?in_force.settings, "settings in force");
        }
        let receiver = CommandReceiver {
            commands: self.children.router.clone().recipient(),
            withdrawals: self.children.router.clone().recipient(),
            gate: self.children.gate.clone(),
        };
        self.parts.feed.start(receiver).map_err(|error| error.to_string())?;
        self.parts.orders.start(self.orders).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + HEARING;
        while !self.parts.feed.state().joined || (!self.parts.orders.is_receiving() && Instant::now() < deadline) {
            if self.board.lifecycle() != Lifecycle::Starting {
                return Ok(()); // stopped meanwhile
            }
            actix_rt::time::sleep(POLL_INTERVAL).await;
        }
        if self.board.enter(Lifecycle::Running) {
            self.children.heartbeat.do_send(SendHeartbeatNow);
            self.children.announcer.announce(&WorkerEvent::Started, None).await;
        }
        Ok(())
    }

    /// Reports are worth less than the work: where they cannot be kept, it is said, and tried again with each report.
    async fn prepare_reports(&self) {
        if self.settings.quality.keep_reports
            && let Err(error) = self.parts.stores.pin().reports.prepare().await
        {
            self.board.record_error(&error.to_string());
            tracing::error!(%error, "quality reports cannot be kept; they are sent to the notification topic all the same");
        }
    }

    /// A store that is not there yet is waited for; one that is not what the worker needs ends the start.
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
            tracing::warn!(%error, retry_in = ?delay, "the store is not ready");
            actix_rt::time::sleep(delay).await;
        }
    }
}

/// From any state to the end.
pub(crate) struct Leaving {
    pub(crate) parts: WorkerParts,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) children: Children,
    pub(crate) deadline: Duration,
    pub(crate) failure: Option<String>,
    pub(crate) stop_order: Option<String>,
}

impl Leaving {
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
        let late = self.wait_for_begun_work(self.deadline.saturating_sub(DELISTING_DAYS)).await;
        let left = self.deadline.saturating_sub(begun.elapsed()).max(POLL_INTERVAL);
        if let Err(error) = self.parts.feed.close(left).await {
            tracing::error!(%error, "the feed is not closed in order; resolved offsets may be handed out again");
        }
        self.say_goodbye().await;
        self.board.enter(Lifecycle::Stopped);
        match (self.failure, late) {
            (Some(failure), _) => ExitReport::Failed(failure),
            (None, Some(late)) => ExitReport::DrainedTooLate(late),
            (None, None) => ExitReport::Drained,
        }
    }

    /// Waits until nothing is unresolved; says what was late where the deadline comes first.
    async fn wait_for_begun_work(&self, deadline: Duration) -> Option<String> {
        let begun = Instant::now();
        let mut last_word = begun;
        loop {
            let unresolved = self.parts.feed.state().num_unresolved;
            if unresolved == 0 {
                return None;
            }
            let fetching = self.board.counters.tasks_upstream();
            let late =
                format!("{unresolved} commands unresolved, {fetching} fetches under way, the rest being written");
            if begun.elapsed() >= deadline {
                tracing::error!(late, "the drain deadline is over; what is not finished is handed out again");
                return Some(late);
            }
            if last_word.elapsed() >= Duration::from_secs(5) {
                last_word = Instant::now();
                tracing::info!(late, left = ?(deadline - begun.elapsed()), "draining");
            }
            actix_rt::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn announce_failure(&self, reason: &str) {
        let failed = WorkerEvent::Failed(reason.to_owned());
        let sending = self.children.announcer.announce(&failed, None);
        if actix_rt::time::timeout(DELISTING_DAYS, sending).await.is_err() {
            tracing::error!("the ERROR event is not out in time");
        }
    }

    async fn say_goodbye(&self) {
        if actix_rt::time::timeout(DELISTING_DAYS, self.children.journal.write_out()).await.is_err() {
            tracing::warn!("some records of ended tasks are not written in time");
        }
        let goodbye = async {
            if let Err(error) = self.children.quality.send(PublishPending).await {
                tracing::warn!(%error, "the last summary is not sent");
            }
            self.children.reports.write_out().await;
            self.children.announcer.announce(&WorkerEvent::Stopped, self.stop_order.as_deref()).await;
        };
        if actix_rt::time::timeout(DELISTING_DAYS, goodbye).await.is_err() {
            tracing::warn!("the STOPPED event is not out in time");
        }
        let removal = self.children.heartbeat.send(RemoveHeartbeat);
        if !matches!(actix_rt::time::timeout(DELISTING_DAYS, removal).await, Ok(Ok(()))) {
            tracing::warn!("the heartbeat is not removed in time; it vanishes by itself");
        }
    }
}
