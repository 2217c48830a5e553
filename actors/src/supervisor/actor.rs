// Upstream: data_worker, simulation, supervisor, tests::simulate
// Downstream: many
// Role: The root actor: starts the other actors, executes orders, drains the worker and determines its exit report.

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
use crate::supervisor::lifecycle::{Shutdown, Startup};
use crate::supervisor::spawn::{ActorSpawner, Children};
use crate::supervisor::{ExitReport, ReloadWanted, Stop, WorkerParts};

/// The root of the supervision tree.
pub struct Supervisor {
    parts: WorkerParts,
    settings: Arc<ActorSettings>,
    /// The restart policy of all actors.
    policy: RestartPolicy,
    board: Arc<StatusBoard>,
    children: Option<Children>,
    failure: Option<String>,
    /// The correlation id of the stop order, repeated in the STOPPED event.
    stop_order: Option<String>,
    is_stopping: bool,
    exit: Option<oneshot::Sender<ExitReport>>,
}

/// The worker could not be started.
#[derive(Message)]
#[rtype(result = "()")]
struct StartFailed(String);

/// The shutdown is complete.
#[derive(Message)]
#[rtype(result = "()")]
struct ShutdownEnded(ExitReport);

impl Supervisor {
    /// Starts the worker on the current actix system. The receiver gets its exit report.
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
            is_stopping: false,
            exit: Some(sender),
        };
        (supervisor.start(), exit)
    }

    /// Begins the shutdown, unless it has already begun.
    fn shut_down(&mut self, reason: &str, ctx: &mut Context<Self>) {
        if self.is_stopping {
            return;
        }
        self.is_stopping = true;
        let Some(children) = self.children.clone() else { return };
        let shutdown = Shutdown {
            parts: self.parts.clone(),
            board: self.board.clone(),
            children,
            deadline: self.parts.config.drain_deadline(),
            failure: self.failure.clone(),
            stop_order: self.stop_order.clone(),
        };
        tracing::info!(reason, deadline = ?shutdown.deadline, "the worker stops");
        let supervisor = ctx.address();
        actix_rt::spawn(async move {
            let report = shutdown.run().await;
            supervisor.do_send(ShutdownEnded(report));
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
        let startup = Startup {
            parts: self.parts.clone(),
            settings: self.settings.clone(),
            board: self.board.clone(),
            children: children.clone(),
            orders: ctx.address().recipient(),
        };
        self.children = Some(children);
        let supervisor = ctx.address();
        actix_rt::spawn(async move {
            if let Err(reason) = startup.run().await {
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
        tracing::info!(order = order.kind.as_str(), correlation_id = order.correlation_id, "operator order received");
        let event = match order.kind {
            OrderKind::Reload => {
                return children.config.do_send(Reload { cause: "an order", correlation_id: order.correlation_id });
            }
            OrderKind::Stop => {
                self.stop_order = order.correlation_id;
                return self.shut_down("operator order", ctx);
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
        self.shut_down(&message.reason, ctx);
    }
}

impl Handler<StartFailed> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: StartFailed, ctx: &mut Self::Context) {
        self.failure = Some(message.0);
        self.shut_down("the start failed", ctx);
    }
}

impl Handler<ActorGaveUp> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: ActorGaveUp, ctx: &mut Self::Context) {
        let reason = format!("actor {} keeps failing: {}", message.actor, message.reason);
        self.failure.get_or_insert(reason);
        self.shut_down("an actor keeps failing", ctx);
    }
}

impl Handler<ShutdownEnded> for Supervisor {
    type Result = ();

    fn handle(&mut self, message: ShutdownEnded, ctx: &mut Self::Context) {
        if let Some(exit) = self.exit.take()
            && exit.send(message.0).is_err()
        {
            tracing::debug!("the exit report has no receiver");
        }
        ctx.stop();
    }
}
