// Upstream: actor, parts, ticks
// Downstream: domain, pipeline, ports, settings, source_circuit, supervision
// Role: Calls the sources of a kind of data in their order, with retries, and returns the first answer.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::{Semaphore, watch};

use crate::domain::SourceId;
use crate::fetcher::source_circuit::SourceCircuits;
use crate::pipeline::TaskGuard;
use crate::ports::{DataKind, MarketSource, MarketSources, SourceError, SourceErrorKind, Swappable};
use crate::settings::{ActorSettings, FetchSettings, ms};
use crate::supervision::{MetricEvent, StatusBoard};

/// Maximum time between two looks of a task that waits for a refusing source at its partition and its sources.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of tasks that wait for a refusing source without a fetch slot. The exchange of Beijing, which some
/// sources lack, has 300 securities.
const MAX_WITHOUT_SLOT: usize = 1_000;

/// Maximum number of concurrent fetches of tasks that gave up their slots.
const MAX_FETCHES_WITHOUT_SLOT: usize = 4;

/// Calls sources with retries and fallbacks.
pub(crate) struct SourceCaller {
    sources: Arc<Swappable<dyn MarketSources>>,
    /// The settings in force; a change ends the wait before the next attempt.
    settings: watch::Receiver<Arc<ActorSettings>>,
    circuits: Arc<SourceCircuits>,
    /// Permits to wait without a fetch slot.
    without_slot: Semaphore,
    /// Permits to fetch without a fetch slot.
    turns: Semaphore,
    board: Arc<StatusBoard>,
}

/// A fetch that no source answered.
pub(crate) struct FetchFailed {
    /// The error of the preferred source.
    pub(crate) error: SourceError,
    /// Number of attempts at all sources.
    pub(crate) attempts: u32,
}

/// Why there is no answer.
pub(crate) enum NotFetched {
    /// The sources failed.
    Failed(FetchFailed),
    /// The partition was withdrawn while the task waited for a source. Its next owner executes the command.
    Withdrawn,
}

/// The outcome of a fetch at one source.
enum Called<T> {
    Answer((T, SourceId)),
    Failed(FetchFailed),
    /// The source refuses the account and is not asked now.
    Refuses(Arc<dyn MarketSource>),
}

/// The outcome of a fetch at all sources.
enum Round<T> {
    Answer((T, SourceId)),
    Failed(FetchFailed),
    /// Only these sources have the rows, and they refuse the account.
    Refused {
        sources: Vec<Arc<dyn MarketSource>>,
        /// Whether further sources have other rows of this kind.
        has_others: bool,
    },
}

impl SourceCaller {
    pub(crate) fn new(
        sources: Arc<Swappable<dyn MarketSources>>,
        settings: watch::Receiver<Arc<ActorSettings>>,
        circuits: Arc<SourceCircuits>,
        board: Arc<StatusBoard>,
    ) -> Self {
        let (without_slot, turns) = (Semaphore::new(MAX_WITHOUT_SLOT), Semaphore::new(MAX_FETCHES_WITHOUT_SLOT));
        Self { sources, settings, circuits, without_slot, turns, board }
    }

    fn settings(&self) -> Arc<ActorSettings> {
        self.settings.borrow().clone()
    }

    /// Calls the sources of this kind one after the other until one answers. Returns the answer and its source. While
    /// the only sources with the rows refuse the account, it waits for them.
    pub(crate) async fn fetch<T>(
        &self,
        kind: DataKind,
        call: impl AsyncFn(Arc<dyn MarketSource>) -> Result<T, SourceError>,
        guard: &mut TaskGuard,
    ) -> Result<(T, SourceId), NotFetched> {
        let (mut without_slot, mut turn) = (None, None);
        loop {
            let (sources, has_others) = match self.call_sources(kind, &call, guard).await {
                Round::Answer(answer) => return Ok(answer),
                Round::Failed(failed) => return Err(NotFetched::Failed(failed)),
                Round::Refused { sources, has_others } => (sources, has_others),
            };
            drop(turn.take());
            // Where another source has most of the rows, the tasks that wait leave it the slots. A task of ticks
            // fetches many days, so it keeps its slot.
            if has_others && without_slot.is_none() && kind != DataKind::Ticks {
                without_slot = self.without_slot.try_acquire().ok();
                without_slot.iter().for_each(|_| guard.free_slot());
            }
            self.wait_for(kind, &sources, guard).await?;
            if without_slot.is_some() {
                // The semaphore is never closed.
                turn = self.turns.acquire().await.ok();
            }
        }
    }

