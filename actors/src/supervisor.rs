// Upstream: actors::lifecycle, backfill, run, service_hub, standalone
// Downstream: actors::batch_writer, actors::command_router, actors::config_actor, actors::delivery, actors::domain::operator_order, actors::domain::sync_record, actors::domain::worker_status, actors::fact_cache, actors::factor_flush, actors::fetcher, actors::flush, actors::heartbeat, actors::journal, actors::last_closes, actors::latest_times, actors::lifecycle, actors::list_merge, actors::ports, actors::ports::market_source, actors::ports::report_store, actors::ports::tick_store, actors::price_events, actors::quality_monitor, actors::quality_report, actors::settings, actors::store_outage, actors::supervision::board, actors::supervision::restart_policy, actors::supervision::supervised, actors::supervision::vitals, actors::tick_write, actors::validator, actors::worker_event
// Role: The actor at the root: starts all others, leads the worker through its life, drains it, decides its exit.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;
use tokio::sync::oneshot;

use crate::batch_writer::{BatchWriter, WriteTargets};
use crate::command_router::{CommandRouter, RouterLinks};
use crate::config_actor::{ConfigActor, Reload};
use crate::delivery::{Closure, IntakeGate};
use crate::domain::SyncRecord;
use crate::domain::{Lifecycle, OrderKind};
use crate::fact_cache::FactCache;
use crate::factor_flush::FactorFlushContext;
use crate::fetcher::{Fetcher, KnownPast, RefreshFacts};
use crate::flush::FlushContext;
use crate::heartbeat::{BeatNow, Heartbeat, Identity};
use crate::journal::{Journal, JournalKind};
use crate::last_closes::LastCloses;
use crate::latest_times::{LatestBars, LatestTimes};
use crate::lifecycle::{Leaving, Starting};
use crate::list_merge::MergeContext;
use crate::ports::{
    BarStore, CommandFeed, ConfigSource, FactorStore, HeartbeatStore, MarketSources, OrderFeed, OrderReceived, Outbox,
    ReferenceStore, ReportBatch, ReportStore, TickStore,
};
use crate::price_events::PriceEvents;
use crate::quality_monitor::QualityMonitor;
use crate::quality_report::QualityReport;
use crate::settings::ActorSettings;
use crate::store_outage::StoreOutage;
use crate::supervision::{ActorGaveUp, Board, RestartPolicy, Vitals, supervise};
use crate::tick_write::TickWrites;
use crate::validator::Validator;
use crate::worker_event::{Announcer, WorkerEvent};

/// Two evenings of the whole market, some 3 MB.
const SYNC_RECORDS: JournalKind = JournalKind {
    what: "records of ended tasks",
    max_waiting: 10_000,
    batch: 500,
    lost: |board| &board.sync_records_lost,
};

/// A report is seldom larger than 100 KB.
const REPORTS: JournalKind =
    JournalKind { what: "quality reports", max_waiting: 64, batch: 16, lost: |board| &board.reports_lost };

/// Everything outside that the actors talk to.
#[derive(Clone)]
pub struct WorkerParts {
    /// Who this worker is.
    pub identity: Identity,
    /// Commands.
    pub feed: Arc<dyn CommandFeed>,
    /// Operators' orders.
    pub orders: Arc<dyn OrderFeed>,
    /// The configuration.
    pub config: Arc<dyn ConfigSource>,
    /// Market data.
    pub sources: Arc<dyn MarketSources>,
    /// Bars.
    pub store: Arc<dyn BarStore>,
    /// Adjustment factors.
    pub factors: Arc<dyn FactorStore>,
    /// Ticks.
    pub ticks: Arc<dyn TickStore>,
    /// The stock list and the calendar.
    pub reference: Arc<dyn ReferenceStore>,
    /// Quality reports.
    pub reports: Arc<dyn ReportStore>,
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

/// Read the configuration anew.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct ReloadWanted {
    /// What asks for it, for the log.
    pub cause: &'static str,
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
    /// The id of the order that ends the worker, repeated in its last event.
    stop_order: Option<String>,
    ending: bool,
    exit: Option<oneshot::Sender<ExitReport>>,
}

/// The seven actors' addresses that the root needs itself.
#[derive(Clone)]
pub(crate) struct Children {
    pub(crate) router: Addr<CommandRouter>,
    pub(crate) fetcher: Addr<Fetcher>,
    pub(crate) writer: Addr<BatchWriter>,
    pub(crate) quality: Addr<QualityMonitor>,
    pub(crate) heartbeat: Addr<Heartbeat>,
    pub(crate) config: Addr<ConfigActor>,
    pub(crate) gate: IntakeGate,
    pub(crate) announcer: Announcer,
    pub(crate) journal: Journal<SyncRecord>,
    pub(crate) reports: Journal<QualityReport>,
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
            stop_order: None,
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
        let gate = board.gate.clone();

