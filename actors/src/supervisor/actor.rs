// Upstream: data_worker, simulation, supervisor
// Downstream: many
// Role: The actor at the root: starts all others, leads the worker through its life, drains it, decides its exit.

use std::sync::Arc;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::config_actor::Reload;
use crate::domain::{Lifecycle, OrderKind};
use crate::fetcher::RefreshFacts;
use crate::heartbeat::SendHeartbeatNow;
use crate::notifications::WorkerEvent;
use crate::ports::{IntakePause, OrderReceived};
use crate::settings::ActorSettings;
use crate::supervision::{ActorGaveUp, RestartPolicy, StatusBoard};
use crate::supervisor::lifecycle::{Leaving, Starting};
use crate::supervisor::spawn::{ActorSpawner, Children};
use crate::supervisor::{ExitReport, ReloadWanted, Stop, WorkerParts};

/// The root of the supervision tree.
pub struct Supervisor {
    parts: WorkerParts,
    settings: Arc<ActorSettings>,
    /// How failed actors are restarted.
    policy: RestartPolicy,
    board: Arc<StatusBoard>,
    children: Option<Children>,
    failure: Option<String>,
    /// The id of the order that ends the worker, repeated in its last event.
    stop_order: Option<String>,
    ending: bool,
    exit: Option<oneshot::Sender<ExitReport>>,
}

/// The worker could not be started.
#[derive(Message)]
#[rtype(result = "()")]
struct StartFailed(String);

/// The drain ended.
#[derive(Message)]
#[rtype(result = "()")]
struct Ended(ExitReport);

impl Supervisor {
    /// Starts the worker on the current actix system. The receiver hears how it ended.
    pub fn launch(
        parts: WorkerParts,
        settings: ActorSettings,
        policy: RestartPolicy,
        board: Arc<StatusBoard>,
    ) -> (Addr<Self>, oneshot::Receiver<ExitReport>) {
        let (sender, exit) = oneshot::channel();
        let supervisor = Self {
            parts,
            settings: Arc::new(settings),
            policy,
            board,
            children: None,
            failure: None,
            stop_order: None,
            ending: false,
            exit: Some(sender),
        };
        (supervisor.start(), exit)
    }

    fn end(&mut self, reason: &str, ctx: &mut Context<Self>) {
        if self.ending {
            return;
        }
        self.ending = true;
        let Some(children) = self.children.clone() else { return };
        let leaving = Leaving {
            parts: self.parts.clone(),
            board: self.board.clone(),
            children,
            deadline: self.parts.config.drain_deadline(),
            failure: self.failure.clone(),
            stop_order: self.stop_order.clone(),
        };
        tracing::info!(reason, deadline = ?leaving.deadline, "the worker stops");
        let supervisor = ctx.address();
        actix_rt::spawn(async move {
            let report = leaving.run().await;
            supervisor.do_send(Ended(report));
        });
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.board.enter(Lifecycle::Starting);
        let spawner = ActorSpawner {
            parts: &self.parts,
            settings: &self.settings,
            board: &self.board,
            policy: self.policy,
            escalation: ctx.address().recipient(),
        };
        let children = spawner.start();
        let starting = Starting {
            parts: self.parts.clone(),
            settings: self.settings.clone(),
            board: self.board.clone(),
            children: children.clone(),
            orders: ctx.address().recipient(),
        };
        self.children = Some(children);
        let supervisor = ctx.address();
        actix_rt::spawn(async move {
            if let Err(reason) = starting.run().await {
                supervisor.do_send(StartFailed(reason));
            }
        });
    }
}

impl Handler<ReloadWanted> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: ReloadWanted, _ctx: &mut Self::Context) {
        if let Some(children) = &self.children {
            children.config.do_send(Reload { cause: message.cause, correlation_id: None });
        }
    }
}

impl Handler<OrderReceived> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: OrderReceived, ctx: &mut Self::Context) {
        let OrderReceived(order) = message;
        if !order.concerns(&self.parts.identity.node_id) {
            return;
        }
        let Some(children) = self.children.clone() else { return };
        tracing::info!(order = order.kind.as_str(), correlation_id = order.correlation_id, "an operator's order");
        let event = match order.kind {
            OrderKind::Reload => {
                return children.config.do_send(Reload { cause: "an order", correlation_id: order.correlation_id });
            }
            OrderKind::Stop => {
                self.stop_order = order.correlation_id;
                return self.end("an operator's order", ctx);
            }
            OrderKind::Pause => {
                children.gate.close(IntakePause::Paused);
                WorkerEvent::Paused
            }
            OrderKind::Resume => {
                children.gate.open(IntakePause::Paused);
                WorkerEvent::Resumed
            }
            OrderKind::HeartbeatTest => WorkerEvent::Alive,
            OrderKind::UpdateSelector => return children.fetcher.do_send(RefreshFacts),
        };
        children.heartbeat.do_send(SendHeartbeatNow);
        actix_rt::spawn(async move { children.announcer.announce(&event, order.correlation_id.as_deref()).await });
    }
}

impl Handler<Stop> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: Stop, ctx: &mut Self::Context) {
        self.end(&message.reason, ctx);
    }
}

impl Handler<StartFailed> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: StartFailed, ctx: &mut Self::Context) {
        self.failure = Some(message.0);
        self.end("it could not start", ctx);
    }
}

impl Handler<ActorGaveUp> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: ActorGaveUp, ctx: &mut Self::Context) {
        let reason = format!("actor {} keeps failing: {}", message.actor, message.reason);
        self.failure.get_or_insert(reason);
        self.end("an actor keeps failing", ctx);
    }
}

impl Handler<Ended> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: Ended, ctx: &mut Self::Context) {
        if let Some(exit) = self.exit.take()
            && exit.send(message.0).is_err()
        {
            tracing::debug!("nobody waits for the worker's end");
        }
        ctx.stop();
    }
}
