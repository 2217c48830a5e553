// Upstream: many
// Downstream: counters, domain, metric_event, ports, progress, refused_sources
// Role: The shared status of the worker: lifecycle, counters, progress, last error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};

use crate::domain::clock::utc_now;
use crate::domain::{Lifecycle, shanghai_clock};
use crate::ports::{FeedState, IntakeGate, OldestCommand};
use crate::supervision::counters::Counters;
use crate::supervision::metric_event::{CommandOutcome, MetricEvent, NoObserver, Observer};
use crate::supervision::progress::{Health, Progress};
use crate::supervision::refused_sources::RefusedSources;

/// Maximum length of an error text, in characters. It limits the size of the heartbeat.
const MAX_ERROR_CHARS: usize = 300;

/// The status of the worker, shared by all actors. Every method is cheap and holds a lock only for the time of a copy.
#[derive(Debug)]
pub struct StatusBoard {
    observer: Arc<dyn Observer>,
    /// Whether new commands are accepted, and if not, why.
    pub gate: IntakeGate,
    /// Counters and gauges.
    pub counters: Counters,
    /// Progress of the work and of the actors.
    pub progress: Progress,
    lifecycle: Mutex<Lifecycle>,
    last_error: Mutex<Option<(String, DateTime<Utc>)>>,
    /// The health, and since when it is so.
    health: Mutex<(Health, DateTime<Utc>)>,
    /// The sources that refuse the account.
    pub refused_sources: RefusedSources,
    calendar_end: Mutex<Option<NaiveDate>>,
    rival: Mutex<Option<String>>,
}

impl Default for StatusBoard {
    fn default() -> Self {
        Self::observed_by(Arc::new(NoObserver))
    }
}

impl StatusBoard {
    /// Creates a board that forwards each event to `observer`.
    pub fn observed_by(observer: Arc<dyn Observer>) -> Self {
        Self {
            observer,
            gate: IntakeGate::default(),
            counters: Counters::default(),
            progress: Progress::default(),
            lifecycle: Mutex::new(Lifecycle::Stopped),
            last_error: Mutex::default(),
            health: Mutex::new((Health::Healthy, utc_now())),
            refused_sources: RefusedSources::default(),
            calendar_end: Mutex::default(),
            rival: Mutex::default(),
        }
    }

    /// Counts an event and forwards it to the observer.
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

    /// The worker's health, given the state of its command feed.
    pub fn health(&self, stall_after: Duration, feed: &FeedState) -> Health {
        if let Some(rival) = self.rival() {
            return Health::Unhealthy(rival);
        }
        if let Some(fault) = &feed.fault {
            return Health::Unhealthy(fault.clone());
        }
        let is_alive = || self.progress.stalled(feed.since_last_poll).is_empty();
        if let Some(reason) = self.refused_sources.reason_to_wait().filter(|_| is_alive()) {
            return Health::SourceRefuses(reason);
        }
        let unresolved = self.counters.commands_unresolved.get();
        match (self.progress.health(unresolved, stall_after, feed.since_last_poll), &feed.oldest) {
            (Health::Unhealthy(reason), Some(OldestCommand { command, age })) => {
                Health::Unhealthy(format!("{reason}; the oldest is {command}, for {} s", age.as_secs()))
            }
            (health, _) => health,
        }
    }

    /// The reason why the last heartbeat reported the worker as unhealthy; `None` if it was healthy.
    pub fn unhealthy_reason(&self) -> Option<String> {
        lock(&self.health).0.reason().map(str::to_owned)
    }

    /// The reason to report as a failure of the worker. A source that refuses the account has an alert of its own.
    pub fn failure_of_worker(&self) -> Option<String> {
        match &lock(&self.health).0 {
            Health::Unhealthy(reason) => Some(reason.clone()),
            Health::Healthy | Health::SourceRefuses(_) => None,
        }
    }

    /// Sets the health that a heartbeat reports. Returns whether the worker became healthy or unhealthy.
    pub fn set_health(&self, health: Health) -> bool {
        let mut known = lock(&self.health);
        let has_changed = known.0.reason().is_some() != health.reason().is_some();
        let since = if has_changed { utc_now() } else { known.1 };
        *known = (health, since);
        has_changed
    }

    /// Sets the last day of the trading calendar in use.
    pub fn set_calendar_end(&self, end: Option<NaiveDate>) {
        *lock(&self.calendar_end) = end;
    }