        let (outbox, node_id, snapshot) = (parts.outbox.clone(), parts.identity.node_id.clone(), settings.clone());
        let keeper = parts.reports.clone();
        let reports = Journal::start(REPORTS, board.clone(), async move |reports: &[QualityReport]| {
            keeper.keep(&ReportBatch::of(reports)).await
        });
        let journal = reports.clone();
        let quality = supervise(&here, register("quality_monitor"), policy, escalation.clone(), move |vitals| {
            QualityMonitor::new(vitals, snapshot, outbox, journal, node_id)
        });
        let outage = Arc::new(StoreOutage::new(gate.clone(), board.clone(), quality.clone(), "rows"));
        let latest = Arc::new(LatestBars::new(parts.store.clone()));

        let latest_factors = Arc::new(LatestTimes::of_factors(parts.factors.clone()));
        let targets = WriteTargets {
            bars: Arc::new(FlushContext::new(
                parts.store.clone(),
                latest.clone(),
                outage.clone(),
                PriceEvents::new(parts.outbox.clone(), board.clone()),
                board.clone(),
            )),
            factors: Arc::new(FactorFlushContext::new(
                parts.factors.clone(),
                latest_factors.clone(),
                outage.clone(),
                board.clone(),
            )),
            ticks: Arc::new(TickWrites::new(parts.ticks.clone(), outage.clone(), board.clone())),
            lists: Arc::new(MergeContext {
                store: parts.reference.clone(),
                // A gate of its own: while lists cannot be merged, bars are taken on.
                outage: StoreOutage::new(IntakeGate::default(), board.clone(), quality.clone(), "lists"),
                board: board.clone(),
            }),
        };
        let snapshot = settings.clone();
        let writer = supervise(&writing, register("batch_writer"), policy, escalation.clone(), move |vitals| {
            BatchWriter::new(vitals, snapshot, targets)
        });
        let (to_writer, snapshot) = (writer.clone(), settings.clone());
        let validator = supervise(&writing, register("validator"), policy, escalation.clone(), move |vitals| {
            Validator::new(vitals, snapshot, to_writer)
        });
        let (sources, to_validator, snapshot) = (parts.sources.clone(), validator.clone(), settings.clone());
        let known = KnownPast {
            bars: latest,
            factors: latest_factors,
            ticks: parts.ticks.clone(),
            factor_store: parts.factors.clone(),
            bar_store: parts.store.clone(),
            facts: FactCache::new(parts.reference.clone()),
            last_closes: LastCloses::new(parts.store.clone()),
        };
        let fetcher = supervise(&fetching, register("fetcher"), policy, escalation.clone(), move |vitals| {
            Fetcher::new(vitals, snapshot, sources, known, outage, to_validator)
        });
        let keeper = parts.reference.clone();
        let journal = Journal::start(SYNC_RECORDS, board.clone(), async move |records: &[SyncRecord]| {
            keeper.record_syncs(records).await
        });
        let links = RouterLinks {
            fetcher: fetcher.clone(),
            quality: quality.clone(),
            outbox: parts.outbox.clone(),
            reference: parts.reference.clone(),
            journal: journal.clone(),
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
            fetcher.clone().recipient(),
            validator.recipient(),
            writer.clone().recipient(),
            quality.clone().recipient(),
            heartbeat.clone().recipient(),
        ];
        let announcer =
            Announcer { identity: parts.identity.clone(), board: board.clone(), outbox: parts.outbox.clone() };
        let (source, speaker) = (parts.config.clone(), announcer.clone());
        let config = supervise(&here, register("config_actor"), policy, escalation, move |vitals| {
            ConfigActor::new(vitals, settings, source, subscribers, speaker)
        });
        Children { router, fetcher, writer, quality, heartbeat, config, gate, announcer, journal, reports }
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
        let children = self.start_children(ctx);
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
                children.gate.close(Closure::Paused);
                WorkerEvent::Paused
            }
            OrderKind::Resume => {
                children.gate.open(Closure::Paused);
                WorkerEvent::Resumed
            }
            OrderKind::HeartbeatTest => WorkerEvent::Alive,
            OrderKind::UpdateSelector => return children.fetcher.do_send(RefreshFacts),
        };
        children.heartbeat.do_send(BeatNow);
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
