// Upstream: main
// Downstream: many
// Role: Runs the scenario of one seed and checks it at every step.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use actors::domain::Stage;
use actors::ports::{SourceErrorKind, StoreErrorClass};
use actors::simulation::{FaultRates, ModelReference, ModelSource, ModelStore, SLOWDOWN, World};
use actors::supervisor::ExitReport;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::checks::{CommittedWork, ResolvedAlerts, equal, no_copies, nothing_missing, only_answers, whole_or_nothing};
use crate::clock;
use crate::cluster::{Surroundings, Worker};
use crate::consumer::MAX_HELD;
use crate::market::{Kind, Market, stored};
use crate::outbox::SimulatedOutbox;
use crate::scenario::{Event, Scenario, last_commands};

/// Interval of checks.
const STEP: Duration = Duration::from_millis(50);

/// Time without any work after which a worker that holds some must say so: a minute, the interval of
/// heartbeats, and the time of a fetch.
const SILENCE: Duration = Duration::from_secs(60 + 10 + 20);

/// Time that an INSERT and the publication of an alert may take.
const ALERT_DELAY: Duration = Duration::from_secs(20);

/// Time after the last fault in which all work must be done.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a run did, for a comparison with another run of the same seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// A hash of the stored rows with their random parts, of the time and of the number of requests.
    pub fingerprint: u64,
    /// Virtual time.
    pub lasted: Duration,
    /// Number of commands.
    pub num_commands: usize,
}

/// Runs the scenario of a seed.
pub fn simulate(seed: u64) -> Result<Outcome, String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    World::run(async move {
        clock::simulate(seed);
        let mut run = Run::new(seed);
        let outcome = run.whole().await.map_err(|reason| format!("after {:?}: {reason}", run.begin.elapsed()));
        sender.send(outcome).expect("somebody waits");
    });
    receiver.recv().unwrap_or_else(|_| Err("the simulation ended without a result".to_owned()))
}

struct Run {
    scenario: Scenario,
    around: Surroundings,
    market: Market,
    /// `None` while a worker is down.
    workers: Vec<Option<Worker>>,
    /// When workers that are down start again.
    starts: Vec<(Instant, usize)>,
    outage_until: Option<Instant>,
    vendor_hangs_until: Option<Instant>,
    vendor_refuses_until: Option<Instant>,
    /// The kind that the store refuses, since when and until when.
    refused: Option<(Kind, Instant, Instant)>,
    alerts: ResolvedAlerts,
    /// The stores before an exchange.
    old_stores: Vec<Arc<ModelStore>>,
    /// Since when each worker holds commands and does nothing, and what it did before.
    standing: Vec<Option<(Instant, [u64; 5])>>,
    committed: CommittedWork,
    begin: Instant,
}

fn name(worker: usize) -> String {
    format!("w{worker}")
}

fn store_of(scenario: &Scenario, seed: u64) -> Arc<ModelStore> {
    let mut store = ModelStore::default();
    (store.deduplicates, store.merges) = (scenario.deduplicates, scenario.merges);
    store.faults.set_latency(seed, scenario.store_latency);
    store.faults.set_rates(scenario.store_faults);
    store.watch_keys();
    Arc::new(store)
}

impl Run {
    fn new(seed: u64) -> Self {
        let scenario = Scenario::of(seed);
        let broker = Arc::new(Broker::new(scenario.num_partitions));
        let source = Arc::new(ModelSource::default());
        source.set_weather(seed ^ 1, scenario.vendor_delay, scenario.vendor_failures);
        source.set_panics(scenario.panics);
        let store = store_of(&scenario, seed ^ 2);
        let outbox =
            Arc::new(SimulatedOutbox::new(broker.clone(), seed ^ 3, scenario.outbox_failures, scenario.panics));
        let market = Market::new(source.clone(), scenario.num_codes, scenario.num_days);
        broker.note_days(market.num_days);
        let reference = Arc::new(ModelReference::default());
        let settings = scenario.settings.clone();
        let around = Surroundings { broker, source, store, reference, outbox, alerts: Arc::default(), settings };
        let num_workers = scenario.num_workers;
        let workers = (0..num_workers).map(|number| Some(Worker::start(&name(number), &around))).collect();
        Self {
            scenario,
            around,
            market,
            workers,
            starts: Vec::new(),
            outage_until: None,
            vendor_hangs_until: None,
            vendor_refuses_until: None,
            refused: None,
            alerts: ResolvedAlerts::default(),
            old_stores: Vec::new(),
            standing: vec![None; num_workers],
            committed: CommittedWork::default(),
            begin: Instant::now(),
        }
    }