    /// Forgets refusals of sources that are no longer configured, because a reload may have exchanged them.
    pub(crate) fn reloaded(&self) {
        let names: Vec<&str> = self.sources.pin().all().iter().map(|source| source.name()).collect();
        self.circuits.keep(|name| names.contains(&name));
    }

    async fn call_sources<T>(
        &self,
        kind: DataKind,
        call: &impl AsyncFn(Arc<dyn MarketSource>) -> Result<T, SourceError>,
        guard: &mut TaskGuard,
    ) -> Round<T> {
        let (mut failed, mut refused): (Option<FetchFailed>, Vec<Arc<dyn MarketSource>>) = (None, Vec::new());
        let mut place = 0;
        while let Some(called) = self.call_source(kind, place, call, guard).await {
            match called {
                Called::Answer(answer) => return Round::Answer(answer),
                Called::Refuses(source) => refused.push(source),
                Called::Failed(FetchFailed { error, attempts }) => {
                    if is_offered(&error) {
                        tracing::warn!(subject = %guard.subject(), attempts, %error, "the source failed permanently");
                    } else {
                        tracing::debug!(subject = %guard.subject(), %error, "the source does not offer this");
                    }
                    failed = Some(match failed.take() {
                        None => FetchFailed { error, attempts },
                        Some(first) => FetchFailed {
                            attempts: first.attempts + attempts,
                            error: worth_reporting(first.error, error),
                        },
                    });
                }
            }
            if guard.is_lost() {
                break;
            }
            place += 1;
        }
        match failed {
            Some(failed) if refused.is_empty() || is_offered(&failed.error) => Round::Failed(failed),
            failed if !refused.is_empty() => Round::Refused { sources: refused, has_others: failed.is_some() },
            _ => {
                let kind = SourceErrorKind::NotOffered(kind);
                let error = SourceError { source_name: "(none)", request: guard.subject().to_string(), kind };
                Round::Failed(FetchFailed { error, attempts: 0 })
            }
        }
    }

    /// Waits until one of these sources may be asked again, or a reload exchanges one. It fails when the partition is
    /// withdrawn.
    async fn wait_for(
        &self,
        kind: DataKind,
        sources: &[Arc<dyn MarketSource>],
        guard: &TaskGuard,
    ) -> Result<(), NotFetched> {
        let _waiting = self.board.refused_sources.begin_wait();
        tracing::debug!(subject = %guard.subject(), "the fetch waits until the source accepts the account");
        loop {
            let is_due = self.circuits.wait(sources, LOOK_INTERVAL).await;
            if !guard.is_held() {
                return Err(NotFetched::Withdrawn);
            }
            let configured = self.sources.pin().of(kind);
            let is_configured = |source: &Arc<dyn MarketSource>| configured.iter().any(|now| Arc::ptr_eq(now, source));
            if is_due || !sources.iter().all(is_configured) {
                return Ok(());
            }
        }
    }

    /// Calls the source at this place of the order, with at most `max_attempts` attempts. Permanent errors are not
    /// retried. `None` if there is no source at this place.
    async fn call_source<T>(
        &self,
        kind: DataKind,
        place: usize,
        call: &impl AsyncFn(Arc<dyn MarketSource>) -> Result<T, SourceError>,
        guard: &mut TaskGuard,
    ) -> Option<Called<T>> {
        let (mut attempt, mut num_refusals) = (1, 0);
        loop {
            // Looked up for each attempt, because a reload may have replaced the source or its token.
            let sources = self.sources.pin().of(kind);
            let source = sources.get(place)?.clone();
            let is_last = place + 1 >= sources.len();
            let Ok(permit) = self.circuits.admit(&source) else { return Some(Called::Refuses(source)) };
            let begun = Instant::now();
            let answer = match self.bounded(source.as_ref(), guard, call(source.clone())).await {
                // Nothing was sent: a reload replaced the source.
                Err(error) if error.kind == SourceErrorKind::Replaced => continue,
                // Nothing was sent, so there is no call to count.
                Err(error) if matches!(error.kind, SourceErrorKind::NotCovered(_)) => {
                    return Some(Called::Failed(FetchFailed { error, attempts: 0 }));
                }
                answer => answer,
            };
            let (error, duration) = (answer.as_ref().err(), begun.elapsed());
            guard.trace.sources.called(source.name(), error.is_some(), duration);
            self.board.observe(&MetricEvent::FetchEnded { source: source.name(), error, duration });
            let is_same_source = || self.sources.pin().of(kind).get(place).is_some_and(|now| Arc::ptr_eq(now, &source));
            // A refusal of an earlier login says nothing about the one that is configured now.
            if error.is_some_and(|error| error.kind.is_refused_login()) && !is_same_source() {
                continue;
            }
            let refuses = permit.ended(error);
            let error = match answer {
                Ok(answer) => return Some(Called::Answer((answer, source.id()))),
                Err(error) => error,
            };
            self.board.progress.progressed();
            if refuses {
                return Some(Called::Refuses(source));
            }
            let settings = self.settings();
            let refusal = refusal(&error.kind, is_last, &settings).filter(|_| num_refusals < MAX_REFUSALS);
            let next = refusal
                .or_else(|| retry_delay(attempt, &settings))
                .filter(|_| error.kind.is_transient() && !guard.is_lost());
            let Some(delay) = next else { return Some(Called::Failed(FetchFailed { error, attempts: attempt })) };
            let delay = wait_before_retry(&error.kind, delay, &settings);
            tracing::warn!(subject = %guard.subject(), attempt, %error, retry_in = ?delay, "fetch failed, will retry");
            self.board.observe(&MetricEvent::FetchRetried { error: &error, wait: delay });
            self.board.progress.expect_wait(delay);
            self.wait(delay, &settings.fetch, is_same_source).await;
            match refusal {
                Some(_) => num_refusals += 1,
                None => attempt += 1,
            }
        }
    }

