// Upstream: actor, parts, ticks
// Downstream: domain, pipeline, ports, settings, supervision
// Role: Calls the sources of a kind of data in their order, with retries, and returns the first answer.

use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::watch;

use crate::domain::SourceId;
use crate::pipeline::TaskGuard;
use crate::ports::{DataKind, MarketSource, MarketSources, SourceError, SourceErrorKind, Swappable};
use crate::settings::{ActorSettings, FetchSettings, ms};
use crate::supervision::{MetricEvent, StatusBoard};

/// Calls sources with retries and fallbacks.
pub(crate) struct SourceCaller {
    sources: Arc<Swappable<dyn MarketSources>>,
    /// The settings in force; a change ends the wait before the next attempt.
    settings: watch::Receiver<Arc<ActorSettings>>,
    board: Arc<StatusBoard>,
}

/// A fetch that no source answered.
pub(crate) struct FetchFailed {
    /// The error of the preferred source.
    pub(crate) error: SourceError,
    /// Number of attempts at all sources.
    pub(crate) attempts: u32,
}

impl SourceCaller {
    pub(crate) fn new(
        sources: Arc<Swappable<dyn MarketSources>>,
        settings: watch::Receiver<Arc<ActorSettings>>,
        board: Arc<StatusBoard>,
    ) -> Self {
        Self { sources, settings, board }
    }

    fn settings(&self) -> Arc<ActorSettings> {
        self.settings.borrow().clone()
    }

    /// Calls the sources of this kind one after the other until one answers. Returns the answer and its source.
    pub(crate) async fn fetch<T>(
        &self,
        kind: DataKind,
        call: impl AsyncFn(Arc<dyn MarketSource>) -> Result<T, SourceError>,
        guard: &mut TaskGuard,
    ) -> Result<(T, SourceId), FetchFailed> {
        let mut failed: Option<FetchFailed> = None;
        let mut place = 0;
        while let Some(outcome) = self.call_source(kind, place, &call, guard).await {
            match outcome {
                Ok(answer) => return Ok(answer),
                Err(FetchFailed { error, attempts }) => {
                    tracing::warn!(subject = %guard.subject(), attempts, %error, "the source failed permanently");
                    // The error of the preferred source is the one to report.
                    let first = failed.take().unwrap_or(FetchFailed { error, attempts: 0 });
                    failed = Some(FetchFailed { attempts: first.attempts + attempts, ..first });
                }
            }
            if guard.is_lost() {
                break;
            }
            place += 1;
        }
        Err(failed.unwrap_or_else(|| {
            let kind = SourceErrorKind::NotOffered(kind);
            let error = SourceError { source_name: "(none)", request: guard.subject().to_string(), kind };
            FetchFailed { error, attempts: 0 }
        }))
    }

    /// Calls the source at this place of the order, with at most `max_attempts` attempts. Permanent errors are not
    /// retried. `None` if there is no source at this place.
    async fn call_source<T>(
        &self,
        kind: DataKind,
        place: usize,
        call: &impl AsyncFn(Arc<dyn MarketSource>) -> Result<T, SourceError>,
        guard: &mut TaskGuard,
    ) -> Option<Result<(T, SourceId), FetchFailed>> {
        let (mut attempt, mut num_refusals) = (1, 0);
        loop {
            // Looked up for each attempt, because a reload may have replaced the source or its token.
            let sources = self.sources.pin().of(kind);
            let source = sources.get(place)?.clone();
            let is_last = place + 1 >= sources.len();
            let begun = Instant::now();
            let answer = call(source.clone()).await;
            if matches!(&answer, Err(error) if error.kind == SourceErrorKind::Replaced) {
                continue; // nothing was sent; a reload replaced the source
            }
            let (error, duration) = (answer.as_ref().err(), begun.elapsed());
            guard.trace.sources.called(source.name(), error.is_some(), duration);
            self.board.observe(&MetricEvent::FetchEnded { source: source.name(), error, duration });
            let error = match answer {
                Ok(answer) => return Some(Ok((answer, source.id()))),
                Err(error) => error,
            };
            self.board.progress.progressed();
            let settings = self.settings();
            let refusal = refusal(&error.kind, is_last, &settings).filter(|_| num_refusals < MAX_REFUSALS);
            let next = refusal
                .or_else(|| retry_delay(attempt, &settings))
                .filter(|_| error.kind.is_transient() && !guard.is_lost());
            let Some(delay) = next else { return Some(Err(FetchFailed { error, attempts: attempt })) };
            let delay = wait_before_retry(&error.kind, delay, &settings);
            tracing::warn!(subject = %guard.subject(), attempt, %error, retry_in = ?delay, "fetch failed, will retry");
            self.board.observe(&MetricEvent::FetchRetried { error: &error, wait: delay });
            self.board.progress.expect_wait(delay);
            let is_same_source = || self.sources.pin().of(kind).get(place).is_some_and(|now| Arc::ptr_eq(now, &source));
            self.wait(delay, &settings.fetch, is_same_source).await;
            match refusal {
                Some(_) => num_refusals += 1,
                None => attempt += 1,
            }
        }
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
