// Upstream: sources::baostock, sources::databases, sources::eastmoney, sources::tdx, sources::tushare, sources::yahoo
// Downstream: actors, budget, config, interface_limit
// Role: Delays requests to a vendor: the limits of each interface, concurrent requests, pauses after failures.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::ports::{InterfaceFigures, SourceErrorKind};
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::Instant;

use crate::sources::shared::budget::Budget;
use crate::sources::shared::interface_limit::{Block, InterfaceLimit};

/// The rate limiter for all requests to a vendor. A rejected request blocks the others to the same interface, and
/// repeated failures block all, so that concurrent fetches do not all run into the same limit or outage.
#[derive(Debug)]
pub struct RateLimiter {
    budget: Budget,
    slots: Semaphore,
    /// The interfaces used so far. Their names are constants, so there are few.
    interfaces: Mutex<BTreeMap<&'static str, Arc<InterfaceLimit>>>,
    outage: Mutex<Outage>,
    /// Whether another source has replaced this one.
    is_replaced: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Outage {
    pause: Option<Block>,
    failures_in_a_row: u32,
}

impl RateLimiter {
    /// A rate limiter with these limits and no block.
    pub fn new(budget: impl Into<Budget>) -> Self {
        let budget = budget.into();
        let slots = Semaphore::new(budget.limits.max_concurrent.max(1) as usize);
        let (interfaces, outage, is_replaced) = (Mutex::default(), Mutex::default(), watch::Sender::new(false));
        Self { budget, slots, interfaces, outage, is_replaced }
    }

    /// Sends a request to a vendor that counts all requests together: see [`RateLimiter::pass_to`].
    pub async fn pass<T>(
        &self,
        max_wait: Duration,
        request: impl AsyncFnOnce() -> Result<T, SourceErrorKind>,
    ) -> Result<T, SourceErrorKind> {
        self.pass_to(InterfaceLimit::ALL, max_wait, request).await
    }

    /// Sends a request to this interface as soon as the limits allow it. A block is waited for if it ends within
    /// `max_wait`. Otherwise the request fails at once with the vendor's own text, and the caller decides whether to
    /// retry. The configured limit per minute is always waited for: less than a minute for each request that is already
    /// waiting.
    pub async fn pass_to<T>(
        &self,
        interface: &'static str,
        max_wait: Duration,
        request: impl AsyncFnOnce() -> Result<T, SourceErrorKind>,
    ) -> Result<T, SourceErrorKind> {
        let begun = Instant::now();
        let interface = self.interface(interface);
        let mut is_replaced = self.is_replaced.subscribe();
        let slot = tokio::select! {
            biased;
            _ = is_replaced.wait_for(|is_replaced| *is_replaced) => Err(SourceErrorKind::Replaced),
            slot = self.slot(&interface, max_wait) => slot,
        };
        interface.waited(begun.elapsed());
        let _slot = slot?;
        let outcome = request().await;
        self.record_outcome(&interface, outcome.as_ref().err());
        outcome
    }

    /// The requests and waits of each interface used so far.
    pub fn figures(&self) -> Vec<InterfaceFigures> {
        lock(&self.interfaces).values().map(|interface| interface.figures()).collect()
    }

    /// The configured number of calls per minute to an interface; 0 if there is no limit.
    pub fn calls_per_minute(&self) -> u32 {
        self.budget.limits.per_minute
    }

    /// Stops sending. Requests that wait now or arrive later fail with [`SourceErrorKind::Replaced`].
    pub fn retire(&self) {
        self.is_replaced.send_replace(true);
    }

    fn interface(&self, name: &'static str) -> Arc<InterfaceLimit> {
        let mut interfaces = lock(&self.interfaces);
        let new = || {
            let interface = Arc::new(InterfaceLimit::new(name, self.budget.clone()));
            interface.keep_registered();
            interface
        };
        Arc::clone(interfaces.entry(name).or_insert_with(new))
    }

    /// Waits for the request's turn, for the end of a block, and for the limits. Holds no slot meanwhile, so that an
    /// interface at its limit does not delay others.
    async fn slot(
        &self,
        interface: &InterfaceLimit,
        max_wait: Duration,
    ) -> Result<SemaphorePermit<'_>, SourceErrorKind> {
        let _turn = interface.turn().await;
        let deadline = Instant::now() + max_wait;
        loop {
            // Another answer may start a new block while this request waits.
            match self.block(interface) {
                Some(block) if block.ends_at <= deadline => {
                    tokio::time::sleep_until(block.ends_at).await;
                    continue;
                }
                Some(block) => return Err(block.error()),
                None => {}
            }
            // The semaphore is never closed.
            let slot = self.slots.acquire().await.map_err(|_closed| SourceErrorKind::Replaced)?;
            if self.block(interface).is_some() {
                continue;
            }
            let Some(time) = interface.take().await? else { return Ok(slot) };
            drop(slot);
            tokio::time::sleep_until(time).await;
        }
    }