    async fn whole(&mut self) -> Result<Outcome, String> {
        let timeline = std::mem::take(&mut self.scenario.timeline);
        let num_commands = timeline.iter().filter(|(_, event)| matches!(event, Event::Send { .. })).count();
        // Copies may stay where a worker was interrupted between its INSERT and its look at what others wrote.
        let is_interrupted = timeline.iter().any(|(_, event)| event.interrupts());
        // Commands in process when their topic is deleted are gone, and nobody ends what they began.
        let is_recreated = timeline.iter().any(|(_, event)| matches!(event, Event::Recreate));
        for (at, event) in timeline {
            while self.begin.elapsed() < at {
                self.step().await?;
            }
            self.happen(event).await?;
        }
        self.heal();
        self.until_done().await?;
        only_answers(&self.market, &self.around.store)?;
        if self.old_stores.is_empty() {
            nothing_missing(&self.around.broker, &self.around.store, &self.around.outbox)?;
        }
        if !is_recreated {
            whole_or_nothing(&self.market, self.scenario.num_days, &self.around.store)?;
        }
        if !is_interrupted {
            no_copies(&self.market, &self.around.store)?;
        }
        if is_interrupted {
            self.end_of_old_statements().await?;
        }
        for (number, command) in last_commands(self.scenario.num_codes).into_iter().enumerate() {
            self.around.broker.append(number, command, 0);
        }
        self.until_done().await?;
        equal(&self.market, &self.around.store)?;
        let lost = self.around.store.lost_keys();
        if !lost.is_empty() {
            return Err(format!("a reader did not find: {lost:?}"));
        }
        self.stop_all().await?;
        Ok(Outcome { fingerprint: self.fingerprint(), lasted: self.begin.elapsed(), num_commands })
    }

    /// Waits until the server has ended what killed workers sent. A real one ends it within `clickhouse.timeout_ms`;
    /// what it stores later than the last command would not be looked at by anybody.
    async fn end_of_old_statements(&mut self) -> Result<(), String> {
        let end = Instant::now() + self.scenario.store_latency.mul_f64(SLOWDOWN);
        while Instant::now() < end {
            self.step().await?;
        }
        Ok(())
    }

