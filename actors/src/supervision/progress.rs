// Upstream: board, data_worker, heartbeat, supervision, vitals
// Downstream: counters, domain
// Role: Actor pulses and the time of the last progress, and the health derived from them.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

use crate::domain::counted;
use crate::supervision::counters::Counter;

/// Value of `last_beat_ms` before the first heartbeat.
const NEVER: u64 = u64::MAX;

/// Times of progress, heartbeats and actor pulses, in milliseconds since the worker's start.
#[derive(Debug)]
pub struct Progress {
    started_at: Instant,
    last_progress_ms: AtomicU64,
    last_beat_ms: AtomicU64,
    protected_until_ms: AtomicU64,
    actors: Mutex<Vec<Arc<ActorRecord>>>,
}

/// The state of one actor for its supervisor.
#[derive(Debug)]
pub struct ActorRecord {
    /// The actor's name.
    pub name: &'static str,
    /// Number of restarts since the worker's start.
    pub restarts: Counter,
    last_pulse_ms: AtomicU64,
    down: AtomicBool,
}

/// A snapshot of one actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActorSnapshot {
    /// The actor's name.
    pub name: &'static str,
    /// Whether the actor failed and waits for a restart.
    pub is_down: bool,
    /// Number of restarts since the worker's start.
    pub num_restarts: u64,
    /// Time since its last pulse.
    pub silent_for: Duration,
}

/// An actor or the command feed without a sign of activity for longer than [`Stalled::BOUND`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stalled {
    /// The actor's name, or `feed`.
    pub part: &'static str,
    /// Time since its last pulse or poll.
    pub silent_for: Duration,
}

impl Stalled {
    /// Maximum time without a pulse or a poll. It is a large multiple of the pulse interval and of the feed's poll.
    pub const BOUND: Duration = Duration::from_secs(30);
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.silent_for.as_secs();
        match self.part {
            "feed" => write!(f, "the command feed has not polled for {seconds} s"),
            actor => write!(f, "actor {actor} has not responded for {seconds} s"),
        }
    }
}

/// The health of the worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The work makes progress, or there is no work.
    Healthy,
    /// An actor, the feed or the work is stalled; contains the reason.
    Unhealthy(String),
    /// Fetches wait for a source that refuses the account; contains the reason.
    SourceRefuses(String),
}

impl Health {
    /// Why the worker is not healthy.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Healthy => None,
            Self::Unhealthy(reason) | Self::SourceRefuses(reason) => Some(reason),
        }
    }
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
        // The uptime in milliseconds fits into 64 bits.
        self.started_at.elapsed().as_millis() as u64
    }

    /// Time since the worker's start.
    pub fn uptime(&self) -> Duration {
        self.started_at.elapsed()
    }

    /// Records progress: a fetch was answered, a batch was written or a command was resolved.
    pub fn progressed(&self) {
        self.last_progress_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Time since the last progress.
    pub fn since_last_progress(&self) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(self.last_progress_ms.load(Ordering::Relaxed)))
    }

    /// Starts a known wait of bounded length, such as a vendor's rate-limit window. No progress is expected during it.
    pub fn expect_wait(&self, wait: Duration) {
        self.protected_until_ms.fetch_max(self.now_ms() + wait.as_millis() as u64, Ordering::Relaxed);
    }

    /// Records that the heartbeat store accepted a heartbeat.
    pub fn beat(&self) {
        self.last_beat_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// Time since the heartbeat store last accepted a heartbeat; `None` before the first one.
    pub fn since_last_beat(&self) -> Option<Duration> {
        let last = self.last_beat_ms.load(Ordering::Relaxed);
        (last != NEVER).then(|| Duration::from_millis(self.now_ms().saturating_sub(last)))
    }

    /// Registers an actor.
    pub fn register(&self, name: &'static str) -> Arc<ActorRecord> {
        let vitals = Arc::new(ActorRecord {
            name,
            restarts: Counter::default(),
            last_pulse_ms: AtomicU64::new(self.now_ms()),
            down: AtomicBool::new(false),
        });
        self.lock_actors().push(vitals.clone());
        vitals
    }

    /// Records a pulse: the actor's arbiter still runs it.
    pub fn pulse(&self, actor: &ActorRecord) {
        actor.last_pulse_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    /// All actors in the order of their start.
    pub fn actors(&self) -> Vec<ActorSnapshot> {
        let now = self.now_ms();
        let snapshot = |actor: &Arc<ActorRecord>| ActorSnapshot {
            name: actor.name,
            is_down: actor.is_down(),
            num_restarts: actor.restarts.get(),
            silent_for: Duration::from_millis(now.saturating_sub(actor.last_pulse_ms.load(Ordering::Relaxed))),
        };
        self.lock_actors().iter().map(snapshot).collect()
    }

    /// Number of restarts of all actors.
    pub fn num_restarts(&self) -> u64 {
        self.lock_actors().iter().map(|actor| actor.restarts.get()).sum()
    }

    /// The stalled actors and feed. `feed_silent_for` is the time since the feed's last poll.
    pub fn stalled(&self, feed_silent_for: Duration) -> Vec<Stalled> {
        let feed = Stalled { part: "feed", silent_for: feed_silent_for };
        let actors = self.actors().into_iter().map(|actor| Stalled { part: actor.name, silent_for: actor.silent_for });
        std::iter::once(feed).chain(actors).filter(|part| part.silent_for > Stalled::BOUND).collect()
    }

    /// The worker's health. The worker is unhealthy if an actor or the feed is stalled, or if commands wait without
    /// progress for longer than `stall_after`. `feed_silent_for` is the time since the feed's last poll.
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
            let (commands, wait) =
                (counted(num_unresolved, "command"), if num_unresolved == 1 { "waits" } else { "wait" });
            return Health::Unhealthy(format!("{commands} {wait} without progress for {seconds} s"));
        }
        Health::Healthy
    }

    /// Locks the actors. A poisoned lock is used as is, because its plain values are still valid after a panic.
    fn lock_actors(&self) -> MutexGuard<'_, Vec<Arc<ActorRecord>>> {
        self.actors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ActorRecord {
    /// Marks the actor as failed and waiting for its restart, or as running again.
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }

    /// Whether the actor waits for a restart.
    pub fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }
}
