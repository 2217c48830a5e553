// Upstream: many
// Downstream: actors, config
// Role: A source's request limits and the requests already counted against them.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::domain::shanghai_clock;
use chrono::{NaiveDate, NaiveTime};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::config::{RequestLimits, SourceName};

/// The period in which the requests of a minute are sent. The margin of 3 % is for requests that take different times
/// to the vendor, which counts them when they arrive.
const MINUTE: Duration = Duration::from_millis(61_800);
/// Maximum number of accounts of one source whose requests are remembered.
const MAX_ACCOUNTS: usize = 4;

/// The account that a vendor counts requests for. It holds a hash and never the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Account(u64);

impl Account {
    /// The account of this token.
    pub fn of(token: Option<&SecretString>) -> Self {
        let mut hasher = DefaultHasher::new();
        token.map(|token| token.expose_secret().trim()).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// The requests counted for each source and account. It outlives the sources, because a vendor does not reset its
/// counters when the worker reloads its configuration.
#[derive(Debug, Default)]
pub struct QuotaState(Mutex<BTreeMap<SourceName, Vec<(Account, SharedCounts)>>>);

type SharedCounts = Arc<Mutex<Counts>>;

impl QuotaState {
    /// The budget of a source that has one account: these limits, with the requests counted so far.
    pub fn budget(&self, name: SourceName, limits: RequestLimits) -> Budget {
        self.budget_of(name, Account::default(), limits)
    }

    /// The budget of an account: these limits, with the requests counted so far.
    pub fn budget_of(&self, name: SourceName, account: Account, limits: RequestLimits) -> Budget {
        let mut state = lock(&self.0);
        let accounts = state.entry(name).or_default();
        if let Some((_, counts)) = accounts.iter().find(|(known, _)| *known == account) {
            return Budget { limits, counts: Arc::clone(counts) };
        }
        if accounts.len() >= MAX_ACCOUNTS {
            accounts.remove(0);
        }
        let counts = SharedCounts::default();
        accounts.push((account, Arc::clone(&counts)));
        Budget { limits, counts }
    }
}

/// A source's limits and its request counters. Each interface has the whole limits: a vendor that counts interfaces
/// separately allows them to each.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The limits.
    pub limits: RequestLimits,
    counts: SharedCounts,
}

/// The requests counted so far, by interface. Interfaces have constant names, so there are few.
type Counts = BTreeMap<&'static str, Spent>;

/// The requests to one interface.
#[derive(Debug, Default)]
struct Spent {
    /// When the requests of the last minute were sent, oldest first.
    sent: VecDeque<Instant>,
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
        Self { limits, counts: SharedCounts::default() }
    }
}

impl Budget {
    /// Takes one request to this interface from the budget. No period of a minute has more requests than allowed.
    pub fn take(&self, interface: &'static str) -> Allowance {
        let (now, today, limits) = (Instant::now(), shanghai_clock::today(), &self.limits);
        let mut counts = lock(&self.counts);
        let spent = counts.entry(interface).or_default();
        if spent.day != Some(today) {
            (spent.day, spent.sent_today) = (Some(today), 0);
        }
        if limits.per_day > 0 && spent.sent_today >= limits.per_day {
            return Allowance::DayIsFull(until_midnight());
        }
        while spent.sent.front().is_some_and(|time| now.duration_since(*time) >= MINUTE) {
            spent.sent.pop_front();
        }
        if limits.per_minute > 0 {
            // A reload may have lowered the limit below what is sent.
            let place = spent.sent.len().checked_sub(limits.per_minute as usize);
            if let Some(time) = place.and_then(|place| spent.sent.get(place)) {
                return Allowance::NotBefore(*time + MINUTE);
            }
            spent.sent.push_back(now);
        }
        spent.sent_today = spent.sent_today.saturating_add(1);
        Allowance::Sent
    }
}

