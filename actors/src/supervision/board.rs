// Upstream: actors::children, actors::command_handover, actors::factor_flush, actors::fetcher, actors::flush, actors::heartbeat, actors::journal, actors::lifecycle, actors::list_merge, actors::price_events, actors::store_insert, actors::store_outage, actors::supervision, actors::supervision::supervised_tests, actors::supervision::vitals, actors::supervisor, actors::tick_write, actors::ticket, actors::worker_event, backfill, http::answers, run, standalone, standalone::demonstration, standalone::steps, worker_view
// Downstream: actors::delivery, actors::domain::task, actors::domain::worker_status, actors::observation
// Role: What is known of the running worker: lifecycle, counters, each actor's pulse, and whether work moves.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::delivery::IntakeGate;
use crate::domain::{Lifecycle, Stage};
use crate::observation::{CommandOutcome, Observation, Observer, Unobserved};

/// Shared by all actors; every method is cheap and takes no lock for longer than a copy.
#[derive(Debug)]
pub struct Board {
    born: Instant,
    observer: Arc<dyn Observer>,
    /// Whether new commands are taken, and why not.
    pub gate: IntakeGate,
    /// Commands resolved, whatever their outcome.
    pub commands_resolved: Counter,
    /// Commands that another component or another consumer acts on.
    pub commands_passed_over: Counter,
    /// Commands published anew in parts.
    pub commands_split: Counter,
    /// Commands recorded in the dead-letter topic.
    pub commands_dead_lettered: Counter,
    /// Commands taken and not resolved.
    pub commands_unresolved: Counter,
    tasks: [Counter; Stage::ALL.len()],
    /// Rows in the BatchWriter's buffer.
    pub rows_buffered: Counter,
    /// Rows fetched.
    pub rows_fetched: Counter,
    /// Rows newly stored.
    pub rows_written: Counter,
    /// Records of ended tasks that could not be kept.
    pub sync_records_lost: Counter,
    /// Quality reports that could not be kept.
    pub reports_lost: Counter,
    /// Price updates published.
    pub price_updates: Counter,
    /// Invalid rows.
    pub rows_skipped: Counter,
    /// Failed fetches, failed writes and dead letters.
    pub errors: Counter,
    /// New configurations put in force.
    pub reloads_applied: Counter,
    /// Reloads that found nothing changed.
    pub reloads_unchanged: Counter,
    /// Reloads that were refused.
    pub reloads_refused: Counter,
    last_progress_ms: AtomicU64,
    last_beat_ms: AtomicU64,
    protected_until_ms: AtomicU64,
    lifecycle: Mutex<Lifecycle>,
    last_error: Mutex<Option<String>>,
    illness: Mutex<Option<String>>,
    actors: Mutex<Vec<Arc<ActorVitals>>>,
}

/// A number that threads share; used as a counter or as a gauge.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Subtracts; a gauge that would fall below zero stays there.
    pub fn subtract(&self, n: u64) {
        // The closure always returns a value, so the update cannot fail.
        let _previous = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| Some(now.saturating_sub(n)));
    }

    /// Sets a gauge.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// Reads.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One actor as its supervisor sees it.
#[derive(Debug)]
pub struct ActorVitals {
    /// The actor's name.
    pub name: &'static str,
    /// Restarts since the start.
    pub restarts: Counter,
    last_pulse_ms: AtomicU64,
    down: AtomicBool,
}

/// One actor, looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorLook {
    /// Its name.
    pub name: &'static str,
    /// Whether it waits for a restart.
    pub is_down: bool,
    /// Restarts since the start.
    pub num_restarts: u64,
    /// Since its last pulse.
    pub silent_for: Duration,
}

/// A part of the worker that has not moved for longer than it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// The actor's name, or `feed`.
    pub part: &'static str,
    /// Since it last moved.
    pub silent_for: Duration,
}

impl Late {
    /// The longest that a part may be silent; many times the pulse's interval and the feed's poll.
    pub const BOUND: Duration = Duration::from_secs(30);
}

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.silent_for.as_secs();
        match self.part {
            "feed" => write!(f, "the command feed has not polled for {seconds} s"),
            actor => write!(f, "actor {actor} has not moved for {seconds} s"),
        }
    }
}

/// Whether the worker does what it should, with the reason where it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Work moves, or there is none.
    Well,
    /// Something stands still; the reason in words.
    Ill(String),
}

/// A beat that never was.
const NEVER: u64 = u64::MAX;

