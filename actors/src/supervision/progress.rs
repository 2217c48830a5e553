// Upstream: board, data_worker, heartbeat, supervision, vitals
// Downstream: counters
// Role: Whether work moves: actor pulses, the last progress, and the health that follows from them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::supervision::counters::Counter;

/// A heartbeat that was never sent.
const NEVER: u64 = u64::MAX;

/// Times in milliseconds since the worker's start.
#[derive(Debug)]
pub struct Progress {
    started_at: Instant,
    last_progress_ms: AtomicU64,
    last_beat_ms: AtomicU64,
    protected_until_ms: AtomicU64,
    actors: Mutex<Vec<Arc<ActorVitals>>>,
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

/// A snapshot of one actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorSnapshot {
    /// Its name.
    pub name: &'static str,
    /// Whether it waits for a restart.
    pub is_down: bool,
    /// Restarts since the start.
    pub num_restarts: u64,
    /// Time since its last pulse.
    pub silent_for: Duration,
}

/// A part of the worker that has not moved within its bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stalled {
    /// The actor's name, or `feed`.
    pub part: &'static str,
    /// Time since it last moved.
    pub silent_for: Duration,
}

impl Stalled {
    /// The longest that a part may be silent: many times the pulse's interval and the feed's poll.
    pub const BOUND: Duration = Duration::from_secs(30);
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.silent_for.as_secs();
        match self.part {
            "feed" => write!(f, "the command feed has not polled for {seconds} s"),
            actor => write!(f, "actor {actor} has not moved for {seconds} s"),
        }
    }
}

/// Whether the worker does what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Work moves, or there is none.
    Healthy,
    /// Something stands still; the reason in words.
    Unhealthy(String),
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            started_at: Instant::now(),
            last_progress_ms: AtomicU64::default(),
            last_beat_ms: AtomicU64::new(NEVER),
            protected_until_ms: AtomicU64::default(),
            actors: Mutex::default(),
        }
    }
}

impl Progress {
    fn now_ms(&self) -> u64 {
        // Milliseconds of a process's life fit 64 bits for half a billion years.
        self.started_at.elapsed().as_millis() as u64
    }

    /// Time since the worker's start.
    pub fn uptime(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Work moved: a fetch was answered, a batch was written, a command was resolved.
    pub fn progressed(&self) {
        self.last_progress_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Time since work last moved.
    pub fn since_last_progress(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_progress_ms.load(Ordering::Relaxed)))
    }

    /// A known wait of bounded length begins, such as a vendor's rate-limit window: no progress is expected in it.
    pub fn protect(&self, wait: Duration) {
        self.protected_until_ms.fetch_max(self.now_ms() + wait.as_millis() as u64, Ordering::Relaxed);
    }

    /// The heartbeat store took a heartbeat.
    pub fn beat(&self) {
        self.last_beat_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Time since the heartbeat store last took a heartbeat.
    pub fn since_last_beat(&self) -> Option<Duration> {
        let last = self.last_beat_ms.load(Ordering::Relaxed);
        (last != NEVER).then(|| Duration::from_millis(self.now_ms().saturating_sub(last)))
    }

    /// Registers an actor.
    pub fn register(&self, name: &'static str) -> Arc<ActorVitals> {
        let vitals = Arc::new(ActorVitals {
            name,
            restarts: Counter::default(),
            last_pulse_ms: AtomicU64::new(self.now_ms()),
            down: AtomicBool::new(false),
        });
        self.lock_actors().push(vitals.clone());
        vitals
    }

    /// An actor's arbiter still runs it.
    pub fn pulse(&self, actor: &ActorVitals) {
        actor.last_pulse_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// All actors in the order of their start.
    pub fn actors(&self) -> Vec<ActorSnapshot> {
        let now = self.now_ms();
        let snapshot = |actor: &Arc<ActorVitals>| ActorSnapshot {
            name: actor.name,
            is_down: actor.is_down(),
            num_restarts: actor.restarts.get(),
            silent_for: Duration::from_millis(now.saturating_sub(actor.last_pulse_ms.load(Ordering::Relaxed))),
        };
        self.lock_actors().iter().map(snapshot).collect()
    }

    /// Restarts of all actors.
    pub fn num_restarts(&self) -> u64 {
        self.lock_actors().iter().map(|actor| actor.restarts.get()).sum()
    }

    /// The parts that have not moved within their bound. `feed_silent_for` is the age of the feed's last poll.
    pub fn stalled(&self, feed_silent_for: Duration) -> Vec<Stalled> {
        let feed = Stalled { part: "feed", silent_for: feed_silent_for };
        let actors = self.actors().into_iter().map(|actor| Stalled { part: actor.name, silent_for: actor.silent_for });
        std::iter::once(feed).chain(actors).filter(|part| part.silent_for > Stalled::BOUND).collect()
    }

    /// The worker's health, by what moved. `feed_silent_for` is the age of the feed's last poll.
    pub fn health(&self, num_unresolved: u64, stall_after: Duration, feed_silent_for: Duration) -> Health {
        if let Some(stalled) = self.stalled(feed_silent_for).first() {
            return Health::Unhealthy(stalled.to_string());
        }
        let now = self.now_ms();
        let expected_since =
            self.last_progress_ms.load(Ordering::Relaxed).max(self.protected_until_ms.load(Ordering::Relaxed));
        let still = Duration::from_millis(now.saturating_sub(expected_since));
        if num_unresolved > 0 && still > stall_after {
            let seconds = still.as_secs();
            return Health::Unhealthy(format!("{num_unresolved} commands wait and nothing has moved for {seconds} s"));
        }
        Health::Healthy
    }

    /// A panic while the lock was held leaves plain values behind, which are still valid.
    fn lock_actors(&self) -> MutexGuard<'_, Vec<Arc<ActorVitals>>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
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
