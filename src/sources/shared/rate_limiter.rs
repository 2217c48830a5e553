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

/// The longest block. If a vendor limits requests by hour or day, one request per minute tests whether its limit was
/// raised meanwhile.
const MAX_BLOCK: Duration = Duration::from_secs(60);

/// The rate limiter for all requests to a vendor. A rejected or failed request blocks the others too, so that
/// concurrent fetches do not all run into the same limit or outage.
#[derive(Debug)]
pub struct RateLimiter {
    budget: Budget,
    slots: Semaphore,
    state: Mutex<State>,
    throttled_ms: AtomicU64,
    /// Whether another source has replaced this one.
    is_replaced: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct State {
    blocked: Option<Block>,
    failures_in_a_row: u32,
}

#[derive(Debug, Clone)]
struct Block {
    ends_at: Instant,
    /// The end of the vendor's rate-limit window, which may be later than `ends_at`.
    window_ends: Instant,
    message: String,
    /// Whether the vendor requested the block, as opposed to failing.
    is_limit: bool,
}

impl RateLimiter {
    /// A rate limiter with these limits and no block.
    pub fn new(budget: impl Into<Budget>) -> Self {
        let budget = budget.into();
        let slots = Semaphore::new(budget.limits.max_concurrent.max(1) as usize);
        let (throttled_ms, is_replaced) = (AtomicU64::default(), watch::Sender::new(false));
        Self { budget, slots, state: Mutex::default(), throttled_ms, is_replaced }
    }

    /// Sends a request as soon as the limits allow it. A block is waited for if it ends within `max_wait`. Otherwise
    /// the request fails at once with the vendor's own text, and the caller decides whether to retry. The configured
    /// limit per minute is always waited for: less than a minute for each request that is already waiting.
    pub async fn pass<T>(
        &self,
        max_wait: Duration,
        request: impl AsyncFnOnce() -> Result<T, SourceErrorKind>,
    ) -> Result<T, SourceErrorKind> {
        let begun = Instant::now();
        let mut is_replaced = self.is_replaced.subscribe();
        let slot = tokio::select! {
            biased;
            _ = is_replaced.wait_for(|is_replaced| *is_replaced) => Err(SourceErrorKind::Replaced),
            slot = self.slot(max_wait) => slot,
        };
        self.throttled_ms.fetch_add(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
        let _slot = slot?;
        let outcome = request().await;
        self.record_outcome(outcome.as_ref().err());
        outcome
    }

    /// The total time that requests have waited here.
    pub fn throttled(&self) -> Duration {
        Duration::from_millis(self.throttled_ms.load(Ordering::Relaxed))
    }

    /// Stops sending. Requests that wait now or arrive later fail with [`SourceErrorKind::Replaced`].
    pub fn retire(&self) {
        self.is_replaced.send_replace(true);
    }

    async fn slot(&self, max_wait: Duration) -> Result<SemaphorePermit<'_>, SourceErrorKind> {
        // The semaphore is never closed.
        let slot = self.slots.acquire().await.map_err(|_closed| SourceErrorKind::Replaced)?;
        self.wait(max_wait).await?;
        Ok(slot)
    }

    async fn wait(&self, max_wait: Duration) -> Result<(), SourceErrorKind> {
        let deadline = Instant::now() + max_wait;
        loop {
            // Another answer may start a new block while this request waits.
            match self.block() {
                Some(block) if block.ends_at <= deadline => {
                    tokio::time::sleep_until(block.ends_at).await;
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
                    let message = format!("not sent: the daily limit of {per_day} requests is used up");
                    return Err(SourceErrorKind::RateLimited { message, retry_after });
                }
            }
        }
    }

    /// The current block, if any.
    fn block(&self) -> Option<Block> {
        let mut state = self.lock();
        if state.blocked.as_ref().is_some_and(|block| block.ends_at <= Instant::now()) {
            state.blocked = None;
        }
        state.blocked.clone()
    }