impl Budget {
    /// The requests to this interface within the last minute and since midnight. Those of a minute are only known where
    /// it has a limit.
    pub fn sent(&self, interface: &'static str) -> (u32, u32) {
        let (now, today) = (Instant::now(), shanghai_clock::today());
        let counts = lock(&self.counts);
        let Some(spent) = counts.get(interface) else { return (0, 0) };
        let recent = spent.sent.iter().filter(|time| now.duration_since(**time) < MINUTE).count();
        let today = if spent.day == Some(today) { spent.sent_today } else { 0 };
        (u32::try_from(recent).unwrap_or(u32::MAX), today)
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

    fn limits(per_minute: u32, per_day: u32) -> RequestLimits {
        RequestLimits { per_minute, per_day, max_concurrent: 1, pause_after_failures: 3, pause_ms: 1_000 }
    }

    /// The number of requests to this interface that may be sent at once.
    fn sent_to(budget: &Budget, interface: &'static str) -> usize {
        (0..1_000).take_while(|_| budget.take(interface) == Allowance::Sent).count()
    }

    fn sent_at_once(budget: &Budget) -> usize {
        sent_to(budget, "daily")
    }

    #[tokio::test(start_paused = true)]
    async fn uses_the_whole_minute_less_a_margin() {
        let budget = Budget::from(limits(500, 0));
        let begun = Instant::now();
        let mut sent: Vec<Instant> = Vec::new();
        while begun.elapsed() < 10 * MINUTE {
            match budget.take("daily") {
                Allowance::Sent => sent.push(Instant::now()),
                Allowance::NotBefore(time) => tokio::time::sleep_until(time).await,
                Allowance::DayIsFull(_) => panic!("no limit of a day"),
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        for (place, time) in sent.iter().enumerate() {
            let within = sent[place..].iter().take_while(|later| **later < *time + Duration::from_secs(60)).count();
            assert!(within <= 500, "{within}");
        }
        let per_minute = sent.len() as f64 * 60.0 / begun.elapsed().as_secs_f64();
        assert!(per_minute > 0.95 * 500.0, "{per_minute}");
    }

    #[tokio::test(start_paused = true)]
    async fn each_interface_has_the_whole_limit() {
        let budget = Budget::from(limits(100, 150));
        assert_eq!((sent_to(&budget, "daily"), sent_to(&budget, "stk_mins")), (100, 100));
        tokio::time::advance(MINUTE).await;
        assert_eq!((sent_to(&budget, "daily"), sent_to(&budget, "adj_factor")), (50, 100));
        assert!(matches!(budget.take("daily"), Allowance::DayIsFull(_)));
        assert!(matches!(budget.take("adj_factor"), Allowance::NotBefore(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn reload_keeps_the_count_of_the_minute() {
        let quotas = QuotaState::default();
        let of = |name, per_minute| quotas.budget(name, limits(per_minute, 0));
        assert_eq!(sent_at_once(&of(SourceName::Tushare, 100)), 100);
        assert!(matches!(of(SourceName::Tushare, 100).take("daily"), Allowance::NotBefore(_)), "it is spent");
        assert_eq!(sent_at_once(&of(SourceName::Yahoo, 100)), 100, "other sources have their own");
        assert_eq!(sent_at_once(&of(SourceName::Tushare, 150)), 50, "a higher limit applies at once");
        assert_eq!(sent_at_once(&of(SourceName::Tushare, 50)), 0, "so does a lower one");
        tokio::time::advance(MINUTE).await;
        assert_eq!(sent_at_once(&of(SourceName::Tushare, 50)), 50);
    }

    #[test]
    fn reload_keeps_the_count_of_the_day() {
        let quotas = QuotaState::default();
        let of = |per_day| quotas.budget(SourceName::Tushare, limits(0, per_day));
        assert_eq!(sent_at_once(&of(20)), 20);
        let full = of(20).take("daily");
        assert!(matches!(full, Allowance::DayIsFull(left) if left <= Duration::from_secs(86_400)), "{full:?}");
        assert_eq!(sent_at_once(&of(25)), 5, "a higher limit applies at once");
    }

    #[test]
    fn another_token_is_counted_by_itself() {
        let quotas = QuotaState::default();
        let of = |token: &str| {
            let account = Account::of(Some(&token.to_owned().into()));
            assert!(!format!("{account:?}").contains(token));
            quotas.budget_of(SourceName::Tushare, account, limits(0, 20))
        };
        assert_eq!(sent_at_once(&of("first")), 20);
        assert_eq!(sent_at_once(&of("second")), 20);
        assert_eq!(sent_at_once(&of("first ")), 0, "its requests are remembered");
        for number in 0..50 {
            of(&format!("token {number}"));
        }
        assert_eq!(lock(&quotas.0).values().map(Vec::len).max(), Some(MAX_ACCOUNTS));
    }
}
