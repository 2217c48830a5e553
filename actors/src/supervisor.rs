// Upstream: run, service_hub, standalone
// Downstream: actors::batch_writer, actors::command_router, actors::config_actor, actors::delivery, actors::domain::bar, actors::domain::notification, actors::domain::worker_status, actors::fetcher, actors::heartbeat, actors::latest_bars, actors::ports, actors::quality_monitor, actors::settings, actors::store_outage, actors::supervision::board, actors::supervision::restart_policy, actors::supervision::supervised, actors::supervision::vitals, actors::validator
// Role: The actor at the root: starts all others, leads the worker through its life, drains it, decides its exit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::prelude::*;
use serde_json::json;
use tokio::sync::oneshot;

use crate::batch_writer::{BatchWriter, FlushWithoutWaiting};
use crate::command_router::{CommandRouter, RouterLinks};
use crate::config_actor::{ConfigActor, CurrentSettings};
use crate::delivery::{CommandReceiver, IntakeGate};
use crate::domain::{Frequency, Level, Lifecycle, Notification};
use crate::fetcher::{Fetcher, store_delays};
use crate::heartbeat::{BeatNow, Heartbeat, Identity, RemoveHeartbeat};
use crate::latest_bars::LatestBars;
use crate::ports::{BarStore, CommandFeed, HeartbeatStore, Instruments, MarketSource, Outbox};
use crate::quality_monitor::{QualityMonitor, SendWhatIsLeft, publish};
use crate::settings::{ActorSettings, ms};
use crate::store_outage::StoreOutage;
use crate::supervision::{ActorGaveUp, Board, RestartPolicy, Vitals, supervise};
use crate::validator::Validator;

/// How often a condition is looked at while starting and draining.
const LOOK: Duration = Duration::from_millis(10);

/// The part of the drain deadline that is kept for leaving: committing, the last messages, the heartbeat.
const LEAVING: Duration = Duration::from_secs(3);

/// Everything outside that the actors talk to.
#[derive(Clone)]
pub struct WorkerParts {
    /// Who this worker is.
    pub identity: Identity,
    /// Commands.
    pub feed: Arc<dyn CommandFeed>,
    /// Market data.
    pub source: Arc<dyn MarketSource>,
    /// Bars.
    pub store: Arc<dyn BarStore>,
    /// The stock list.
    pub instruments: Arc<dyn Instruments>,
    /// Heartbeats.
    pub heartbeats: Arc<dyn HeartbeatStore>,
    /// Dead letters and notifications.
    pub outbox: Arc<dyn Outbox>,
}

/// How the worker is run.
#[derive(Debug, Clone, Copy)]
pub struct LifePolicy {
    /// How failed actors are restarted.
    pub restart: RestartPolicy,
    /// How long a stop may take.
    pub drain_deadline: Duration,
}

/// Stop in order: take no new commands, finish what is begun, commit, say goodbye.
#[derive(Debug, Clone, Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// Why, for the log.
    pub reason: String,
}

/// How the worker ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReport {
    /// All that was begun is written and committed.
    Drained,
    /// The deadline came first; which part was late. What was not finished is handed out again at the next start.
    DrainedTooLate(String),
    /// It could not start, or an actor kept failing.
    Failed(String),
}

/// The root of the supervision tree.
pub struct Supervisor {
    parts: WorkerParts,
    settings: Arc<ActorSettings>,
    policy: LifePolicy,
    board: Arc<Board>,
    children: Option<Children>,
    failure: Option<String>,
    ending: bool,
    exit: Option<oneshot::Sender<ExitReport>>,
}

