// Upstream: sources::baostock, sources::databases, sources::eastmoney, sources::tdx, sources::tushare, sources::yahoo
// Downstream: actors, budget, config
// Role: Delays requests to a vendor: configured limits, the vendor's own limits, pauses after failures.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actors::ports::SourceErrorKind;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::sources::shared::budget::{Allowance, Budget};

/// The longest closure. A vendor's hour or day is probed every minute: its limit may have been raised meanwhile.
const LONGEST_CLOSURE: Duration = Duration::from_secs(60);

/// One for all requests to a vendor. A refused or failed request holds the others back, too, so that the fetches under way
/// do not each run into the same wall.
#[derive(Debug)]
pub struct RateLimiter {
    budget: Budget,
    slots: Semaphore,
    state: Mutex<State>,
    throttled_ms: AtomicU64,
    /// Whether another source has taken the vendor's place.
    is_replaced: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    blocked: Option<Block>,
    failures_in_a_row: u32,
}

#[derive(Debug, Clone)]
struct Block {
    opens: Instant,
    /// When the vendor's window is over, which may be later.
    window_ends: Instant,
    message: String,
    /// Whether the vendor asked for it, and did not just fail.
    is_limit: bool,
}

impl RateLimiter {
    /// An open gate with these limits.
    pub fn new(budget: impl Into<Budget>) -> Self {
        let budget = budget.into();
        let slots = Semaphore::new(budget.limits.max_concurrent.max(1) as usize);
        let (throttled_ms, is_replaced) = (AtomicU64::default(), watch::Sender::new(false));
        Self { budget, slots, state: Mutex::default(), throttled_ms, is_replaced }
    }

    /// Sends a request when it may be sent. A closed gate is waited for as long as `patience`; beyond that the request
    /// fails at once with the vendor's own text, and its caller decides whether to come back. Our own limits are waited
    /// for however long it takes, below a minute for each that is already waiting.
    pub async fn pass<T>(
        &self,
        patience: Duration,
        request: impl AsyncFnOnce() -> Result<T, SourceErrorKind>,
    ) -> Result<T, SourceErrorKind> {
        let begun = Instant::now();
        let mut is_replaced = self.is_replaced.subscribe();
        let slot = tokio::select! {
            biased;
            _ = is_replaced.wait_for(|is_replaced| *is_replaced) => Err(SourceErrorKind::Replaced),
            slot = self.slot(patience) => slot,
        };
        self.throttled_ms.fetch_add(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        let _slot = slot?;
        let outcome = request().await;
        self.note(outcome.as_ref().err());
        outcome
    }

    /// For how long requests have waited here so far, all added up.
    pub fn throttled(&self) -> Duration {
        Duration::from_millis(self.throttled_ms.load(Ordering::Relaxed))
    }

    /// From now on nothing is sent: whoever waits, and whoever comes, hears that another source has taken the place.
    pub fn retire(&self) {
        self.is_replaced.send_replace(true);
    }

    async fn slot(&self, patience: Duration) -> Result<SemaphorePermit<'_>, SourceErrorKind> {
        // The semaphore is never closed.
        let slot = self.slots.acquire().await.map_err(|_closed| SourceErrorKind::Replaced)?;
        self.wait(patience).await?;
        Ok(slot)
    }

    async fn wait(&self, patience: Duration) -> Result<(), SourceErrorKind> {
        let deadline = Instant::now() + patience;
        loop {
            // Another answer may close the gate again while this request waits.
            match self.block() {
                Some(block) if block.opens <= deadline => {
                    tokio::time::sleep_until(block.opens).await;
                    continue;
                }
                Some(block) => return Err(block.error()),
                None => {}
            }
            match self.budget.take() {
                Allowance::Sent => return Ok(()),
                Allowance::NotBefore(time) => tokio::time::sleep_until(time).await,
                Allowance::DayIsFull(retry_after) => {
                    let per_day = self.budget.limits.per_day;
                    let message = format!("not sent: the {per_day} requests of the day are used up");
                    return Err(SourceErrorKind::RateLimited { message, retry_after });
                }
            }
        }
    }

    /// Why nothing may be sent now.
    fn block(&self) -> Option<Block> {
        let mut state = self.lock();
        if state.blocked.as_ref().is_some_and(|block| block.opens <= Instant::now()) {
            state.blocked = None;
        }
        state.blocked.clone()
    }

    /// Learns from an answer.
    fn note(&self, error: Option<&SourceErrorKind>) {
        match error {
            Some(SourceErrorKind::RateLimited { message, retry_after }) => self.close(message, *retry_after, true),
            Some(
                kind @ (SourceErrorKind::Unreachable(_) | SourceErrorKind::Timeout(_) | SourceErrorKind::Server(_)),
            ) => {
                let failures = {
                    let mut state = self.lock();
                    state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
                    state.failures_in_a_row
                };
                if failures >= self.budget.limits.pause_after_failures {
                    self.close(&kind.to_string(), Duration::from_millis(self.budget.limits.pause_ms), false);
                    // One more failure after the pause closes it again.
                    self.lock().failures_in_a_row = self.budget.limits.pause_after_failures.saturating_sub(1);
                }
            }
            _ => self.lock().failures_in_a_row = 0,
        }
    }