impl Default for Board {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            observer: Arc::new(Unobserved),
            gate: IntakeGate::default(),
            commands_resolved: Counter::default(),
            commands_passed_over: Counter::default(),
            commands_split: Counter::default(),
            commands_dead_lettered: Counter::default(),
            commands_unresolved: Counter::default(),
            tasks: Default::default(),
            rows_buffered: Counter::default(),
            rows_fetched: Counter::default(),
            rows_written: Counter::default(),
            sync_records_lost: Counter::default(),
            reports_lost: Counter::default(),
            price_updates: Counter::default(),
            rows_skipped: Counter::default(),
            errors: Counter::default(),
            reloads_applied: Counter::default(),
            reloads_unchanged: Counter::default(),
            reloads_refused: Counter::default(),
            last_progress_ms: AtomicU64::default(),
            last_beat_ms: AtomicU64::new(NEVER),
            protected_until_ms: AtomicU64::default(),
            lifecycle: Mutex::new(Lifecycle::Stopped),
            last_error: Mutex::default(),
            illness: Mutex::default(),
            actors: Mutex::default(),
        }
    }
}

impl Board {
    /// A board whose observations `observer` hears.
    pub fn observed_by(observer: Arc<dyn Observer>) -> Self {
        Self { observer, ..Self::default() }
    }

    /// Something happened.
    pub fn observe(&self, observation: &Observation<'_>) {
        match observation {
            Observation::CommandEnded(outcome) => {
                match outcome {
                    CommandOutcome::Done => {}
                    CommandOutcome::PassedOver => self.commands_passed_over.add(1),
                    CommandOutcome::Split => self.commands_split.add(1),
                    CommandOutcome::DeadLetter(_) => self.commands_dead_lettered.add(1),
                }
                self.commands_resolved.add(1);
                self.progressed();
            }
            Observation::HeartbeatSent { arrived: true } => self.last_beat_ms.store(self.now_ms(), Ordering::Relaxed),
            _ => {}
        }
        self.observer.observe(observation);
    }

    /// Tasks in a stage.
    pub fn tasks_in(&self, stage: Stage) -> &Counter {
        let [waiting, fetching, checking, buffered, writing] = &self.tasks;
        match stage {
            Stage::Waiting => waiting,
            Stage::Fetching => fetching,
            Stage::Checking => checking,
            Stage::Buffered => buffered,
            Stage::Writing => writing,
        }
    }

    /// Tasks between their start and the BatchWriter's buffer.
    pub fn tasks_upstream(&self) -> u64 {
        self.tasks_in(Stage::Fetching).get() + self.tasks_in(Stage::Checking).get()
    }

    /// Since the heartbeat store last took a beat.
    pub fn since_last_beat(&self) -> Option<Duration> {
        let last = self.last_beat_ms.load(Ordering::Relaxed);
        (last != NEVER).then(|| Duration::from_millis(self.now_ms().saturating_sub(last)))
    }