/// The seven actors' addresses that the root needs itself.
#[derive(Clone)]
struct Children {
    router: Addr<CommandRouter>,
    writer: Addr<BatchWriter>,
    quality: Addr<QualityMonitor>,
    heartbeat: Addr<Heartbeat>,
    config: Addr<ConfigActor>,
    gate: IntakeGate,
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
        policy: LifePolicy,
        board: Arc<Board>,
    ) -> (Addr<Self>, oneshot::Receiver<ExitReport>) {
        let (sender, exit) = oneshot::channel();
        let supervisor = Self {
            parts,
            settings: Arc::new(settings),
            policy,
            board,
            children: None,
            failure: None,
            ending: false,
            exit: Some(sender),
        };
        (supervisor.start(), exit)
    }

    /// Starts the actors from the store backwards to the router, so that each finds the next one there.
    fn start_children(&self, ctx: &mut Context<Self>) -> Children {
        let parts = &self.parts;
        let (settings, board) = (self.settings.clone(), &self.board);
        let here = Arbiter::current();
        // Fetching, writing and beating each have a thread: none of them delays another.
        let (fetching, writing, beating) = (Arbiter::new().handle(), Arbiter::new().handle(), Arbiter::new().handle());
        let policy = self.policy.restart;
        let escalation = ctx.address().recipient::<ActorGaveUp>();
        let register = |name| Vitals::register(name, board);
        let gate = IntakeGate::default();

        let (outbox, node_id, snapshot) = (parts.outbox.clone(), parts.identity.node_id.clone(), settings.clone());
        let quality = supervise(&here, register("quality_monitor"), policy, escalation.clone(), move |vitals| {
            QualityMonitor::new(vitals, snapshot, outbox, node_id)
        });
        let outage = Arc::new(StoreOutage::new(gate.clone(), board.clone(), quality.clone()));
        let latest = Arc::new(LatestBars::new(parts.store.clone(), Frequency::Day));

        let (store, known, trouble, snapshot) = (parts.store.clone(), latest.clone(), outage.clone(), settings.clone());
        let writer = supervise(&writing, register("batch_writer"), policy, escalation.clone(), move |vitals| {
            BatchWriter::new(vitals, snapshot, store, known, trouble)
        });
        let (to_writer, snapshot) = (writer.clone(), settings.clone());
        let validator = supervise(&writing, register("validator"), policy, escalation.clone(), move |vitals| {
            Validator::new(vitals, snapshot, to_writer)
        });
        let (source, to_validator, snapshot) = (parts.source.clone(), validator.clone(), settings.clone());
        let fetcher = supervise(&fetching, register("fetcher"), policy, escalation.clone(), move |vitals| {
            Fetcher::new(vitals, snapshot, source, latest, outage, to_validator)
        });
        let links = RouterLinks {
            fetcher: fetcher.clone(),
            quality: quality.clone(),
            outbox: parts.outbox.clone(),
            instruments: parts.instruments.clone(),
        };
        let snapshot = settings.clone();
        let router = supervise(&here, register("command_router"), policy, escalation.clone(), move |vitals| {
            CommandRouter::new(vitals, snapshot, links)
        });
        let (beats, feed, identity) = (parts.heartbeats.clone(), parts.feed.clone(), parts.identity.clone());
        let snapshot = settings.clone();
        let heartbeat = supervise(&beating, register("heartbeat"), policy, escalation.clone(), move |vitals| {
            Heartbeat::new(vitals, snapshot, beats, feed, identity)
        });
        let subscribers = vec![
            router.clone().recipient(),
            fetcher.recipient(),
            validator.recipient(),
            writer.clone().recipient(),
            quality.clone().recipient(),
            heartbeat.clone().recipient(),
        ];
        let config = supervise(&here, register("config_actor"), policy, escalation, move |vitals| {
            ConfigActor::new(vitals, settings, subscribers)
        });
        Children { router, writer, quality, heartbeat, config, gate }
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
            deadline: self.policy.drain_deadline,
            failure: self.failure.clone(),
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
        let children = self.start_children(ctx);
        let starting = Starting {
            parts: self.parts.clone(),
            settings: self.settings.clone(),
            board: self.board.clone(),
            children: children.clone(),
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

/// From STARTING to RUNNING.
struct Starting {
    parts: WorkerParts,
    settings: Arc<ActorSettings>,
    board: Arc<Board>,
    children: Children,
}

impl Starting {
    async fn run(self) -> Result<(), String> {
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
        while !self.parts.feed.state().joined {
            if self.board.lifecycle() != Lifecycle::Starting {
                return Ok(()); // stopped meanwhile
            }
            actix_rt::time::sleep(LOOK).await;
        }
        if self.board.enter(Lifecycle::Running) {
            self.children.heartbeat.do_send(BeatNow);
            let event =
                event(&self.parts.identity, &self.board, "STARTED", Level::Info, "数据采集 Worker 已启动", None);
            publish(self.parts.outbox.as_ref(), &self.parts.identity.node_id, &event).await;
        }
        Ok(())
    }

    /// A store that is not there yet is waited for; one that is not what the worker needs ends the start.
    async fn prepare_store(&self) -> Result<(), String> {
        let mut delays = store_delays(&self.settings);
        loop {
            let Err(error) = self.parts.store.prepare().await else { return Ok(()) };
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
struct Leaving {
    parts: WorkerParts,
    board: Arc<Board>,
    children: Children,
    deadline: Duration,
    failure: Option<String>,
}

impl Leaving {
    async fn run(self) -> ExitReport {
        let begun = Instant::now();
        if self.failure.is_some() {
            self.board.enter(Lifecycle::Error);
            self.announce_failure().await;
        }
        self.board.enter(Lifecycle::Stopping);
        self.children.heartbeat.do_send(BeatNow);
        self.parts.feed.stop_intake();
        self.children.writer.do_send(FlushWithoutWaiting);
        let late = self.wait_for_begun_work(self.deadline.saturating_sub(LEAVING)).await;
        let left = self.deadline.saturating_sub(begun.elapsed()).max(LOOK);
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
            let fetching = self.board.tasks_upstream.get();
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
            actix_rt::time::sleep(LOOK).await;
        }
    }

    async fn announce_failure(&self) {
        let reason = self.failure.as_deref();
        let event = event(&self.parts.identity, &self.board, "ERROR", Level::Error, "数据采集 Worker 出错", reason);
        let sending = publish(self.parts.outbox.as_ref(), &self.parts.identity.node_id, &event);
        if actix_rt::time::timeout(LEAVING, sending).await.is_err() {
            tracing::error!("the ERROR event is not out in time");
        }
    }

    async fn say_goodbye(&self) {
        let goodbye = async {
            if let Err(error) = self.children.quality.send(SendWhatIsLeft).await {
                tracing::warn!(%error, "the last summary is not sent");
            }
            let event =
                event(&self.parts.identity, &self.board, "STOPPED", Level::Warning, "数据采集 Worker 已停止", None);
            publish(self.parts.outbox.as_ref(), &self.parts.identity.node_id, &event).await;
        };
        if actix_rt::time::timeout(LEAVING, goodbye).await.is_err() {
            tracing::warn!("the STOPPED event is not out in time");
        }
        let removal = self.children.heartbeat.send(RemoveHeartbeat);
        if !matches!(actix_rt::time::timeout(LEAVING, removal).await, Ok(Ok(()))) {
            tracing::warn!("the heartbeat is not removed in time; it vanishes by itself");
        }
    }
}

/// A lifecycle event, with the words of Ginkgo's own.
fn event(
    identity: &Identity,
    board: &Board,
    name: &'static str,
    level: Level,
    title: &str,
    reason: Option<&str>,
) -> Notification {
    let (node_id, host) = (identity.node_id.as_ref(), identity.host.as_ref());
    let (messages, bars, errors) = (board.commands_resolved.get(), board.rows_written.get(), board.errors.get());
    let content = match (name, reason) {
        ("STARTED", _) => format!("DataWorker `{node_id}` started on {host}"),
        (_, Some(reason)) => format!("DataWorker `{node_id}` error: {reason}"),
        _ => format!("DataWorker `{node_id}` stopped (Messages: {messages}, Bars: {bars}, Errors: {errors})"),
    };
    Notification {
        kind: "data_worker_event",
        level,
        title: title.to_owned(),
        content,
        fields: vec![
            ("node_id", node_id.to_owned()),
            ("host", host.to_owned()),
            ("status", board.lifecycle().as_str().to_owned()),
        ],
        data: json!({
            "event": name,
            "node_id": node_id,
            "host": host,
            "status": board.lifecycle().as_str(),
            "messages_processed": messages,
            "bars_written": bars,
            "errors": errors,
            "reason": reason,
        }),
    }
}
