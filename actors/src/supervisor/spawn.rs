// Upstream: actor, lifecycle
// Downstream: many
// Role: Starts the seven actors below the Supervisor on their threads, with their settings and ports.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use crate::batch_writer::bars::price_events::PriceEvents;
use crate::batch_writer::bars::write::FlushContext;
use crate::batch_writer::factors::write::FactorFlushContext;
use crate::batch_writer::lists::merge::MergeContext;
use crate::batch_writer::ticks::write::TickWriter;
use crate::batch_writer::{BatchWriter, WriteTargets};
use crate::command_router::{CommandRouter, RouterLinks};
use crate::config_actor::ConfigActor;
use crate::domain::{PriceUpdate, QualityReport, SyncRecord};
use crate::fetcher::{CalendarWatch, Fetcher, StoredData};
use crate::heartbeat::Heartbeat;
use crate::market_cache::facts::FactCache;
use crate::market_cache::last_closes::LastCloses;
use crate::market_cache::latest_times::{LatestBars, LatestTimes};
use crate::notifications::Announcer;
use crate::pipeline::{BackgroundWriter, BackgroundWriterKind, StoredNotes};
use crate::ports::{IntakeGate, ReportBatch, StoreError, StoreErrorClass};
use crate::quality_monitor::QualityMonitor;
use crate::settings::ActorSettings;
use crate::store_retry::{OutageListener, StoreOutage};
use crate::supervision::{ActorGaveUp, RestartPolicy, StatusBoard, Vitals, supervise};
use crate::supervisor::{Placement, WorkerParts};
use crate::validator::Validator;

/// The queue holds the records of two evenings of the whole market, about 3 MB.
const SYNC_RECORDS: BackgroundWriterKind = BackgroundWriterKind {
    what: "records of ended tasks",
    max_waiting: 10_000,
    batch: 500,
    gather: Duration::from_secs(1),
    lost: |board| &board.counters.sync_records_lost,
};

/// A report is rarely larger than 100 KB.
const REPORTS: BackgroundWriterKind = BackgroundWriterKind {
    what: "quality reports",
    max_waiting: 64,
    batch: 16,
    gather: Duration::from_secs(1),
    lost: |board| &board.counters.reports_lost,
};

/// An update is about 500 bytes. An evening of all securities is 5,500 of them.
const PRICE_UPDATES: BackgroundWriterKind = BackgroundWriterKind {
    what: "price updates",
    max_waiting: 10_000,
    batch: 500,
    // Strategies wait for them.
    gather: Duration::ZERO,
    lost: |board| &board.counters.price_updates_lost,
};

/// The addresses of the actors and the services that the Supervisor uses.
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
    pub(crate) sync_records: BackgroundWriter<SyncRecord>,
    pub(crate) reports: BackgroundWriter<QualityReport>,
    pub(crate) price_updates: BackgroundWriter<PriceUpdate>,
}

/// Starts the actors. Contains what they share.
pub(crate) struct ActorSpawner<'a> {
    pub(crate) parts: &'a WorkerParts,
    pub(crate) settings: &'a Arc<ActorSettings>,
    pub(crate) board: &'a Arc<StatusBoard>,
    pub(crate) policy: RestartPolicy,
    pub(crate) escalation: Recipient<ActorGaveUp>,
}

/// What the Fetcher and the BatchWriter know of stored rows.
#[derive(Clone)]
struct Latest {
    bars: Arc<LatestBars>,
    factors: Arc<LatestTimes>,
    notes: Arc<StoredNotes>,
}

