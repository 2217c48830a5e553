// Upstream: fetcher, simulation, tests::simulate, world
// Downstream: domain, ports
// Role: A model of a vendor: answers from test data, with scripted errors and delays.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::NaiveDate;

use crate::domain::reference_list::FetchedFormer;
use crate::domain::{
    Code, DateRange, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Field, SourceId,
};
use crate::ports::{BarRequest, DataKind, MarketSource, MarketSources, SourceError, SourceErrorKind};

/// Time after which a request without an answer fails, as in the real sources.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One vendor. It answers requests from [`Data`] after a delay, or with the next queued error.
#[derive(Debug, Default)]
pub struct ModelSource {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    data: Data,
    errors: VecDeque<SourceErrorKind>,
    /// Every request fails with this error.
    refusal: Option<SourceErrorKind>,
    delay: Duration,
    /// Random numbers, the maximum delay and the share of failing requests.
    weather: Option<(fastrand::Rng, Duration, f64)>,
    /// The share of requests in which the program panics.
    panics: f64,
    num_calls: u64,
}

impl State {
    /// The delays of the request and of the answer, and the error of the next request.
    fn next(&mut self) -> (Duration, Duration, Option<SourceErrorKind>) {
        self.num_calls += 1;
        let queued = self.refusal.clone().or_else(|| self.errors.pop_front());
        let Some((random, max_delay, failures)) = &mut self.weather else {
            return (self.delay, Duration::ZERO, queued);
        };
        assert!(random.f64() >= self.panics, "an injected panic");
        let fails = random.f64() < *failures;
        let error = queued.or_else(|| fails.then(|| SourceErrorKind::Unreachable("an injected fault".to_owned())));
        let (sending, answering) = (max_delay.mul_f64(random.f64()), max_delay.mul_f64(random.f64()));
        match sending + answering > TIMEOUT {
            true => (TIMEOUT, Duration::ZERO, Some(SourceErrorKind::Timeout(TIMEOUT))),
            false => (sending, answering, error),
        }
    }
}

/// The data of a vendor.
#[derive(Debug, Clone, Default)]
pub struct Data {
    /// Bars, returned for every frequency.
    pub bars: BTreeMap<Code, Vec<FetchedBar>>,
    /// Raw adjustment factors.
    pub factors: BTreeMap<Code, Vec<FetchedFactor>>,
    /// Ticks by day.
    pub ticks: BTreeMap<(Code, NaiveDate), Vec<FetchedTick>>,
    /// The stock list.
    pub stocks: Vec<FetchedStock>,
    /// The securities that are not traded any more; `None` if the vendor has no such list.
    pub former: Option<FetchedFormer>,
    /// The trading calendar.
    pub trade_days: Vec<FetchedTradeDay>,
}

impl ModelSource {
    /// Changes the vendor's data.
    pub fn edit(&self, edit: impl FnOnce(&mut Data)) {
        edit(&mut self.lock().data);
    }

    /// Queues errors. Each of the next requests fails with one of them.
    pub fn fail(&self, errors: impl IntoIterator<Item = SourceErrorKind>) {
        self.lock().errors.extend(errors);
    }

    /// Makes every request fail with this error from now on; `None` ends this.
    pub fn refuse_all(&self, error: Option<SourceErrorKind>) {
        self.lock().refusal = error;
    }

    /// Sets the delay of each answer.
    pub fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// Gives each request and each answer a random delay of at most `max_delay`, and lets this share of the requests
    /// fail, from a seed.
    pub fn set_weather(&self, seed: u64, max_delay: Duration, failures: f64) {
        self.lock().weather = Some((fastrand::Rng::with_seed(seed), max_delay, failures));
    }

    /// Lets the program panic in this share of the requests. Needs the seed of [`Self::set_weather`].
    pub fn set_panics(&self, share: f64) {
        self.lock().panics = share;
    }

    /// Number of requests so far.
    pub fn num_calls(&self) -> u64 {
        self.lock().num_calls
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer<T>(&self, request: &str, read: impl FnOnce(&Data) -> T + Send) -> Result<T, SourceError>
    where
        T: Send,
    {
        let (sending, answering, error) = self.lock().next();
        tokio::time::sleep(sending).await;
        let answer = match error {
            Some(kind) => Err(SourceError { source_name: self.name(), request: request.to_owned(), kind }),
            None => Ok(read(&self.lock().data)),
        };
        tokio::time::sleep(answering).await;
        answer
    }
}

fn is_within<T>(range: DateRange, time: &Field<chrono::NaiveDateTime>, row: T) -> Option<T> {
    let is_within = match time {
        Field::Value(time) => range.contains(time.date()),
        Field::Missing | Field::Unreadable(_) => true,
    };
    is_within.then_some(row)
}

#[async_trait]
impl MarketSource for ModelSource {
    fn name(&self) -> &'static str {
        "model"
    }

    fn id(&self) -> SourceId {
        SourceId::TUSHARE
    }

    async fn bars(&self, request: &BarRequest) -> Result<Vec<FetchedBar>, SourceError> {
        let BarRequest { code, range, .. } = *request;
        let read = |data: &Data| {
            let bars = data.bars.get(&code).into_iter().flatten();
            bars.filter_map(|bar| is_within(range, &bar.timestamp, bar.clone())).collect()
        };
        self.answer("bars", read).await
    }

    async fn factors(&self, code: Code, range: DateRange) -> Result<Vec<FetchedFactor>, SourceError> {
        let read = |data: &Data| {
            let factors = data.factors.get(&code).into_iter().flatten();
            factors.filter_map(|factor| is_within(range, &factor.timestamp, factor.clone())).collect()
        };
        self.answer("factors", read).await
    }

    async fn ticks(&self, code: Code, day: NaiveDate) -> Result<Vec<FetchedTick>, SourceError> {
        self.answer("ticks", |data| data.ticks.get(&(code, day)).cloned().unwrap_or_default()).await
    }

    async fn stocks(&self) -> Result<Vec<FetchedStock>, SourceError> {
        self.answer("stocks", |data| data.stocks.clone()).await
    }

    fn has_former_stocks(&self) -> bool {
        self.lock().data.former.is_some()
    }

    async fn former_stocks(&self) -> Result<FetchedFormer, SourceError> {
        self.answer("former stocks", |data| data.former.clone().unwrap_or_default()).await
    }

    async fn trade_days(&self) -> Result<Vec<FetchedTradeDay>, SourceError> {
        self.answer("trade days", |data| data.trade_days.clone()).await
    }
}

/// A fixed list of sources, the same for every kind of data.
pub struct ModelSources(pub Vec<Arc<dyn MarketSource>>);

impl MarketSources for ModelSources {
    fn of(&self, _kind: DataKind) -> Vec<Arc<dyn MarketSource>> {
        self.0.clone()
    }
}