    /// Updates the state from a request's outcome.
    fn record_outcome(&self, error: Option<&SourceErrorKind>) {
        match error {
            Some(SourceErrorKind::RateLimited { message, retry_after }) => {
                self.start_block(message, *retry_after, true)
            }
            Some(
                kind @ (SourceErrorKind::Unreachable(_) | SourceErrorKind::Timeout(_) | SourceErrorKind::Server(_)),
            ) => {
                let failures = {
                    let mut state = self.lock();
                    state.failures_in_a_row = state.failures_in_a_row.saturating_add(1);
                    state.failures_in_a_row
                };
                if failures >= self.budget.limits.pause_after_failures {
                    self.start_block(&kind.to_string(), Duration::from_millis(self.budget.limits.pause_ms), false);
                    // After the pause, one more failure starts another one.
                    self.lock().failures_in_a_row = self.budget.limits.pause_after_failures.saturating_sub(1);
                }
            }
            _ => self.lock().failures_in_a_row = 0,
        }
    }

    /// Blocks requests for `retry_after`, at most a minute. Never shortens the current block.
    fn start_block(&self, message: &str, retry_after: Duration, is_limit: bool) {
        let now = Instant::now();
        let ends_at = now + retry_after.min(MAX_BLOCK);
        let window_ends = now.checked_add(retry_after).unwrap_or(ends_at);
        let mut state = self.lock();
        if state.blocked.as_ref().is_none_or(|block| block.ends_at < ends_at) {
            state.blocked = Some(Block { ends_at, window_ends, message: message.to_owned(), is_limit });
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
            let message = format!("not sent: the vendor rate-limited an earlier request: {text}");
            return SourceErrorKind::RateLimited { message, retry_after };
        }
        SourceErrorKind::Unreachable(format!("not sent: the source is paused after repeated failures: {text}"))
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
    async fn uses_but_never_exceeds_the_limit_of_a_minute() {
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
    async fn waits_for_a_block_that_ends_within_max_wait() {
        let limiter = RateLimiter::new(limits());
        let refused = limiter.pass(MINUTE, async || Err::<(), _>(limited("slow down", 40))).await;
        assert_eq!(refused, Err(limited("slow down", 40)));
        let before = Instant::now();
        assert_eq!(limiter.pass(MINUTE, async || Ok(())).await, Ok(()));
        assert_eq!(before.elapsed().as_secs(), 40);
    }

    #[tokio::test(start_paused = true)]
    async fn fails_with_vendor_text_if_block_exceeds_max_wait() {
        let limiter = RateLimiter::new(limits());
        let _refused = limiter.pass(MINUTE, async || Err::<(), _>(limited("every hour 20 calls", 3_600))).await;
        let Err(SourceErrorKind::RateLimited { message, retry_after }) =
            limiter.pass(Duration::from_secs(1), async || Ok(())).await
        else {
            panic!("requests must be blocked");
        };
        assert!(message.contains("every hour 20 calls"), "{message}");
        assert!(retry_after > Duration::from_secs(3_500), "{retry_after:?}");
        // The block itself lasts a minute only.
        assert_eq!(limiter.pass(MINUTE, async || Ok(())).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn repeated_failures_pause_until_one_request_succeeds() {
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
        assert!(throttled.contains("paused") && throttled.contains("refused"), "{throttled}");
        let before = Instant::now();
        assert!(limiter.pass(MINUTE, down).await.is_err());
        assert_eq!(before.elapsed().as_secs(), 10);
        assert!(limiter.pass(Duration::ZERO, async || Ok(())).await.is_err(), "a further failure starts another pause");
        limiter.pass(MINUTE, async || Ok(())).await.unwrap();
        limiter.pass(Duration::ZERO, async || Ok(())).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn retiring_ends_waiters_and_spares_running_calls() {
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
        // One waits for a token, one for a slot, one arrives afterwards.
        let (passed, token, slot, after, _) = tokio::join!(passed, late(1), late(1), late(3), retiring);
        assert_eq!(passed, Ok(()));
        for outcome in [token, slot, after] {
            assert_eq!(outcome, Err(SourceErrorKind::Replaced));
        }
        assert_eq!(begun.elapsed(), MINUTE);
    }

    #[tokio::test(start_paused = true)]
    async fn enforces_the_limit_of_a_day() {
        let limiter = RateLimiter::new(RequestLimits { per_day: 2, ..limits() });
        for _ in 0..2 {
            limiter.pass(Duration::ZERO, async || Ok(())).await.unwrap();
        }
        let Err(SourceErrorKind::RateLimited { message, .. }) = limiter.pass(Duration::ZERO, async || Ok(())).await
        else {
            panic!("the daily limit must be reached");
        };
        assert!(message.contains("daily limit of 2 requests"), "{message}");
    }
}