    /// Ends an attempt that takes too long.
    async fn bounded<T>(
        &self,
        source: &dyn MarketSource,
        guard: &TaskGuard,
        attempt: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let limit = ms(self.settings().fetch.attempt_timeout_ms);
        let too_long = |_| {
            let kind = SourceErrorKind::Timeout(limit);
            Err(SourceError { source_name: source.name(), request: guard.subject().to_string(), kind })
        };
        actix_rt::time::timeout(limit, attempt).await.unwrap_or_else(too_long)
    }

    /// Waits before the next attempt. A reload that changes the source or its retry settings ends the wait.
    async fn wait(&self, delay: Duration, policy: &FetchSettings, is_same_source: impl Fn() -> bool) {
        let mut settings = self.settings.clone();
        let is_same = |settings: &Arc<ActorSettings>| settings.fetch == *policy && is_same_source();
        // An error means that the worker ends.
        let reloaded = settings.wait_for(|settings| !is_same(settings));
        let _over_or_reloaded = actix_rt::time::timeout(delay, reloaded).await;
    }
}

/// Whether the source has such data at all.
fn is_offered(error: &SourceError) -> bool {
    !matches!(error.kind, SourceErrorKind::NotCovered(_) | SourceErrorKind::NotOffered(_))
}

/// The error to report of two: that of a source that has such data, and otherwise that of the preferred source.
fn worth_reporting(first: SourceError, next: SourceError) -> SourceError {
    let is_next = match (&first.kind, &next.kind) {
        // A source without this kind of data is no reason to call that of another one an error.
        (SourceErrorKind::NotOffered(_), SourceErrorKind::NotCovered(_)) => true,
        _ => !is_offered(&first) && is_offered(&next),
    };
    if is_next { next } else { first }
}

/// Maximum number of rate-limit refusals after which one fetch waits and tries again: half an hour of one-minute
/// windows. A daily limit takes longer, so the fetch fails.
const MAX_REFUSALS: u32 = 30;

/// The delay after a refusal by the vendor's rate limit that does not count as a failed attempt. `None` if the error
/// counts as a failed attempt: it is another error, or the wait is long and a further source may answer.
fn refusal(kind: &SourceErrorKind, is_last: bool, settings: &ActorSettings) -> Option<Duration> {
    match kind {
        SourceErrorKind::RateLimited { retry_after, .. } => {
            let is_short = *retry_after <= ms(settings.fetch.max_retry_delay_ms) / 10;
            (is_last || is_short).then(|| ms(settings.fetch.first_retry_delay_ms))
        }
        _ => None,
    }
}

/// The delay before a retry. The vendor's own `Retry-After` is respected up to `fetch.max_retry_delay_ms`.
fn wait_before_retry(kind: &SourceErrorKind, delay: Duration, settings: &ActorSettings) -> Duration {
    let wanted = match kind {
        SourceErrorKind::RateLimited { retry_after, .. } => (*retry_after).max(delay),
        _ => delay,
    };
    wanted.min(ms(settings.fetch.max_retry_delay_ms))
}

/// The delay after this attempt; `None` if it was the last one.
fn retry_delay(attempt: u32, settings: &ActorSettings) -> Option<Duration> {
    let fetch = &settings.fetch;
    let mut delays = ExponentialBuilder::default()
        .with_min_delay(ms(fetch.first_retry_delay_ms))
        .with_max_delay(ms(fetch.max_retry_delay_ms))
        .with_jitter()
        .with_max_times(fetch.max_attempts.saturating_sub(1) as usize)
        .build();
    delays.nth(attempt.saturating_sub(1) as usize)
}
