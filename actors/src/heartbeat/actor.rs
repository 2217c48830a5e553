// Upstream: heartbeat, supervisor
// Downstream: domain, messages, ports, settings, status, supervision
// Role: The actor that sends heartbeats to the heartbeat store. Their status reflects the progress of the work.

use crate::domain::Identity;
use crate::heartbeat::status::StatusBuilder;
use crate::heartbeat::{RemoveHeartbeat, SendHeartbeatNow};
use crate::ports::{CommandFeed, HeartbeatStore, Swappable};
use crate::settings::{ActorSettings, ApplySettings, ms};
use crate::supervision::{MetricEvent, Vitals};
use actix::prelude::*;
use std::sync::{Arc, Mutex};

/// Sends a heartbeat at each interval. It runs on its own arbiter, so load on other actors cannot delay a heartbeat.
pub struct Heartbeat {
    vitals: Vitals,
    settings: Arc<ActorSettings>,
    store: Arc<Swappable<dyn HeartbeatStore>>,
    status: Arc<StatusBuilder>,
    removed: bool,
    next: Option<SpawnHandle>,
}

impl Heartbeat {
    /// Creates the heartbeat actor of this worker.
    pub fn new(
        vitals: Vitals,
        settings: Arc<ActorSettings>,
        store: Arc<Swappable<dyn HeartbeatStore>>,
        feed: Arc<dyn CommandFeed>,
        identity: Identity,
    ) -> Self {
        let board = vitals.board().clone();
        let status = StatusBuilder { identity, feed, board, last_beat: Mutex::default() };
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
            let sent = store.pin().beat(&value, ttl).await;
            status.board.observe(&MetricEvent::HeartbeatSent { arrived: sent.is_ok() });
            match sent {
                Ok(other) => {
                    status.note_beat();
                    status.note_rival(other.as_deref());
                }
                // Not fatal: the worker continues without heartbeats, and for readers the heartbeat expires.
                Err(error) => tracing::warn!(%error, "heartbeat not written"),
            }
        });
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
    /// A restart cancels all timers. `removed` is kept, so a removed heartbeat is not written again.
    fn restarting(&mut self, _ctx: &mut Self::Context) {
        self.next = None;
    }
}

impl Handler<SendHeartbeatNow> for Heartbeat {
    type Result = ();

    fn handle(&mut self, _: SendHeartbeatNow, _ctx: &mut Self::Context) {
        self.vitals.fail_point("handler");
        self.beat();
    }
}

impl Handler<RemoveHeartbeat> for Heartbeat {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: RemoveHeartbeat, _ctx: &mut Self::Context) -> Self::Result {
        self.removed = true;
        let store = self.store.clone();
        Box::pin(async move {
            if let Err(error) = store.pin().remove().await {
                tracing::warn!(%error, "heartbeat not removed; it expires after its TTL");
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
            // Sends a heartbeat now. Otherwise a shorter interval would start only after the longer one ends.
            self.beat_and_schedule(ctx);
        }
    }
}