    /// Nothing is sent for `retry_after`, at most a minute. Never opens earlier than it would have.
    fn close(&self, message: &str, retry_after: Duration, is_limit: bool) {
        let now = Instant::now();
        let opens = now + retry_after.min(LONGEST_CLOSURE);
        let window_ends = now.checked_add(retry_after).unwrap_or(opens);
        let mut state = self.lock();
        if state.blocked.as_ref().is_none_or(|block| block.opens < opens) {
            state.blocked = Some(Block { opens, window_ends, message: message.to_owned(), is_limit });
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Block {
    fn error(&self) -> SourceErrorKind {
        let text = &self.message;
        if self.is_limit {
            let retry_after = self.window_ends.saturating_duration_since(Instant::now());
            let message = format!("not sent, an earlier call was refused: {text}");
            return SourceErrorKind::RateLimited { message, retry_after };
        }
        SourceErrorKind::Unreachable(format!("not sent, the source failed again and again and is left alone: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RequestLimits;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits() -> RequestLimits {
        RequestLimits { per_minute: 0, per_day: 0, max_concurrent: 4, pause_after_failures: 3, pause_ms: 10_000 }
    }

    fn limited(text: &str, seconds: u64) -> SourceErrorKind {
        SourceErrorKind::RateLimited { message: text.to_owned(), retry_after: Duration::from_secs(seconds) }
    }

    #[tokio::test(start_paused = true)]
    async fn no_minute_has_more_requests_than_allowed_and_all_of_them_are_used() {
        let limiter = RateLimiter::new(RequestLimits { per_minute: 100, ..limits() });
        let begun = Instant::now();
        let mut sent = Vec::new();
        for _ in 0..400 {
            sent.push(limiter.pass(MINUTE, async || Ok(Instant::now())).await.unwrap());
        }
        for start in &sent {
            let in_a_minute = sent.iter().filter(|time| *time >= start && **time < *start + MINUTE).count();
            assert!(in_a_minute <= 100, "{in_a_minute}");
        }
        assert!(begun.elapsed() < 5 * MINUTE + MINUTE / 6, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn the_vendors_word_closes_the_gate_and_is_waited_for_when_patience_allows() {
        let limiter = RateLimiter::new(limits());
        let refused = limiter.pass(MINUTE, async || Err::<(), _>(limited("slow down", 40))).await;
        assert_eq!(refused, Err(limited("slow down", 40)));
        let before = Instant::now();
        assert_eq!(limiter.pass(MINUTE, async || Ok(())).await, Ok(()));
        assert_eq!(before.elapsed().as_secs(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_patience_a_request_fails_with_the_vendors_text_and_window() {
        let limiter = RateLimiter::new(limits());
        let _refused = limiter.pass(MINUTE, async || Err::<(), _>(limited("every hour 20 calls", 3_600))).await;
        let Err(SourceErrorKind::RateLimited { message, retry_after }) =
            limiter.pass(Duration::from_secs(1), async || Ok(())).await
        else {
            panic!("the gate must be closed");
        };
        assert!(message.contains("every hour 20 calls"), "{message}");
        assert!(retry_after > Duration::from_secs(3_500), "{retry_after:?}");
        // The closure itself lasts a minute only.
        assert_eq!(limiter.pass(MINUTE, async || Ok(())).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_pause_the_source_and_one_call_tries_it_again() {
        let limiter = RateLimiter::new(limits());
        let down = async || Err::<(), _>(SourceErrorKind::Unreachable("refused".into()));
        for _ in 0..2 {
            assert!(limiter.pass(Duration::ZERO, down).await.is_err());
        }
        limiter.pass(Duration::ZERO, async || Ok(())).await.unwrap();
        for _ in 0..3 {
            assert!(!limiter.pass(Duration::ZERO, down).await.unwrap_err().to_string().contains("not sent"));
        }
        let throttled = limiter.pass(Duration::ZERO, async || Ok(())).await.unwrap_err().to_string();
        assert!(throttled.contains("left alone") && throttled.contains("refused"), "{throttled}");
        let before = Instant::now();
        assert!(limiter.pass(MINUTE, down).await.is_err());
        assert_eq!(before.elapsed().as_secs(), 10);
        assert!(limiter.pass(Duration::ZERO, async || Ok(())).await.is_err(), "still down: another pause");
        limiter.pass(MINUTE, async || Ok(())).await.unwrap();
        limiter.pass(Duration::ZERO, async || Ok(())).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_at_a_gate_that_retires_ends_at_once_and_who_has_passed_goes_on() {
        let limiter = RateLimiter::new(RequestLimits { per_minute: 1, max_concurrent: 2, ..limits() });
        let passed = limiter.pass(MINUTE, async || {
            tokio::time::sleep(MINUTE).await;
            Ok(())
        });
        let late = |seconds| {
            let limiter = &limiter;
            async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                limiter.pass(MINUTE, async || Ok(())).await
            }
        };
        let retiring = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            limiter.retire();
            Instant::now()
        };
        let begun = Instant::now();
        // One waits for a token, one for a slot, one comes afterwards.
        let (passed, token, slot, after, _) = tokio::join!(passed, late(1), late(1), late(3), retiring);
        assert_eq!(passed, Ok(()));
        for outcome in [token, slot, after] {
            assert_eq!(outcome, Err(SourceErrorKind::Replaced));
        }
        assert_eq!(begun.elapsed(), MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn the_requests_of_a_day_are_counted() {
        let limiter = RateLimiter::new(RequestLimits { per_day: 2, ..limits() });
        for _ in 0..2 {
            limiter.pass(Duration::ZERO, async || Ok(())).await.unwrap();
        }
        let Err(SourceErrorKind::RateLimited { message, .. }) = limiter.pass(Duration::ZERO, async || Ok(())).await
        else {
            panic!("the day is full");
        };
        assert!(message.contains("2 requests of the day"), "{message}");
    }
}