    /// The current block that ends last, if any.
    fn block(&self, interface: &InterfaceLimit) -> Option<Block> {
        let pause = {
            let mut outage = lock(&self.outage);
            outage.pause.take_if(|pause| pause.ends_at <= Instant::now());
            outage.pause.clone()
        };
        interface.block().into_iter().chain(pause).max_by_key(|block| block.ends_at)
    }

    /// Updates the state from a request's outcome.
    fn record_outcome(&self, interface: &InterfaceLimit, error: Option<&SourceErrorKind>) {
        match error {
            Some(SourceErrorKind::RateLimited { message, retry_after }) => interface.refuse(message, *retry_after),
            Some(
                kind @ (SourceErrorKind::Unreachable(_) | SourceErrorKind::Timeout(_) | SourceErrorKind::Server(_)),
            ) => self.record_failure(kind),
            _ => lock(&self.outage).failures_in_a_row = 0,
        }
    }

    fn record_failure(&self, kind: &SourceErrorKind) {
        let limits = &self.budget.limits;
        let mut outage = lock(&self.outage);
        outage.failures_in_a_row = outage.failures_in_a_row.saturating_add(1);
        if outage.failures_in_a_row < limits.pause_after_failures {
            return;
        }
        let pause = Block::after_failures(&kind.to_string(), Duration::from_millis(limits.pause_ms));
        if outage.pause.as_ref().is_none_or(|current| current.ends_at < pause.ends_at) {
            outage.pause = Some(pause);
        }
        // After the pause, one more failure starts another one.
        outage.failures_in_a_row = limits.pause_after_failures.saturating_sub(1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RequestLimits;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits() -> RequestLimits {
        RequestLimits {
            per_minute: 0,
            per_day: 0,
            max_concurrent: 4,
            pause_after_failures: 3,
            pause_ms: 10_000,
            is_shared: false,
        }
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
        assert!(begun.elapsed() < 3 * MINUTE + MINUTE / 6, "{:?}", begun.elapsed());
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
        // The block itself ends earlier than the window.
        assert_eq!(limiter.pass(5 * MINUTE, async || Ok(())).await, Ok(()));
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

    #[tokio::test(start_paused = true)]
    async fn interface_at_its_limit_delays_no_other() {
        let limiter = RateLimiter::new(RequestLimits { per_minute: 2, max_concurrent: 1, ..limits() });
        let begun = Instant::now();
        let send = async |interface| limiter.pass_to(interface, MINUTE, async || Ok(begun.elapsed().as_secs())).await;
        let of_one = async { tokio::join!(send("daily"), send("daily"), send("daily"), send("daily")) };
        let (one, other) = tokio::join!(of_one, send("stk_mins"));
        assert_eq!((one, other), ((Ok(0), Ok(0), Ok(61), Ok(61)), Ok(0)));
        let figures = limiter.figures();
        let throttled: Vec<_> = figures.iter().map(|figures| (figures.name, figures.throttled.as_secs())).collect();
        assert_eq!(throttled, [("daily", 123), ("stk_mins", 0)]);
        let sent = figures.iter().map(|figures| (figures.sent_in_minute, figures.limit_of_minute, figures.sent_today));
        assert_eq!(sent.collect::<Vec<_>>(), [(2, 2, 4), (0, 2, 1)], "of the last minute and of the day");
    }

    #[tokio::test(start_paused = true)]
    async fn refusal_blocks_its_interface_and_failures_all() {
        let limiter = RateLimiter::new(limits());
        let hourly = async || Err::<(), _>(limited("every hour 1 call", 3_600));
        assert!(limiter.pass_to("stock_basic", Duration::ZERO, hourly).await.is_err());
        let error = limiter.pass_to("stock_basic", Duration::ZERO, async || Ok(())).await.unwrap_err().to_string();
        assert!(error.contains("to `stock_basic`: every hour"), "{error}");
        assert_eq!(limiter.pass_to("daily", Duration::ZERO, async || Ok(())).await, Ok(()));
        for _ in 0..3 {
            let down = async || Err::<(), _>(SourceErrorKind::Unreachable("refused".into()));
            assert!(limiter.pass_to("daily", Duration::ZERO, down).await.is_err());
        }
        let error = limiter.pass_to("stk_mins", Duration::ZERO, async || Ok(())).await.unwrap_err().to_string();
        assert!(error.contains("paused"), "{error}");
    }
}