impl ActorSpawner<'_> {
    /// Starts the actors in reverse order of the data flow, so that each actor gets the address of the next one.
    pub(crate) fn start(&self) -> Children {
        let (parts, board) = (self.parts, self.board);
        let arbiter = || match parts.placement {
            Placement::OwnThreads => Some(Arbiter::new().handle()),
            Placement::OneThread => None,
        };
        let (fetch_thread, write_thread, heartbeat_thread) = (arbiter(), arbiter(), arbiter());

        let reports = self.reports();
        let (outbox, report_writer, node_id) = (parts.outbox.clone(), reports.clone(), parts.identity.node_id.clone());
        let alerts = parts.alerts.clone();
        let quality = self.actor(None, "quality_monitor", move |vitals, settings| {
            QualityMonitor::new(vitals, settings, outbox, report_writer, node_id, alerts)
        });
        let listener = OutageListener { failing: quality.clone().recipient(), recovered: quality.clone().recipient() };
        let outage = Arc::new(StoreOutage::new(board.gate.clone(), board.clone(), listener.clone()));
        let latest = Latest {
            bars: Arc::new(LatestBars::new(parts.stores.clone())),
            factors: Arc::new(LatestTimes::of_factors(parts.stores.clone())),
            notes: Arc::new(StoredNotes::new(parts.heartbeats.clone())),
        };
        let price_updates = self.price_updates();
        let targets = self.write_targets(&latest, &outage, listener, price_updates.clone());
        let writer = self.actor(write_thread.as_ref(), "batch_writer", move |vitals, settings| {
            BatchWriter::new(vitals, settings, targets)
        });
        let next = writer.clone();
        let validator = self
            .actor(write_thread.as_ref(), "validator", move |vitals, settings| Validator::new(vitals, settings, next));
        let (sources, stored, next) = (parts.sources.clone(), self.stored_data(&latest, &outage), validator.clone());
        let calendar_watch = self.calendar_watch();
        let fetcher = self.actor(fetch_thread.as_ref(), "fetcher", move |vitals, settings| {
            Fetcher::new(vitals, settings, sources, stored, calendar_watch, next)
        });
        let sync_records = self.sync_records();
        let links = RouterLinks {
            fetcher: fetcher.clone(),
            quality: quality.clone(),
            outbox: parts.outbox.clone(),
            reference: parts.reference.clone(),
            sync_records: sync_records.clone(),
        };
        let router =
            self.actor(None, "command_router", move |vitals, settings| CommandRouter::new(vitals, settings, links));
        let (heartbeats, feed, identity) = (parts.heartbeats.clone(), parts.feed.clone(), parts.identity.clone());
        let heartbeat = self.actor(heartbeat_thread.as_ref(), "heartbeat", move |vitals, settings| {
            Heartbeat::new(vitals, settings, heartbeats, feed, identity)
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
        let (source, config_announcer) = (parts.config.clone(), announcer.clone());
        let config = self.actor(None, "config_actor", move |vitals, settings| {
            ConfigActor::new(vitals, settings, source, subscribers, config_announcer)
        });
        let gate = board.gate.clone();
        Children {
            router,
            fetcher,
            writer,
            quality,
            heartbeat,
            config,
            gate,
            announcer,
            sync_records,
            reports,
            price_updates,
        }
    }

    /// Starts one supervised actor on a thread, or on this one.
    fn actor<A, F>(&self, arbiter: Option<&ArbiterHandle>, name: &'static str, build: F) -> Addr<A>
    where
        A: Supervised + Actor<Context = Context<A>>,
        F: FnOnce(Vitals, Arc<ActorSettings>) -> A + Send + 'static,
    {
        let (vitals, settings) = (Vitals::register(name, self.board), self.settings.clone());
        let build = move |vitals| build(vitals, settings);
        supervise(arbiter, vitals, self.policy, self.escalation.clone(), build)
    }

    fn write_targets(
        &self,
        latest: &Latest,
        outage: &Arc<StoreOutage>,
        listener: OutageListener,
        price_updates: BackgroundWriter<PriceUpdate>,
    ) -> WriteTargets {
        let (parts, board) = (self.parts, self.board);
        let events = PriceEvents::new(price_updates);
        let Latest { bars, factors, notes } = latest.clone();
        let (stores, of_bars) = (parts.stores.clone(), notes.clone());
        let bars = FlushContext::new(stores.clone(), bars, outage.clone(), events, board.clone(), of_bars);
        let factors = FactorFlushContext::new(stores, factors, outage.clone(), board.clone(), notes);
        WriteTargets {
            bars: Arc::new(bars),
            factors: Arc::new(factors),
            ticks: Arc::new(TickWriter::new(parts.stores.clone(), outage.clone(), board.clone())),
            lists: Arc::new(MergeContext {
                store: parts.reference.clone(),
                // A separate gate: an outage of the reference store must not pause the intake of commands.
                outage: StoreOutage::new(IntakeGate::default(), board.clone(), listener),
                board: board.clone(),
            }),
        }
    }

    fn stored_data(&self, latest: &Latest, outage: &Arc<StoreOutage>) -> StoredData {
        let parts = self.parts;
        StoredData {
            latest_bars: latest.bars.clone(),
            latest_factors: latest.factors.clone(),
            stores: parts.stores.clone(),
            facts: FactCache::new(parts.reference.clone(), self.board.clone()),
            last_closes: LastCloses::new(parts.stores.clone()),
            outage: outage.clone(),
            notes: latest.notes.clone(),
        }
    }

    fn calendar_watch(&self) -> CalendarWatch {
        let WorkerParts { identity, sources, heartbeats, outbox, .. } = self.parts;
        CalendarWatch {
            claims: heartbeats.clone(),
            outbox: outbox.clone(),
            sources: sources.clone(),
            node_id: identity.node_id.clone(),
        }
    }

    fn reports(&self) -> BackgroundWriter<QualityReport> {
        let stores = self.parts.stores.clone();
        BackgroundWriter::start(REPORTS, self.board.clone(), async move |reports: &[QualityReport]| {
            stores.pin().reports.keep(&ReportBatch::of(reports)).await
        })
    }

    /// Publishes price updates beside the writes. Each is sent once: a consumer would take a repetition for another
    /// price.
    fn price_updates(&self) -> BackgroundWriter<PriceUpdate> {
        let (outbox, board) = (self.parts.outbox.clone(), self.board.clone());
        BackgroundWriter::start(PRICE_UPDATES, self.board.clone(), async move |updates: &[PriceUpdate]| {
            outbox.price_updates(updates).await.map_err(|error| StoreError {
                store: format!("Kafka topic {}", error.topic),
                operation: format!("publish {} price updates", updates.len()),
                // Not sent again, whatever the reason: some may have arrived.
                class: StoreErrorClass::Refused,
                reason: error.reason,
            })?;
            board.counters.price_updates.add(updates.len() as u64);
            Ok(())
        })
    }

    fn sync_records(&self) -> BackgroundWriter<SyncRecord> {
        let store = self.parts.reference.clone();
        BackgroundWriter::start(SYNC_RECORDS, self.board.clone(), async move |records: &[SyncRecord]| {
            store.pin().record_syncs(records).await
        })
    }
}
