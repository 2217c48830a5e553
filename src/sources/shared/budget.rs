// Upstream: many
// Downstream: actors, config
// Role: A vendor's limits, and the requests already counted against them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::domain::shanghai_clock;
use chrono::{NaiveDate, NaiveTime};
use tokio::time::Instant;

use crate::config::{RequestLimits, SourceName};

/// Share of a minute's requests that may be sent at once. The rest is spread over the minute, so that no minute, wherever
/// it begins, has more requests than allowed.
const BURST_SHARE: f64 = 0.25;

/// What each vendor was asked for so far. It outlives the sources: a vendor does not begin to count anew because a worker
/// has read its configuration anew.
#[derive(Debug, Default)]
pub struct QuotaState(Mutex<BTreeMap<SourceName, Arc<Mutex<Spent>>>>);

impl QuotaState {
    /// These limits of a source, with what was spent of them before.
    pub fn budget(&self, name: SourceName, limits: RequestLimits) -> Budget {
        let spent = lock(&self.0).entry(name).or_default().clone();
        Budget { limits, spent }
    }
}

/// What a vendor may still be asked for.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The limits.
    pub limits: RequestLimits,
    spent: Arc<Mutex<Spent>>,
}

/// What was spent so far.
#[derive(Debug, Default)]
struct Spent {
    /// Requests that may be sent at once, and when they were counted; `None`: nothing was sent yet.
    tokens: Option<(f64, Instant)>,
    /// The day that `sent_today` is of.
    day: Option<NaiveDate>,
    sent_today: u32,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowance {
    /// It may, and is counted.
    Sent,
    /// Not before this time.
    NotBefore(Instant),
    /// Not on this day, which ends after so long.
    DayIsFull(Duration),
}

impl From<RequestLimits> for Budget {
    /// Of which nothing is spent.
    fn from(limits: RequestLimits) -> Self {
        Self { limits, spent: Arc::default() }
    }
}

impl Budget {
    /// Takes a request from it.
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

    /// How many requests may be sent at once.
    fn sent_at_once(budget: &Budget) -> usize {
        (0..1_000).take_while(|_| budget.take() == Allowance::Sent).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reload_does_not_give_the_minute_back() {
        let quotas = QuotaState::default();
        assert_eq!(sent_at_once(&quotas.budget(SourceName::Tushare, limits(100, 0))), 25);
        let after = quotas.budget(SourceName::Tushare, limits(100, 0));
        assert!(matches!(after.take(), Allowance::NotBefore(_)), "the burst is spent");
        assert_eq!(sent_at_once(&quotas.budget(SourceName::Yahoo, limits(100, 0))), 25, "of another vendor it is not");
        tokio::time::advance(MINUTE).await;
        assert_eq!(sent_at_once(&after), 25);
        tokio::time::advance(MINUTE).await;
        assert_eq!(
            sent_at_once(&quotas.budget(SourceName::Tushare, limits(200, 0))),
            50,
            "a higher limit holds at once"
        );
    }

    #[test]
    fn a_reload_does_not_give_the_day_back() {
        let quotas = QuotaState::default();
        assert_eq!(sent_at_once(&quotas.budget(SourceName::Tushare, limits(0, 20))), 20);
        let full = quotas.budget(SourceName::Tushare, limits(0, 20)).take();
        assert!(matches!(full, Allowance::DayIsFull(left) if left <= 24 * 60 * MINUTE), "{full:?}");
        assert_eq!(sent_at_once(&quotas.budget(SourceName::Tushare, limits(0, 25))), 5, "but a higher limit holds");
    }
}
