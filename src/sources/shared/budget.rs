// Upstream: many
// Downstream: actors, config
// Role: A source's request limits and the requests already counted against them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::domain::shanghai_clock;
use chrono::{NaiveDate, NaiveTime};
use tokio::time::Instant;

use crate::config::{RequestLimits, SourceName};

/// Share of a minute's requests that may be sent at once. The rest is spread over the minute, so that no period of 60
/// seconds has more requests than allowed.
const BURST_SHARE: f64 = 0.25;

/// The requests counted for each source. It outlives the sources, because a vendor does not reset its counters when the
/// worker reloads its configuration.
#[derive(Debug, Default)]
pub struct QuotaState(Mutex<BTreeMap<SourceName, Arc<Mutex<Spent>>>>);

impl QuotaState {
    /// The budget of a source: these limits, with the requests counted so far.
    pub fn budget(&self, name: SourceName, limits: RequestLimits) -> Budget {
        let spent = lock(&self.0).entry(name).or_default().clone();
        Budget { limits, spent }
    }
}

/// A source's limits and its request counters.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The limits.
    pub limits: RequestLimits,
    spent: Arc<Mutex<Spent>>,
}

/// The requests counted so far.
#[derive(Debug, Default)]
struct Spent {
    /// Token bucket: the available tokens and the time of that count; `None` before the first request.
    tokens: Option<(f64, Instant)>,
    /// The Shanghai day that `sent_today` counts.
    day: Option<NaiveDate>,
    sent_today: u32,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowance {
    /// The request may be sent and is counted.
    Sent,
    /// The request may be sent at this time at the earliest.
    NotBefore(Instant),
    /// The daily limit is reached. The day ends after this time.
    DayIsFull(Duration),
}

impl From<RequestLimits> for Budget {
    /// A budget without counted requests.
    fn from(limits: RequestLimits) -> Self {
        Self { limits, spent: Arc::default() }
    }
}

impl Budget {
    /// Takes one request from the budget.
    pub fn take(&self) -> Allowance {
        let (now, today, limits) = (Instant::now(), shanghai_clock::today(), &self.limits);
        let mut spent = lock(&self.spent);
        if spent.day != Some(today) {
            (spent.day, spent.sent_today) = (Some(today), 0);
        }
        if limits.per_day > 0 && spent.sent_today >= limits.per_day {
            return Allowance::DayIsFull(until_midnight());
        }
        if limits.per_minute > 0 {
            let burst = (f64::from(limits.per_minute) * BURST_SHARE).max(1.0);
            let per_second = f64::from(limits.per_minute) * (1.0 - BURST_SHARE) / 60.0;
            let earned =
                |(tokens, since): (f64, Instant)| tokens + now.duration_since(since).as_secs_f64() * per_second;
            let tokens = spent.tokens.map_or(burst, earned).min(burst);
            if tokens < 1.0 {
                spent.tokens = Some((tokens, now));
                return Allowance::NotBefore(now + Duration::from_secs_f64((1.0 - tokens) / per_second));
            }
            spent.tokens = Some((tokens - 1.0, now));
        }
        spent.sent_today += 1;
        Allowance::Sent
    }
}

fn until_midnight() -> Duration {
    let now = shanghai_clock::now();
    let midnight = now.date().succ_opt().unwrap_or(now.date()).and_time(NaiveTime::MIN);
    (midnight - now).to_std().unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limits(per_minute: u32, per_day: u32) -> RequestLimits {
        RequestLimits { per_minute, per_day, max_concurrent: 1, pause_after_failures: 3, pause_ms: 1_000 }
    }

    /// The number of requests that may be sent at once.
    fn sent_at_once(budget: &Budget) -> usize {
        (0..1_000).take_while(|_| budget.take() == Allowance::Sent).count()
    }

    #[tokio::test(start_paused = true)]
    async fn reload_keeps_the_count_of_the_minute() {
        let quotas = QuotaState::default();
        assert_eq!(sent_at_once(&quotas.budget(SourceName::Tushare, limits(100, 0))), 25);
        let after = quotas.budget(SourceName::Tushare, limits(100, 0));
        assert!(matches!(after.take(), Allowance::NotBefore(_)), "the burst is spent");
        assert_eq!(
            sent_at_once(&quotas.budget(SourceName::Yahoo, limits(100, 0))),
            25,
            "other sources have their own burst"
        );
        tokio::time::advance(MINUTE).await;
        assert_eq!(sent_at_once(&after), 25);
        tokio::time::advance(MINUTE).await;
        assert_eq!(
            sent_at_once(&quotas.budget(SourceName::Tushare, limits(200, 0))),
            50,
            "a higher limit applies at once"
        );
    }

    #[test]
    fn reload_keeps_the_count_of_the_day() {
        let quotas = QuotaState::default();
        assert_eq!(sent_at_once(&quotas.budget(SourceName::Tushare, limits(0, 20))), 20);
        let full = quotas.budget(SourceName::Tushare, limits(0, 20)).take();
        assert!(matches!(full, Allowance::DayIsFull(left) if left <= 24 * 60 * MINUTE), "{full:?}");
        assert_eq!(
            sent_at_once(&quotas.budget(SourceName::Tushare, limits(0, 25))),
            5,
            "a higher limit applies at once"
        );
    }
}