    /// The number of days from today to the last known trading day; negative after it; `None` until the calendar is
    /// read.
    pub fn calendar_days_left(&self) -> Option<i64> {
        let end = *lock(&self.calendar_end);
        end.map(|end| (end - shanghai_clock::today()).num_days())
    }

    /// The other worker that has the same node id, as a text for operators, if there is one.
    pub fn rival(&self) -> Option<String> {
        lock(&self.rival).clone()
    }

    /// Sets the other worker that has the same node id. Returns whether it is another one than before.
    pub fn set_rival(&self, rival: Option<String>) -> bool {
        let mut known = lock(&self.rival);
        let has_changed = *known != rival;
        *known = rival;
        has_changed
    }

    /// The lifecycle state of the worker.
    pub fn lifecycle(&self) -> Lifecycle {
        *lock(&self.lifecycle)
    }

    /// Changes the lifecycle to `next` if the transition is allowed. Returns whether it changed.
    pub fn enter(&self, next: Lifecycle) -> bool {
        let mut lifecycle = lock(&self.lifecycle);
        let allowed = lifecycle.may_become(next);
        if allowed {
            tracing::info!(from = lifecycle.as_str(), to = next.as_str(), "lifecycle changed");
            *lifecycle = next;
        }
        allowed
    }

    /// Counts an error and stores it as the last error.
    pub fn record_error(&self, error: &str) {
        self.counters.errors.add(1);
        *lock(&self.last_error) = Some((shorten(error), utc_now()));
    }

    /// Why the worker is unhealthy; while it is healthy, the text of the last error.
    pub fn last_error(&self) -> Option<String> {
        self.dated_error().map(|(error, _)| error)
    }

    /// How long ago the error of [`last_error`](Self::last_error) came; of a reason, for how long it lasts.
    pub fn last_error_age(&self) -> Option<Duration> {
        let (_, since) = self.dated_error()?;
        Some((utc_now() - since).to_std().unwrap_or_default())
    }

    fn dated_error(&self) -> Option<(String, DateTime<Utc>)> {
        let reason = {
            let health = lock(&self.health);
            health.0.reason().map(|reason| (shorten(reason), health.1))
        };
        reason.or_else(|| lock(&self.last_error).clone())
    }
}

fn shorten(error: &str) -> String {
    error.chars().take(MAX_ERROR_CHARS).collect()
}

/// Locks a mutex. A poisoned lock is used as is, because its plain values are still valid after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unhealthy_when_pending_work_stalls() {
        let board = StatusBoard::default();
        let (at_once, feed) = (Duration::ZERO, FeedState::default());
        board.progress.progressed();
        std::thread::park_timeout(Duration::from_millis(5));
        assert_eq!(board.health(at_once, &feed), Health::Healthy, "nothing waits");
        board.counters.commands_unresolved.add(3);
        let Health::Unhealthy(reason) = board.health(at_once, &feed) else { panic!("three commands wait") };
        assert!(reason.starts_with("3 commands wait"), "{reason}");
        assert_eq!(board.health(Duration::from_secs(60), &feed), Health::Healthy);
        board.progress.expect_wait(Duration::from_secs(60));
        assert_eq!(board.health(at_once, &feed), Health::Healthy, "a known wait is not a stall");
    }

    #[test]
    fn last_error_is_the_reason_while_unhealthy() {
        let board = StatusBoard::default();
        board.set_health(Health::SourceRefuses("12 fetches wait".to_owned()));
        board.record_error("a dead letter");
        assert_eq!(board.last_error().as_deref(), Some("12 fetches wait"));
        board.set_health(Health::Healthy);
        assert_eq!(board.last_error().as_deref(), Some("a dead letter"));
        assert!(board.last_error_age().is_some_and(|age| age < Duration::from_secs(600)));
        assert_eq!(StatusBoard::default().last_error_age(), None);
    }

    #[test]
    fn silent_or_excluded_feed_is_unhealthy_even_without_work() {
        let board = StatusBoard::default();
        let silent = FeedState { since_last_poll: Duration::from_secs(31), ..FeedState::default() };
        let excluded = FeedState { fault: Some("not a member".to_owned()), ..FeedState::default() };
        for feed in [silent, excluded] {
            assert!(matches!(board.health(Duration::from_secs(60), &feed), Health::Unhealthy(_)), "{feed:?}");
        }
    }
}
