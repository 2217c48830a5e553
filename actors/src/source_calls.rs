// Upstream: none
// Downstream: actors::domain::bar, actors::fetcher, actors::observation, actors::ports::market_source, actors::settings, actors::ticket
// Role: Asks the sources of a kind of data in their order, each a few times, and says which answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};

use crate::domain::SourceId;
use crate::fetcher::FetchContext;
use crate::observation::Observation;
use crate::ports::{DataKind, MarketSource, SourceError, SourceErrorKind};
use crate::settings::{ActorSettings, FetchSettings, ms};
use crate::ticket::Ticket;

impl FetchContext {
    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<ActorSettings> {
        self.settings.borrow().clone()
    }

    /// Asks the sources of this kind one after the other until one answers. Also says which did.
    pub(crate) async fn fetch<T>(
        &self,
        kind: DataKind,
        call: impl AsyncFn(Arc<dyn MarketSource>) -> Result<T, SourceError>,
        ticket: &mut Ticket,
    ) -> Result<(T, SourceId), (SourceError, u32)> {
        let mut failed: Option<(SourceError, u32)> = None;
        let mut place = 0;
        while let Some(outcome) = self.ask(kind, place, &call, ticket).await {
            match outcome {
                Ok(answer) => return Ok(answer),
                Err((error, attempts)) => {
                    tracing::warn!(subject = %ticket.subject(), attempts, %error, "the source failed for good");
                    // The preferred source's failure is the one that an operator must know of.
                    let (first, before) = failed.take().unwrap_or((error, 0));
                    failed = Some((first, before + attempts));
                }
            }
            if ticket.is_lost() {
                break;
            }
            place += 1;
        }
        let nobody = || SourceError {
            source_name: "(none)",
            request: ticket.subject().to_string(),
            kind: SourceErrorKind::NotOffered(kind),
        };
        Err(failed.unwrap_or_else(|| (nobody(), 0)))
    }

    /// At most `max_attempts` attempts at the source at this place of the order; permanent errors are not tried again.
    /// `None`: the order has no such place.
    async fn ask<T>(
        &self,
        kind: DataKind,
        place: usize,
        call: &impl AsyncFn(Arc<dyn MarketSource>) -> Result<T, SourceError>,
        ticket: &mut Ticket,
    ) -> Option<Result<(T, SourceId), (SourceError, u32)>> {
        let (mut attempt, mut num_refusals) = (1, 0);
        loop {
            // Each attempt anew: a reload may have brought another source or another token.
            let sources = self.sources.of(kind);
            let source = sources.get(place)?.clone();
            let is_last = place + 1 >= sources.len();
            let begun = Instant::now();
            let answer = call(source.clone()).await;
            if matches!(&answer, Err(error) if error.kind == SourceErrorKind::Replaced) {
                continue; // nothing was sent, and there is another one now
            }
            let (error, duration) = (answer.as_ref().err(), begun.elapsed());
            ticket.trail.sources.called(source.name(), error.is_some(), duration);
            self.board.observe(&Observation::FetchEnded { source: source.name(), error, duration });
            let error = match answer {
                Ok(answer) => return Some(Ok((answer, source.id()))),
                Err(error) => error,
            };
            self.board.progressed();
            let settings = self.settings();
            let refusal = refusal(&error.kind, is_last, &settings).filter(|_| num_refusals < MAX_REFUSALS);
            let next = refusal
                .or_else(|| retry_delay(attempt, &settings))
                .filter(|_| error.kind.is_transient() && !ticket.is_lost());
            let Some(delay) = next else { return Some(Err((error, attempt))) };
            let delay = wait_before_retry(&error.kind, delay, &settings);
            tracing::warn!(subject = %ticket.subject(), attempt, %error, retry_in = ?delay, "fetch failed, will be tried again");
            self.board.observe(&Observation::FetchRetried { error: &error, wait: delay });
            self.board.protect(delay);
            let is_same_source = || self.sources.of(kind).get(place).is_some_and(|now| Arc::ptr_eq(now, &source));
            self.rest(delay, &settings.fetch, is_same_source).await;
            match refusal {
                Some(_) => num_refusals += 1,
                None => attempt += 1,
            }
        }
    }

    /// Waits before the next attempt. A reload that brings another source or other rules for it ends the wait.
    async fn rest(&self, delay: Duration, policy: &FetchSettings, is_same_source: impl Fn() -> bool) {
        let mut settings = self.settings.subscribe();
        let is_same = |settings: &Arc<ActorSettings>| settings.fetch == *policy && is_same_source();
        // An error means that the worker ends.
        let reloaded = settings.wait_for(|settings| !is_same(settings));
        let _over_or_reloaded = actix_rt::time::timeout(delay, reloaded).await;
    }
}

/// Refusals by a vendor's limit that a fetch waits out: half an hour of windows of a minute. A limit of a day is not waited out.
const MAX_REFUSALS: u32 = 30;

/// The wait after a refusal by the vendor's limit, which slows down and fails nothing; `None`: it counts as a failure. Where
/// another source may answer, only a window that is over soon is waited for.
fn refusal(kind: &SourceErrorKind, is_last: bool, settings: &ActorSettings) -> Option<Duration> {
    match kind {
        SourceErrorKind::RateLimited { retry_after, .. } => {
            let is_short = *retry_after <= ms(settings.fetch.max_retry_delay_ms) / 10;
            (is_last || is_short).then(|| ms(settings.fetch.first_retry_delay_ms))
        }
        _ => None,
    }
}

/// The vendor's own word is honoured, but no wait is longer than the longest allowed one.
fn wait_before_retry(kind: &SourceErrorKind, delay: Duration, settings: &ActorSettings) -> Duration {
    let wanted = match kind {
        SourceErrorKind::RateLimited { retry_after, .. } => (*retry_after).max(delay),
        _ => delay,
    };
    wanted.min(ms(settings.fetch.max_retry_delay_ms))
}

/// The wait after this attempt; `None`: it was the last.
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