    /// Lets time pass, and checks.
    async fn step(&mut self) -> Result<(), String> {
        tokio::time::sleep(STEP).await;
        let now = Instant::now();
        if self.outage_until.is_some_and(|until| until <= now) {
            self.around.store.faults.refuse_all(None);
            self.outage_until = None;
        }
        if self.vendor_hangs_until.is_some_and(|until| until <= now) {
            self.around.source.set_weather(1, self.scenario.vendor_delay, self.scenario.vendor_failures);
            self.vendor_hangs_until = None;
        }
        if self.vendor_refuses_until.is_some_and(|until| until <= now) {
            self.around.source.refuse_all(None);
            self.vendor_refuses_until = None;
        }
        if self.refused.is_some_and(|(.., until)| until <= now) {
            self.end_refusal();
        }
        let refused = self.refused.filter(|(_, since, _)| since.elapsed() > ALERT_DELAY).map(|(kind, ..)| kind);
        self.alerts.check(&self.around.outbox, refused)?;
        for (_, number) in self.starts.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            self.workers[number] = Some(Worker::start(&name(number), &self.around));
        }
        let Surroundings { broker, store, outbox, .. } = &self.around;
        let stores: Vec<&ModelStore> =
            std::iter::once(store.as_ref()).chain(self.old_stores.iter().map(Arc::as_ref)).collect();
        self.committed.check(broker, &stores, outbox)?;
        self.check_bounds()?;
        self.check_claims()
    }

    fn check_bounds(&self) -> Result<(), String> {
        for (number, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else { continue };
            let held = worker.feed.num_held();
            if held > MAX_HELD {
                return Err(format!("worker {number} holds {held} commands, more than {MAX_HELD}"));
            }
        }
        Ok(())
    }

    /// Checks that a worker that does nothing for a minute, although it holds commands, says so.
    fn check_claims(&mut self) -> Result<(), String> {
        for (number, (worker, standing)) in self.workers.iter().zip(&mut self.standing).enumerate() {
            let Some(worker) = worker.as_ref() else {
                *standing = None;
                continue;
            };
            let ((unresolved, resolved), counters) = (worker.feed.progress(), &worker.board.counters);
            let tasks = counters.tasks_upstream() + 1000 * counters.tasks_in(Stage::Waiting).get();
            let (fetched, written) = (counters.rows_fetched.get(), counters.rows_written.get());
            let done = [unresolved as u64, resolved as u64, tasks, fetched, written];
            let since = match *standing {
                Some((since, before)) if unresolved > 0 && before == done => since,
                _ => Instant::now(),
            };
            *standing = Some((since, done));
            if since.elapsed() > SILENCE && worker.board.unhealthy_reason().is_none() {
                return Err(format!(
                    "worker {number} has done nothing for {:?} and says that it is well",
                    since.elapsed()
                ));
            }
        }
        Ok(())
    }

    async fn happen(&mut self, event: Event) -> Result<(), String> {
        tracing::info!(?event, "scenario");
        let broker = &self.around.broker;
        match event {
            Event::Send { partition, payload, gap } => broker.append(partition, payload, gap),
            Event::Correct(kind, number, day) => self.market.correct(kind, number, day),
            Event::Kill(number, down) => {
                if let Some(worker) = self.workers[number].take() {
                    worker.kill().await;
                    self.starts.push((Instant::now() + down, number));
                }
            }
            Event::Stop(number, down) => {
                if let Some(worker) = self.workers[number].take() {
                    // While the store or the broker is away, a stop may end at its deadline.
                    let _report = worker.stop().await;
                    self.starts.push((Instant::now() + down, number));
                }
            }
            Event::CutOff(number, lasting) => broker.cut_off(&name(number), lasting),
            Event::Silence(lasting) => broker.fall_silent(lasting),
            Event::Deafen(number) => broker.deafen(&name(number)),
            Event::AddPartition => broker.add_partition(),
            Event::Recreate => broker.recreate(),
            Event::Outage(lasting) => {
                self.around.store.faults.refuse_all(Some(StoreErrorClass::Transient));
                self.outage_until = Some(Instant::now() + lasting);
            }
            Event::Grow => {
                self.market.grow();
                broker.note_days(self.market.num_days);
            }
            Event::VendorHangs(lasting) => {
                self.around.source.set_weather(1, lasting * 2, 0.0);
                self.vendor_hangs_until = Some(Instant::now() + lasting);
            }
            Event::VendorRefuses(lasting) => {
                let refusal = SourceErrorKind::Unauthorized("an injected fault".to_owned());
                self.around.source.refuse_all(Some(refusal));
                self.vendor_refuses_until = Some(Instant::now() + lasting);
            }
            Event::Refuse(kind, lasting) if self.refused.is_none() => {
                self.around.store.faults.refuse(kind.insertion(), Some(StoreErrorClass::Transient));
                self.refused = Some((kind, Instant::now(), Instant::now() + lasting));
            }
            Event::Refuse(..) => {}
            Event::Exchange => {
                self.end_refusal();
                let store = store_of(&self.scenario, 7);
                for worker in self.workers.iter().flatten() {
                    worker.stores.exchange(Arc::new(ModelStore::ports(&store)));
                }
                let old = std::mem::replace(&mut self.around.store, store);
                self.old_stores.push(old);
            }
            Event::ClockJump(number, error) => {
                if let Some(worker) = &self.workers[number] {
                    worker.clock_error.set(error);
                }
            }
        }
        Ok(())
    }

    /// Lets the store insert all kinds of rows again.
    fn end_refusal(&mut self) {
        if let Some((kind, ..)) = self.refused.take() {
            self.around.store.faults.refuse(kind.insertion(), None);
        }
    }

    /// Ends all faults.
    fn heal(&mut self) {
        self.end_refusal();
        let Surroundings { broker, source, store, outbox, .. } = &self.around;
        broker.heal();
        source.set_weather(1, Duration::from_millis(20), 0.0);
        source.set_panics(0.0);
        source.refuse_all(None);
        store.faults.refuse_all(None);
        store.faults.set_rates(FaultRates::default());
        outbox.heal();
        (self.outage_until, self.vendor_hangs_until, self.vendor_refuses_until) = (None, None, None);
        self.starts.iter_mut().for_each(|(at, _)| *at = Instant::now());
    }

    async fn until_done(&mut self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while !self.around.broker.is_done() {
            if Instant::now() > end {
                return Err(format!("not done {PATIENCE:?} after the last fault: {}", self.unfinished()));
            }
            self.step().await?;
        }
        Ok(())
    }

    fn unfinished(&self) -> String {
        let open = |(log, committed): (Vec<crate::broker::Record>, Option<i64>)| {
            let first = log.into_iter().find(|record| committed.is_none_or(|committed| record.offset >= committed));
            first.map(|record| format!("{record:?} (committed {committed:?})"))
        };
        let states = self
            .workers
            .iter()
            .flatten()
            .map(|worker| format!("{:?}, last error {:?}", worker.board.lifecycle(), worker.board.last_error()));
        let open: Vec<String> = self.around.broker.logs().into_iter().filter_map(open).collect();
        format!("{open:?}; {:?}", states.collect::<Vec<_>>())
    }

    async fn stop_all(&mut self) -> Result<(), String> {
        for worker in self.workers.iter_mut().filter_map(Option::take) {
            let report = worker.stop().await;
            if !matches!(report, ExitReport::Drained) {
                return Err(format!("a worker without work did not drain: {report:?}"));
            }
        }
        Ok(())
    }

    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        let uuids: Vec<String> = self.around.store.bars().into_iter().map(|(uuid, _)| uuid).collect();
        (uuids, stored(&self.around.store), self.begin.elapsed(), self.around.source.num_calls()).hash(&mut hasher);
        hasher.finish()
    }
}
