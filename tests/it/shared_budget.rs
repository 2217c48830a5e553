// Upstream: none
// Downstream: data_worker, kit, main_job
// Role: Tests that workers with one account share its limits through Redis, also while Redis is away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use data_worker::adapters::redis::request_counts::{Priority, RequestCounts};
use data_worker::config::{RedisSection, RequestLimits, SourceName};
use data_worker::sources::shared::budget::{Account, Allowance, Budget, QuotaState};
use data_worker::sources::shared::interface_limit::InterfaceLimit as SharedLimit;
use kit::proxy::Proxy;
use kit::redis::PrivateRedis;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{Dataset, codes, last_closed_day, last_trading_days};
use kit::tushare_server::{InterfaceLimit, Options, TushareServer, Window};
use tokio::time::Instant;

use crate::main_job::PROGRAM;

/// In place of a minute; with the margin of a worker.
const PERIOD: Duration = Duration::from_secs(3);
/// The period in which the vendor counts.
const VENDORS_PERIOD: Duration = Duration::from_millis(2_910);
const LIMIT: u32 = 100;

fn limits(per_minute: u32, per_day: u32) -> RequestLimits {
    RequestLimits { per_minute, per_day, max_concurrent: 1, pause_after_failures: 3, pause_ms: 1_000, is_shared: true }
}

fn section(url: &str) -> RedisSection {
    let (host, port) = url.trim_start_matches("redis://").split('/').next().unwrap().rsplit_once(':').unwrap();
    RedisSection { host: host.to_owned(), port: port.parse().unwrap(), ..RedisSection::default() }
}

/// The budget of a new worker for the account with this token.
fn worker(redis: &PrivateRedis, name: &str, token: &str, limits: RequestLimits, priority: Priority) -> Budget {
    worker_at(&redis.url(), name, token, limits, priority)
}

/// As [`worker`], with its Redis at this address.
fn worker_at(url: &str, name: &str, token: &str, limits: RequestLimits, priority: Priority) -> Budget {
    let quotas = QuotaState::default();
    quotas.share(RequestCounts::new(&section(url), name, priority));
    let account = Account::of("https://vendor", Some(&token.to_owned().into()));
    quotas.budget_of(SourceName::Tushare, account, limits).with_period(PERIOD)
}

/// Requests of several workers, with the time and the worker of each.
#[derive(Clone, Default)]
struct Vendor {
    requests: Arc<Mutex<Vec<(Instant, usize)>>>,
    is_over: Arc<AtomicBool>,
}

impl Vendor {
    /// Sends as much as the budget allows until the end.
    async fn use_up(self, budget: Budget, worker: usize, last: impl Fn() -> bool) {
        while !self.is_over.load(Ordering::SeqCst) && !last() {
            match budget.take("daily").await {
                Allowance::Sent => self.requests.lock().unwrap().push((Instant::now(), worker)),
                // Looks at the end at least each tenth of a second.
                Allowance::NotBefore(time) => {
                    tokio::time::sleep_until(time.min(Instant::now() + Duration::from_millis(100))).await;
                }
                Allowance::DayIsFull(_) => panic!("no limit of a day"),
            }
        }
    }

    fn num_since(&self, begin: Instant, worker: usize) -> usize {
        self.requests.lock().unwrap().iter().filter(|(time, of)| *time >= begin && *of == worker).count()
    }

