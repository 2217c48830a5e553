// Upstream: actors::children, actors::lifecycle, actors::supervisor, actors::worker_event, service_hub, worker_view
// Downstream: actors::domain::worker_status, actors::observation, actors::ports, actors::settings, actors::shanghai, actors::supervision::board, actors::supervision::vitals
// Role: The actor that beats to the heartbeat store, with a status that comes from progress and not from its own timer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix::prelude::*;
use chrono::Utc;

use crate::domain::{Lifecycle, WorkerStatus};
use crate::observation::Observation;
use crate::ports::{CommandFeed, HeartbeatStore};
use crate::settings::{ActorSettings, ApplySettings, ms};
use crate::shanghai;
use crate::supervision::{Board, Health, Vitals};

/// Who this worker is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The instance's name; no colon in it.
    pub node_id: Arc<str>,
    /// The host's name.
    pub host: Arc<str>,
    /// Where it can be asked over HTTP, if it can: `http://host:port`.
    pub http_address: Option<Arc<str>>,
}

/// Beat now, not at the next interval: the lifecycle changed.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct BeatNow;

/// The worker stops: beat no more and remove the heartbeat.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct RemoveHeartbeat;

/// Runs on an arbiter of its own, so that a flood of work cannot delay a beat.
pub struct Heartbeat {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    store: Arc<dyn HeartbeatStore>,
    status: Arc<StatusReader>,
    removed: bool,
    next: Option<SpawnHandle>,
}

/// Puts the status together.
struct StatusReader {
    identity: Identity,
    feed: Arc<dyn CommandFeed>,
    board: Arc<Board>,
    last_beat: Mutex<Option<f64>>,
}

impl Heartbeat {
    /// A heartbeat of this worker.
    pub fn new(
        vitals: Vitals,
        settings: Arc<ActorSettings>,
        store: Arc<dyn HeartbeatStore>,
        feed: Arc<dyn CommandFeed>,
        identity: Identity,
    ) -> Self {
        let board = vitals.board().clone();
        let status = StatusReader { identity, feed, board, last_beat: Mutex::default() };
        Self { vitals, settings, store, status: Arc::new(status), removed: false, next: None }
    }

    fn beat_and_schedule(&mut self, ctx: &mut Context<Self>) {
        self.beat();
        if let Some(next) = self.next.take() {
            ctx.cancel_future(next);
        }
        self.next = Some(ctx.run_later(ms(self.settings.heartbeat.interval_ms), Self::beat_and_schedule));
    }

    fn beat(&self) {
        if self.removed {
            return;
        }
        let heartbeat = &self.settings.heartbeat;
        let (ttl, stall_after) = (ms(heartbeat.ttl_ms), ms(heartbeat.stall_after_ms));
        let value = self.status.read(stall_after).to_heartbeat_json();
        let (store, status) = (self.store.clone(), self.status.clone());
        actix_rt::spawn(async move {
            let sent = store.beat(&value, ttl).await;
            status.board.observe(&Observation::HeartbeatSent { arrived: sent.is_ok() });
            match sent {
                Ok(()) => status.note_beat(),
                // Never fatal: a worker without heartbeats still works, and the readers see it vanish.
                Err(error) => tracing::warn!(%error, "heartbeat is not set"),
            }
        });
    }
}

impl StatusReader {
    fn read(&self, stall_after: Duration) -> WorkerStatus {
        let feed = self.feed.state();
        self.board.commands_unresolved.set(feed.num_unresolved as u64);
        WorkerStatus {
            node_id: self.identity.node_id.to_string(),
            lifecycle: self.lifecycle(stall_after, feed.since_last_poll),
            timestamp: shanghai::now(),
            host: self.identity.host.to_string(),
            http_address: self.identity.http_address.as_deref().map(str::to_owned),
            pid: std::process::id(),
            messages_processed: self.board.commands_resolved.get(),
            bars_written: self.board.rows_written.get(),
            errors: self.board.errors.get(),
            last_error: self.board.last_error(),
            last_heartbeat: *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner),
            commands_unresolved: feed.num_unresolved as u64,
            actor_restarts: self.board.num_restarts(),
            config_generation: 1 + self.board.reloads_applied.get(),
            reloads_refused: self.board.reloads_refused.get(),
            uptime_seconds: self.board.uptime().as_secs(),
        }
    }

    /// A running worker in which nothing moves although work waits is in error, whatever it believes of itself.
    fn lifecycle(&self, stall_after: Duration, feed_silent_for: Duration) -> Lifecycle {
        let lifecycle = self.board.lifecycle();
        if lifecycle != Lifecycle::Running {
            return lifecycle;
        }
        match self.board.health(stall_after, feed_silent_for) {
            Health::Well => {
                self.board.set_illness(None);
                Lifecycle::Running
            }
            Health::Ill(reason) => {
                if self.board.set_illness(Some(reason.clone())) {
                    self.board.record_error(&reason);
                    tracing::error!(reason, "the worker stands still");
                }
                Lifecycle::Error
            }
        }
    }

    fn note_beat(&self) {
        let seconds = Utc::now().timestamp_micros() as f64 / 1e6;
        *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner) = Some(seconds);
    }
}

impl Actor for Heartbeat {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.vitals.begin(ctx);
        self.beat_and_schedule(ctx);
    }
}

impl Supervised for Heartbeat {
    /// Timers are gone with a restart; whether the heartbeat was removed must survive.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.next = None;
    }
}

impl Handler<BeatNow> for Heartbeat {
    type Result = ();

    fn handle(&mut self, _: BeatNow, _ctx: &mut Self::Context) {
        self.vitals.fault_point("handler");
        self.beat();
    }
}

impl Handler<RemoveHeartbeat> for Heartbeat {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: RemoveHeartbeat, _ctx: &mut Self::Context) -> Self::Result {
        self.removed = true;
        let store = self.store.clone();
        Box::pin(async move {
            if let Err(error) = store.remove().await {
                tracing::warn!(%error, "heartbeat is not removed; it vanishes by itself");
            }
        })
    }
}

impl Handler<ApplySettings> for Heartbeat {
    type Result = ();

    fn handle(&mut self, message: ApplySettings, ctx: &mut Self::Context) {
        let is_new = message.0.heartbeat != self.settings.heartbeat;
        self.settings = message.0;
        if is_new {
            // At once, or a shorter interval would begin only when the longer one is over.
            self.beat_and_schedule(ctx);
        }
    }
}
