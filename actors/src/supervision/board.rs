// Upstream: many
// Downstream: counters, domain, metric_event, ports, progress
// Role: What all actors know of the running worker: lifecycle, counters, progress, last error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::Lifecycle;
use crate::ports::IntakeGate;
use crate::supervision::counters::Counters;
use crate::supervision::metric_event::{CommandOutcome, MetricEvent, NoObserver, Observer};
use crate::supervision::progress::{Health, Progress};

/// The longest error text that is kept: a heartbeat is no place for a page of text.
const MAX_ERROR_CHARS: usize = 300;

/// Shared by all actors; every method is cheap and holds no lock for longer than a copy.
#[derive(Debug)]
pub struct StatusBoard {
    observer: Arc<dyn Observer>,
    /// Whether new commands are taken, and why not.
    pub gate: IntakeGate,
    /// What was done and what is held.
    pub counters: Counters,
    /// Whether work moves.
    pub progress: Progress,
    lifecycle: Mutex<Lifecycle>,
    last_error: Mutex<Option<String>>,
    unhealthy_reason: Mutex<Option<String>>,
}

impl Default for StatusBoard {
    fn default() -> Self {
        Self::observed_by(Arc::new(NoObserver))
    }
}

impl StatusBoard {
    /// A board that passes each event on to `observer`.
    pub fn observed_by(observer: Arc<dyn Observer>) -> Self {
        Self {
            observer,
            gate: IntakeGate::default(),
            counters: Counters::default(),
            progress: Progress::default(),
            lifecycle: Mutex::new(Lifecycle::Stopped),
            last_error: Mutex::default(),
            unhealthy_reason: Mutex::default(),
        }
    }

    /// Counts an event and passes it on to the observer.
    pub fn observe(&self, event: &MetricEvent<'_>) {
        match event {
            MetricEvent::CommandEnded(outcome) => {
                match outcome {
                    CommandOutcome::Done => {}
                    CommandOutcome::PassedOver => self.counters.commands_passed_over.add(1),
                    CommandOutcome::Split => self.counters.commands_split.add(1),
                    CommandOutcome::DeadLetter(_) => self.counters.commands_dead_lettered.add(1),
                }
                self.counters.commands_resolved.add(1);
                self.progress.progressed();
            }
            MetricEvent::HeartbeatSent { arrived: true } => self.progress.beat(),
            _ => {}
        }
        self.observer.observe(event);
    }

    /// The worker's health. `feed_silent_for` is the age of the feed's last poll.
    pub fn health(&self, stall_after: Duration, feed_silent_for: Duration) -> Health {
        self.progress.health(self.counters.commands_unresolved.get(), stall_after, feed_silent_for)
    }

    /// Why the worker is unhealthy, by its last heartbeat.
    pub fn unhealthy_reason(&self) -> Option<String> {
        lock(&self.unhealthy_reason).clone()
    }

    /// The worker stands still, or moves again. Returns whether this changed.
    pub fn set_unhealthy_reason(&self, reason: Option<String>) -> bool {
        let mut known = lock(&self.unhealthy_reason);
        let has_changed = known.is_some() != reason.is_some();
        *known = reason;
        has_changed
    }

    /// The state of the worker's lifecycle.
    pub fn lifecycle(&self) -> Lifecycle {
        *lock(&self.lifecycle)
    }

    /// Goes on to `next` where the lifecycle allows it; returns whether it did.
    pub fn enter(&self, next: Lifecycle) -> bool {
        let mut lifecycle = lock(&self.lifecycle);
        let allowed = lifecycle.may_become(next);
        if allowed {
            tracing::info!(from = lifecycle.as_str(), to = next.as_str(), "lifecycle changed");
            *lifecycle = next;
        }
        allowed
    }

    /// Counts an error and keeps it as the last one.
    pub fn record_error(&self, error: &str) {
        self.counters.errors.add(1);
        *lock(&self.last_error) = Some(error.chars().take(MAX_ERROR_CHARS).collect());
    }

    /// The last error in words.
    pub fn last_error(&self) -> Option<String> {
        lock(&self.last_error).clone()
    }
}

/// A panic while the lock was held leaves plain values behind, which are still valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_waits_while_nothing_moves_is_illness_and_idleness_is_not() {
        let board = StatusBoard::default();
        let at_once = Duration::ZERO;
        board.progress.progressed();
        std::thread::park_timeout(Duration::from_millis(5));
        assert_eq!(board.health(at_once, Duration::ZERO), Health::Healthy, "nothing waits");
        board.counters.commands_unresolved.add(3);
        let Health::Unhealthy(reason) = board.health(at_once, Duration::ZERO) else { panic!("three commands wait") };
        assert!(reason.starts_with("3 commands wait"), "{reason}");
        assert_eq!(board.health(Duration::from_secs(60), Duration::ZERO), Health::Healthy);
        board.progress.protect(Duration::from_secs(60));
        assert_eq!(board.health(at_once, Duration::ZERO), Health::Healthy, "a known wait is no stall");
    }

    #[test]
    fn a_silent_feed_is_illness_even_without_work() {
        let board = StatusBoard::default();
        assert!(matches!(board.health(Duration::from_secs(60), Duration::from_secs(31)), Health::Unhealthy(_)));
    }
}
