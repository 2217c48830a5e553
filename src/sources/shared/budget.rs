// Upstream: many
// Downstream: actors, adapters::redis, config, group_share
// Role: A source's request limits and the requests already counted against them, here and in the whole group.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use actors::domain::shanghai_clock;
use chrono::{NaiveDate, NaiveTime};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;
use uuid::Uuid;

use crate::adapters::redis::request_counts::{Answer, CountsError, Question, RequestCounts, Verdict};
use crate::config::{RequestLimits, SourceName};
use crate::sources::shared::group_share::GroupShare;

/// The period in which the requests of a minute are sent. The margin of 3 % is for requests that take different times
/// to the vendor, which counts them when they arrive.
const MINUTE: Duration = Duration::from_millis(61_800);
/// Maximum number of accounts of one source whose requests are remembered.
const MAX_ACCOUNTS: usize = 4;

/// The account that a vendor counts requests for. It holds a hash and never the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Account(Uuid);

impl Account {
    /// The account with this token at this place. All workers derive the same from them.
    pub fn of(place: &str, token: Option<&SecretString>) -> Self {
        let place = Uuid::new_v5(&Uuid::NAMESPACE_OID, place.as_bytes());
        let of = |token: &SecretString| Uuid::new_v5(&place, token.expose_secret().trim().as_bytes());
        Self(token.map_or(place, of))
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.simple())
    }
}

/// The requests counted for each source and account. It outlives the sources, because a vendor does not reset its
/// counters when the worker reloads its configuration.
#[derive(Debug, Default)]
pub struct QuotaState {
    accounts: Mutex<BTreeMap<SourceName, Vec<(Account, SharedCounts)>>>,
    group: Group,
}

type SharedCounts = Arc<Mutex<Counts>>;

/// The counts of the group; a reload may exchange them.
type Group = Arc<Mutex<Option<Arc<RequestCounts>>>>;

impl QuotaState {
    /// The budget of a source that has one account: these limits, with the requests counted so far.
    pub fn budget(&self, name: SourceName, limits: RequestLimits) -> Budget {
        self.budget_of(name, Account::default(), limits)
    }

    /// The budget of an account: these limits, with the requests counted so far.
    pub fn budget_of(&self, name: SourceName, account: Account, limits: RequestLimits) -> Budget {
        let mut state = lock(&self.accounts);
        let accounts = state.entry(name).or_default();
        let key: Arc<str> = format!("{}:{account}", name.as_str()).into();
        let (group, minute) = (Arc::clone(&self.group), MINUTE);
        if let Some((_, counts)) = accounts.iter().find(|(known, _)| *known == account) {
            return Budget { limits, minute, key, counts: Arc::clone(counts), group };
        }
        if accounts.len() >= MAX_ACCOUNTS {
            accounts.remove(0);
        }
        let counts = SharedCounts::default();
        accounts.push((account, Arc::clone(&counts)));
        Budget { limits, minute, key, counts, group }
    }

    /// Counts requests together with the other workers of these counts from now on.
    pub fn share(&self, counts: Arc<RequestCounts>) {
        *lock(&self.group) = Some(counts);
    }
}

/// A source's limits and its request counters. Each interface has the whole limits: a vendor that counts interfaces
/// separately allows them to each.
#[derive(Debug, Clone)]
pub struct Budget {
    /// The limits.
    pub limits: RequestLimits,
    minute: Duration,
    /// Source and account in the counts of the group.
    key: Arc<str>,
    counts: SharedCounts,
    group: Group,
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
    /// What the group leaves to this worker.
    share: GroupShare,
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
    /// A budget without counted requests and without a group.
    fn from(limits: RequestLimits) -> Self {
        let (counts, group) = (SharedCounts::default(), Group::default());
        Self { limits, minute: MINUTE, key: "alone".into(), counts, group }
    }
}

impl Spent {
    /// Drops what is older than a minute or of another day.
    fn forget(&mut self, now: Instant, today: NaiveDate, minute: Duration) {
        if self.day != Some(today) {
            (self.day, self.sent_today) = (Some(today), 0);
        }
        while self.sent.front().is_some_and(|time| now.duration_since(*time) >= minute) {
            self.sent.pop_front();
        }
    }