    /// No period of the vendor has more requests than it allows.
    fn assert_within_limit(&self) -> usize {
        let mut times: Vec<Instant> = self.requests.lock().unwrap().iter().map(|(time, _)| *time).collect();
        times.sort_unstable();
        for (place, time) in times.iter().enumerate() {
            let within = times[place..].iter().take_while(|later| **later < *time + VENDORS_PERIOD).count();
            assert!(within <= LIMIT as usize, "{within} requests in a period from request {place} on");
        }
        times.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_workers_use_one_budget_and_a_dead_ones_part() {
    let (redis, vendor) = (PrivateRedis::start(), Vendor::default());
    let begun = Instant::now();
    let mut running = Vec::new();
    for number in 0..4 {
        let budget = worker(&redis, &format!("n{number}"), "secret-token", limits(LIMIT, 0), Priority::Worker);
        // The first one ends after the second period.
        let last = move || number == 0 && begun.elapsed() > 2 * PERIOD;
        running.push(tokio::spawn(vendor.clone().use_up(budget, number, last)));
    }
    tokio::time::sleep_until(begun + 6 * PERIOD).await;
    vendor.is_over.store(true, Ordering::SeqCst);
    for worker in running {
        worker.await.unwrap();
    }
    let total = vendor.assert_within_limit();
    println!("{total} of {} requests in six periods", 6 * LIMIT);
    assert!(total > 5 * LIMIT as usize, "{total} of {}: the part of the ended worker is used", 6 * LIMIT);
    for number in 1..4 {
        assert!(vendor.num_since(begun, number) > 0, "worker {number} had its part");
    }
    let url = redis.url();
    let mut connection = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    assert!(!keys.is_empty() && keys.iter().all(|key| !key.contains("secret-token")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_redis_exceeds_no_limit_and_stops_no_worker() {
    let (redis, vendor) = (PrivateRedis::start(), Vendor::default());
    let begun = Instant::now();
    let mut running = Vec::new();
    for number in 0..3 {
        let budget = worker(&redis, &format!("n{number}"), "token", limits(LIMIT, 0), Priority::Worker);
        // The last one sends a few requests only, so the others have more than an equal share.
        let share = vendor.clone();
        let last = move || number == 2 && begun.elapsed() < 2 * PERIOD && share.num_since(begun, 2) > 5;
        running.push(tokio::spawn(vendor.clone().use_up(budget, number, last)));
    }
    tokio::time::sleep_until(begun + 2 * PERIOD).await;
    let port = redis.kill();
    let lost = Instant::now();
    tokio::time::sleep_until(lost + 4 * PERIOD).await;
    let in_outage: Vec<usize> = (0..2).map(|number| vendor.num_since(lost, number)).collect();
    // Its counts are empty now.
    let _redis = PrivateRedis::start_on(port);
    let back = Instant::now();
    tokio::time::sleep_until(back + 3 * PERIOD).await;
    vendor.is_over.store(true, Ordering::SeqCst);
    for worker in running {
        worker.await.unwrap();
    }
    let total = vendor.assert_within_limit();
    println!("{total} requests, {in_outage:?} of them in the outage");
    assert!(in_outage.iter().all(|count| *count > 0), "{in_outage:?}");
    assert!(vendor.num_since(back + 2 * PERIOD, 0) + vendor.num_since(back + 2 * PERIOD, 1) > 0);
}

/// The number of requests that the budget allows at once.
async fn sent_at_once(budget: &Budget) -> u32 {
    let mut count = 0;
    while budget.take("daily").await == Allowance::Sent {
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_connection_is_no_outage_of_the_counts() {
    let redis = PrivateRedis::start();
    let proxy = Proxy::on(0, redis.url().trim_start_matches("redis://").trim_end_matches("/0"));
    // A long period: none of its requests leaves it.
    let long = Duration::from_secs(600);
    let limits = limits(LIMIT, 0);
    let first = worker_at(&format!("redis://{}/0", proxy.address()), "n1", "token", limits, Priority::Worker);
    let (first, second) = (first.with_period(long), worker(&redis, "n2", "token", limits, Priority::Worker));
    let second = second.with_period(long);
    assert_eq!((second.take("daily").await, first.take("daily").await), (Allowance::Sent, Allowance::Sent));
    proxy.reset();
    // The whole limit, and not half of what was free. A request may have been counted twice.
    let sent = sent_at_once(&first).await;
    assert!((LIMIT - 3..=LIMIT - 2).contains(&sent), "{sent}");
    assert!(matches!(second.take("daily").await, Allowance::NotBefore(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_sent_nothing_goes_on_without_redis() {
    let redis = PrivateRedis::start();
    let limits = limits(LIMIT, 0);
    let budget = |name| worker(&redis, name, "token", limits, Priority::Worker).with_period(Duration::from_secs(600));
    let (busy, idle) = (budget("n1"), budget("n2"));
    for _ in 0..20 {
        assert_eq!(busy.take("daily").await, Allowance::Sent);
    }
    let interface = Arc::new(SharedLimit::new("daily", idle.clone()));
    interface.keep_registered();
    let mut connection = redis::Client::open(redis.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let deadline = Instant::now() + TIMEOUT;
    let mut num_members = 1;
    while num_members < 2 {
        assert!(Instant::now() < deadline, "the idle worker registers");
        let keys: Vec<String> = redis::cmd("KEYS").arg("*:members").query_async(&mut connection).await.unwrap();
        num_members = redis::cmd("ZCARD").arg(&keys).query_async(&mut connection).await.unwrap();
    }
    // After this time the answer to the first registration is too old.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(busy.take("daily").await, Allowance::Sent);
    redis.kill();
    let (of_busy, of_idle) = (sent_at_once(&busy).await, sent_at_once(&idle).await);
    assert_eq!(of_busy, 39, "half of what was left");
    assert!((39..=40).contains(&of_idle), "{of_idle}: half of what was left when it asked last");
}

#[tokio::test]
async fn the_count_of_the_day_survives_a_worker() {
    let redis = PrivateRedis::start();
    let count = async |name: &str, token: &str| {
        let budget = worker(&redis, name, token, limits(0, 20), Priority::Worker);
        let mut count = 0;
        while count < 12 && budget.take("stk_mins").await == Allowance::Sent {
            count += 1;
        }
        (count, budget.take("daily").await == Allowance::Sent)
    };
    assert_eq!(count("n1", "token").await, (12, true));
    assert_eq!(count("n1", "token").await, (8, true), "after a restart; another interface has its own");
    assert_eq!(count("n2", "token").await, (0, true));
    assert_eq!(count("n2", "other token").await, (12, true), "another account");
}

#[tokio::test]
async fn a_backfill_takes_what_workers_leave() {
    let redis = PrivateRedis::start();
    let of = |name: &str, priority| worker(&redis, name, "token", limits(LIMIT, 0), priority);
    let (backfill, worker) = (of("backfill", Priority::Background), of("n1", Priority::Worker));
    assert_eq!(sent_at_once(&backfill).await, 90, "a tenth is left to the workers");
    assert_eq!(sent_at_once(&worker).await, 10, "the worker waits now");
    let Allowance::NotBefore(time) = backfill.take("daily").await else { panic!("it waits, too") };
    assert!(time > Instant::now());
}

#[test]
fn four_workers_on_one_token_are_never_refused() {
    let codes = codes(150);
    let days = last_trading_days(last_closed_day(), 2);
    let limits = vec![InterfaceLimit::new("daily", Window::Minute, 100)];
    let server =
        TushareServer::start_with(Dataset::generated(&codes, &days), Options { limits, ..Options::default() }).unwrap();
    let mut scene = Scene::with_source("one_token", PROGRAM, server);
    scene.set("sources.tushare.requests_per_minute", 100).set("fetch.whole_days_from_tasks", 0);
    let nodes = ["n1", "n2", "n3", "n4"];
    let _workers = nodes.map(|node| scene.start(node));
    nodes.iter().for_each(|node| scene.wait_for_status(node, "running"));
    scene.send_snapshots(&codes, "");
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    assert_eq!((scene.source.requests_to("daily"), scene.source.rejected()), (150, 0));
    assert_eq!(scene.dead_letters().len(), 0);
}