    /// Since work last moved.
    pub fn since_last_progress(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_progress_ms.load(Ordering::Relaxed)))
    }

    /// Why the worker stands still, by its last heartbeat.
    pub fn illness(&self) -> Option<String> {
        lock(&self.illness).clone()
    }

    /// The worker stands still, or moves again. Returns whether this is news.
    pub fn set_illness(&self, illness: Option<String>) -> bool {
        let mut known = lock(&self.illness);
        let is_news = known.is_some() != illness.is_some();
        *known = illness;
        is_news
    }

    fn now_ms(&self) -> u64 {
        // Milliseconds of a process's life fit 64 bits for half a billion years.
        self.born.elapsed().as_millis() as u64
    }

    /// Since the process started.
    pub fn uptime(&self) -> Duration {
        self.born.elapsed()
    }

    /// Where the worker is in its life.
    pub fn lifecycle(&self) -> Lifecycle {
        *lock(&self.lifecycle)
    }

    /// Goes on to `next` where the lifecycle allows it; returns whether it did.
    pub fn enter(&self, next: Lifecycle) -> bool {
        let mut lifecycle = lock(&self.lifecycle);
        let allowed = lifecycle.may_become(next);
        if allowed {
            tracing::info!(from = lifecycle.as_str(), to = next.as_str(), "lifecycle");
            *lifecycle = next;
        }
        allowed
    }

    /// Counts an error and keeps it as the last one.
    pub fn record_error(&self, error: &str) {
        self.errors.add(1);
        // A heartbeat is no place for a page of text.
        *lock(&self.last_error) = Some(error.chars().take(300).collect());
    }

    /// The last error in words.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }

    /// Work moved: a fetch was answered, a batch was written, a command was resolved.
    pub fn progressed(&self) {
        self.last_progress_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// A known wait of bounded length begins (such as a vendor's rate-limit window): no progress is expected in it.
    pub fn protect(&self, wait: Duration) {
        self.protected_until_ms.fetch_max(self.now_ms() + wait.as_millis() as u64, Ordering::Relaxed);
    }

    /// Restarts of all actors.
    pub fn num_restarts(&self) -> u64 {
        lock(&self.actors).iter().map(|actor| actor.restarts.get()).sum()
    }

    /// Registers an actor.
    pub fn register(&self, name: &'static str) -> Arc<ActorVitals> {
        let vitals = Arc::new(ActorVitals {
            name,
            restarts: Counter::default(),
            last_pulse_ms: AtomicU64::new(self.now_ms()),
            down: AtomicBool::new(false),
        });
        lock(&self.actors).push(vitals.clone());
        vitals
    }

    /// An actor's arbiter still runs it.
    pub fn pulse(&self, actor: &ActorVitals) {
        actor.last_pulse_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// All actors in the order of their start.
    pub fn actors(&self) -> Vec<ActorLook> {
        let now = self.now_ms();
        let look = |actor: &Arc<ActorVitals>| ActorLook {
            name: actor.name,
            is_down: actor.is_down(),
            num_restarts: actor.restarts.get(),
            silent_for: Duration::from_millis(now.saturating_sub(actor.last_pulse_ms.load(Ordering::Relaxed))),
        };
        lock(&self.actors).iter().map(look).collect()
    }

    /// The parts that have not moved within their bound. `feed_silent_for` is the age of the feed's last poll.
    pub fn late(&self, feed_silent_for: Duration) -> Vec<Late> {
        let feed = Late { part: "feed", silent_for: feed_silent_for };
        let actors = self.actors().into_iter().map(|actor| Late { part: actor.name, silent_for: actor.silent_for });
        std::iter::once(feed).chain(actors).filter(|part| part.silent_for > Late::BOUND).collect()
    }

    /// Judges by what moved, not by what says that it lives. `feed_silent_for` is the age of the feed's last poll.
    pub fn health(&self, stall_after: Duration, feed_silent_for: Duration) -> Health {
        if let Some(late) = self.late(feed_silent_for).first() {
            return Health::Ill(late.to_string());
        }
        let now = self.now_ms();
        let waiting = self.commands_unresolved.get();
        let expected_since =
            self.last_progress_ms.load(Ordering::Relaxed).max(self.protected_until_ms.load(Ordering::Relaxed));
        let still = Duration::from_millis(now.saturating_sub(expected_since));
        if waiting > 0 && still > stall_after {
            return Health::Ill(format!("{waiting} commands wait and nothing has moved for {} s", still.as_secs()));
        }
        Health::Well
    }
}

impl ActorVitals {
    /// Marks the actor as failed and waiting for its restart, or as running again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Whether it waits for a restart.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }
}

/// A panic while the lock was held leaves plain values behind, which are as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_waits_while_nothing_moves_is_illness_and_idleness_is_not() {
        let board = Board::default();
        let at_once = Duration::ZERO;
        board.progressed();
        std::thread::park_timeout(Duration::from_millis(5));
        assert_eq!(board.health(at_once, Duration::ZERO), Health::Well, "nothing waits");
        board.commands_unresolved.add(3);
        let Health::Ill(reason) = board.health(at_once, Duration::ZERO) else { panic!("three commands wait") };
        assert!(reason.starts_with("3 commands wait"), "{reason}");
        assert_eq!(board.health(Duration::from_secs(60), Duration::ZERO), Health::Well);
        board.protect(Duration::from_secs(60));
        assert_eq!(board.health(at_once, Duration::ZERO), Health::Well, "a known wait is no stall");
    }

    #[test]
    fn a_silent_feed_is_illness_even_without_work() {
        let board = Board::default();
        assert!(matches!(board.health(Duration::from_secs(60), Duration::from_secs(31)), Health::Ill(_)));
    }

    #[test]
    fn a_gauge_does_not_fall_below_zero() {
        let gauge = Counter::default();
        gauge.add(2);
        gauge.subtract(5);
        assert_eq!(gauge.get(), 0);
    }
}