    fn num_sent(&self) -> u32 {
        u32::try_from(self.sent.len()).unwrap_or(u32::MAX)
    }
}

impl Budget {
    /// The same budget with another period in place of a minute, for tests with real time.
    pub fn with_period(self, minute: Duration) -> Self {
        Self { minute, ..self }
    }

    /// Takes one request to this interface from the budget. No period of a minute has more requests than allowed, by
    /// all workers of the group together. Without their counts each worker has its share.
    ///
    /// Requests to one interface are taken one after the other: see `InterfaceLimit::turn`.
    pub async fn take(&self, interface: &'static str) -> Allowance {
        if let Some(refusal) = self.refusal(interface) {
            return refusal;
        }
        if let Some(counts) = self.shared_counts() {
            let asked = Instant::now();
            let answer = counts.take(&self.question(interface)).await;
            match self.heed(interface, asked, answer) {
                Some(Verdict::Wait(wait)) => return Allowance::NotBefore(Instant::now() + wait),
                Some(Verdict::DayIsFull) => return Allowance::DayIsFull(until_midnight()),
                Some(Verdict::Taken) | None => {}
            }
        }
        // The share of an outage may be smaller than the whole.
        if let Some(refusal) = self.refusal(interface) {
            return refusal;
        }
        self.record(interface);
        Allowance::Sent
    }

    /// Tells the group that this worker uses the interface, and asks how many do.
    pub async fn register(&self, interface: &'static str) {
        let Some(counts) = self.shared_counts() else { return };
        let asked = Instant::now();
        let answer = counts.look(&self.question(interface)).await;
        self.heed(interface, asked, answer);
    }

    /// Remembers what the group answered to a question asked at `asked`, or that the common counts are lost.
    fn heed(&self, interface: &'static str, asked: Instant, answer: Result<Answer, CountsError>) -> Option<Verdict> {
        let mut counts = lock(&self.counts);
        let num_known = counts.values().filter_map(|spent| spent.share.num_members()).max();
        let spent = counts.entry(interface).or_default();
        match answer {
            Ok(Answer { verdict, num_sent, num_members }) => {
                spent.share.answered(num_sent, num_members, Instant::now());
                Some(verdict)
            }
            Err(error) => {
                spent.forget(asked, shanghai_clock::today(), self.minute);
                if spent.share.failed(spent.num_sent(), self.limits.per_minute, asked, num_known) {
                    tracing::warn!(account = %self.key, interface, %error, "the counts of requests are not shared now");
                }
                None
            }
        }
    }

    /// Whether the group has a part in this budget.
    pub fn is_shared(&self) -> bool {
        self.limits.is_shared && (self.limits.per_minute > 0 || self.limits.per_day > 0)
    }

    fn shared_counts(&self) -> Option<Arc<RequestCounts>> {
        lock(&self.group).clone().filter(|_| self.is_shared())
    }

    fn question(&self, interface: &'static str) -> Question<'_> {
        let RequestLimits { per_minute, per_day, .. } = self.limits;
        let (account, window, day) = (&*self.key, self.minute, shanghai_clock::today());
        Question { account, interface, per_minute, per_day, window, day }
    }

    /// Why a request may not be sent now, by this worker's own counts and its share.
    fn refusal(&self, interface: &'static str) -> Option<Allowance> {
        let (now, limits) = (Instant::now(), &self.limits);
        let mut counts = lock(&self.counts);
        let spent = counts.entry(interface).or_default();
        spent.forget(now, shanghai_clock::today(), self.minute);
        if limits.per_day > 0 && spent.sent_today >= limits.per_day {
            return Some(Allowance::DayIsFull(until_midnight()));
        }
        if limits.per_minute == 0 {
            return None;
        }
        let limit = spent.share.limit(limits.per_minute, now, self.minute);
        // A reload may have lowered the limit below what is sent.
        let place = spent.sent.len().checked_sub(limit as usize)?;
        let due = spent.sent.get(place).map_or(now + Duration::from_secs(1), |time| *time + self.minute);
        Some(Allowance::NotBefore(due))
    }

    /// The requests to this interface within the last minute and since midnight. Those of a minute are only known where
    /// it has a limit.
    pub fn sent(&self, interface: &'static str) -> (u32, u32) {
        let mut counts = lock(&self.counts);
        let Some(spent) = counts.get_mut(interface) else { return (0, 0) };
        spent.forget(Instant::now(), shanghai_clock::today(), self.minute);
        (spent.num_sent(), spent.sent_today)
    }

    fn record(&self, interface: &'static str) {
        let mut counts = lock(&self.counts);
        let spent = counts.entry(interface).or_default();
        spent.forget(Instant::now(), shanghai_clock::today(), self.minute);
        if self.limits.per_minute > 0 {
            spent.sent.push_back(Instant::now());
        }
        spent.sent_today = spent.sent_today.saturating_add(1);
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
        RequestLimits {
            per_minute,
            per_day,
            max_concurrent: 1,
            pause_after_failures: 3,
            pause_ms: 1_000,
            is_shared: true,
        }
    }

    /// The number of requests to this interface that may be sent at once.
    async fn sent_to(budget: &Budget, interface: &'static str) -> usize {
        let mut count = 0;
        while count < 1_000 && budget.take(interface).await == Allowance::Sent {
            count += 1;
        }
        count
    }

    async fn sent_at_once(budget: &Budget) -> usize {
        sent_to(budget, "daily").await
    }

    #[tokio::test(start_paused = true)]
    async fn uses_the_whole_minute_less_a_margin() {
        let budget = Budget::from(limits(500, 0));
        let begun = Instant::now();
        let mut sent: Vec<Instant> = Vec::new();
        while begun.elapsed() < 10 * MINUTE {
            match budget.take("daily").await {
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
        assert_eq!((sent_to(&budget, "daily").await, sent_to(&budget, "stk_mins").await), (100, 100));
        tokio::time::advance(MINUTE).await;
        assert_eq!((sent_to(&budget, "daily").await, sent_to(&budget, "adj_factor").await), (50, 100));
        assert!(matches!(budget.take("daily").await, Allowance::DayIsFull(_)));
        assert!(matches!(budget.take("adj_factor").await, Allowance::NotBefore(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn reload_keeps_the_count_of_the_minute() {
        let quotas = QuotaState::default();
        let of = |name, per_minute| quotas.budget(name, limits(per_minute, 0));
        assert_eq!(sent_at_once(&of(SourceName::Tushare, 100)).await, 100);
        assert!(matches!(of(SourceName::Tushare, 100).take("daily").await, Allowance::NotBefore(_)), "it is spent");
        assert_eq!(sent_at_once(&of(SourceName::Yahoo, 100)).await, 100, "other sources have their own");
        assert_eq!(sent_at_once(&of(SourceName::Tushare, 150)).await, 50, "a higher limit applies at once");
        assert_eq!(sent_at_once(&of(SourceName::Tushare, 50)).await, 0, "so does a lower one");
        tokio::time::advance(MINUTE).await;
        assert_eq!(sent_at_once(&of(SourceName::Tushare, 50)).await, 50);
    }

    #[tokio::test]
    async fn reload_keeps_the_count_of_the_day() {
        let quotas = QuotaState::default();
        let of = |per_day| quotas.budget(SourceName::Tushare, limits(0, per_day));
        assert_eq!(sent_at_once(&of(20)).await, 20);
        let full = of(20).take("daily").await;
        assert!(matches!(full, Allowance::DayIsFull(left) if left <= Duration::from_secs(86_400)), "{full:?}");
        assert_eq!(sent_at_once(&of(25)).await, 5, "a higher limit applies at once");
    }

    #[tokio::test]
    async fn another_token_is_counted_by_itself() {
        let quotas = QuotaState::default();
        let of = |token: &str| {
            let account = Account::of("place", Some(&token.to_owned().into()));
            assert!(!format!("{account:?}").contains(token));
            quotas.budget_of(SourceName::Tushare, account, limits(0, 20))
        };
        assert_eq!(sent_at_once(&of("first")).await, 20);
        assert_eq!(sent_at_once(&of("second")).await, 20);
        assert_eq!(sent_at_once(&of("first ")).await, 0, "its requests are remembered");
        for number in 0..50 {
            of(&format!("token {number}"));
        }
        assert_eq!(lock(&quotas.accounts).values().map(Vec::len).max(), Some(MAX_ACCOUNTS));
    }
}
