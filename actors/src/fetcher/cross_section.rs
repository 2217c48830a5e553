// Upstream: actor, bars, factors, parts
// Downstream: day_cache, domain, ports, settings, supervision
// Role: Fetches bars or factors of all securities of a day with one call and shares them among tasks.

//! The increments of an evening all need the same one or two days; after an outage of the worker, some more. Code by code
//! these are 5,500 calls; as whole days, one call per day.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;

use crate::domain::calendar::TradingCalendar;
use crate::domain::{Code, DateRange, FetchedFactor, Stage, SyncMode};
use crate::fetcher::day_cache::{MAX_DAYS, SharedDays};
use crate::ports::{MarketSource, NotedBars, NotedDay, SourceError, SourceErrorKind};
use crate::settings::FetchSettings;
use crate::supervision::StatusBoard;

/// What a day has for each code, or the error of a source that permanently refuses whole days.
type Section<T> = Result<Arc<HashMap<Code, T>>, SourceError>;

/// Recently fetched days.
#[derive(Default)]
pub struct CrossSections {
    bars: SharedDays<Section<NotedBars>>,
    factors: SharedDays<Section<Vec<FetchedFactor>>>,
}

/// Time that a task waits for others that could share a day with it: the commands of an evening arrive one by one. It is
/// short beside the answer of a vendor.
const GATHERING: Duration = Duration::from_millis(100);

/// Maximum number of waits, while more and more tasks come.
const MAX_GATHERINGS: u32 = 10;

/// Decides whether days are fetched for all securities at once.
pub struct Sharing<'a> {
    /// Counts the tasks that wait.
    pub board: &'a StatusBoard,
    /// Provides the number of tasks that are worth a whole day.
    pub settings: &'a FetchSettings,
}

impl Sharing<'_> {
    /// Whether whole days are worth their calls: many tasks wait that share them, or they are there already.
    async fn is_worth_it(&self, are_there: impl Fn() -> bool) -> bool {
        let min_tasks = u64::from(self.settings.whole_days_from_tasks);
        let num_waiting = || self.board.counters.tasks_in(Stage::Waiting).get();
        if min_tasks == 0 {
            return false;
        }
        for _ in 0..MAX_GATHERINGS {
            let before = num_waiting();
            if before >= min_tasks || are_there() {
                return true;
            }
            tokio::time::sleep(GATHERING).await;
            if num_waiting() <= before {
                break; // no more come
            }
        }
        num_waiting() >= min_tasks || are_there()
    }
}

/// The trading days of an increment. `None` if this is no increment, if there are too many days to be fetched as whole
/// days, or if they are outside the built-in calendar.
pub fn increment_days(mode: SyncMode, range: DateRange) -> Option<Vec<NaiveDate>> {
    if mode == SyncMode::Incremental { days_of(range) } else { None }
}

fn days_of(range: DateRange) -> Option<Vec<NaiveDate>> {
    let calendar = TradingCalendar::built_in();
    let known = calendar.range()?;
    if !known.contains(range.start) || !known.contains(range.end) {
        return None;
    }
    let days = calendar.trading_days(range);
    (days.len() <= MAX_DAYS).then(|| days.to_vec())
}

/// Maximum number of requests for a day whose answers are unreadable.
const MAX_ATTEMPTS: u32 = 3;

impl CrossSections {
    /// Whether the bars of these days are fetched for all securities.
    pub async fn offers_bars(&self, source: &dyn MarketSource, days: &[NaiveDate], sharing: &Sharing<'_>) -> bool {
        sharing.is_worth_it(|| self.bars.has_all(source.name(), days)).await
    }

    /// Whether the factors of these days are fetched for all securities.
    pub async fn offers_factors(&self, source: &dyn MarketSource, days: &[NaiveDate], sharing: &Sharing<'_>) -> bool {
        sharing.is_worth_it(|| self.factors.has_all(source.name(), days)).await
    }

    /// The bars of one security on these days. After a transient error, the next task that needs the day calls again. A
    /// permanent error is cached like an answer.
    pub async fn bars(
        &self,
        source: &Arc<dyn MarketSource>,
        code: Code,
        days: &[NaiveDate],
    ) -> Result<NotedBars, SourceError> {
        let mut noted = NotedBars::default();
        for day in days {
            let section = self.bars.answer(source.name(), *day, async || bars_of(source, *day).await).await??;
            if let Some(NotedBars { bars, notes, .. }) = section.get(&code) {
                noted.bars.extend_from_slice(bars);
                noted.notes.extend_from_slice(notes);
            }
        }
        Ok(noted)
    }

    /// The factors of one security on these days, as [`Self::bars`].
    pub async fn factors(
        &self,
        source: &Arc<dyn MarketSource>,
        code: Code,
        days: &[NaiveDate],
    ) -> Result<Vec<FetchedFactor>, SourceError> {
        let mut factors = Vec::new();
        for day in days {
            let ask = async || factors_of(source, *day).await;
            let section = self.factors.answer(source.name(), *day, ask).await??;
            factors.extend(section.get(&code).into_iter().flatten().cloned());
        }
        Ok(factors)
    }
}

/// The answer of whole days, or by code: a source may refuse requests for whole days but answer for one security.
pub async fn or_by_code<T>(
    by_day: Result<T, SourceError>,
    by_code: impl AsyncFnOnce() -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    match by_day {
        Err(error) if excludes_whole_days(&error.kind) => by_code().await,
        answer => answer,
    }
}

/// Whether securities are requested one by one after this error of a whole day. After a refused login they are not: it
/// would be refused again.
fn excludes_whole_days(kind: &SourceErrorKind) -> bool {
    !(kind.is_transient() || kind.is_refused_login()) || matches!(kind, SourceErrorKind::BadAnswer(_))
}

async fn bars_of(source: &Arc<dyn MarketSource>, day: NaiveDate) -> Result<Section<NotedBars>, SourceError> {
    let NotedDay { bars, notes } = match whole_day(async || source.noted_day_bars(day).await).await? {
        Ok(answer) => answer,
        Err(refusal) => return Ok(Err(refusal)),
    };
    tracing::info!(source = source.name(), %day, rows = bars.len(), "whole day of bars fetched for all securities");
    let mut section: HashMap<Code, NotedBars> = HashMap::with_capacity(bars.len());
    for (code, bar) in bars {
        section.entry(code).or_default().bars.push(bar);
    }
    for (code, note) in notes {
        section.entry(code).or_default().notes.push(note);
    }
    Ok(Ok(Arc::new(section)))
}

async fn factors_of(
    source: &Arc<dyn MarketSource>,
    day: NaiveDate,
) -> Result<Section<Vec<FetchedFactor>>, SourceError> {
    let factors = match whole_day(async || source.day_factors(day).await).await? {
        Ok(answer) => answer,
        Err(refusal) => return Ok(Err(refusal)),
    };
    tracing::info!(source = source.name(), %day, rows = factors.len(), "whole day of factors fetched");
    let mut section: HashMap<Code, Vec<FetchedFactor>> = HashMap::with_capacity(factors.len());
    for (code, factor) in factors {
        section.entry(code).or_default().push(factor);
    }
    Ok(Ok(Arc::new(section)))
}

/// Asks for a day, again while the answer is unreadable. The inner error is permanent: the source gives no whole days.
async fn whole_day<T>(ask: impl AsyncFn() -> Result<T, SourceError>) -> Result<Result<T, SourceError>, SourceError> {
    let mut attempt = 1;
    loop {
        match ask().await {
            Ok(answer) => return Ok(Ok(answer)),
            Err(error) if !excludes_whole_days(&error.kind) => return Err(error),
            Err(error) if error.kind.is_transient() && attempt < MAX_ATTEMPTS => {
                tracing::warn!(%error, attempt, "the answer of a whole day is unreadable; it is requested again");
                attempt += 1;
            }
            Err(error) => {
                tracing::warn!(%error, "the source gives no whole days; securities are requested one by one");
                return Ok(Err(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FetchedBar, Field, SourceId};
    use crate::fetcher::day_cache::MAX_AGE;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Returns one bar of every code; the first `failures` calls fail.
    struct Vendor {
        calls: AtomicU32,
        failures: u32,
        failure: SourceErrorKind,
    }

    #[async_trait]
    impl MarketSource for Vendor {
        fn name(&self) -> &'static str {
            "vendor"
        }

        fn id(&self) -> SourceId {
            SourceId::OTHER
        }

        async fn day_bars(&self, day: NaiveDate) -> Result<Vec<(Code, FetchedBar)>, SourceError> {
            let call = self.calls.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            if call < self.failures {
                let (request, kind) = (day.to_string(), self.failure.clone());
                return Err(SourceError { source_name: "vendor", request, kind });
            }
            let bar = FetchedBar {
                timestamp: Field::Value(day.and_time(chrono::NaiveTime::MIN)),
                open: Field::Missing,
                high: Field::Missing,
                low: Field::Missing,
                close: Field::Missing,
                volume: Field::Missing,
                amount: Field::Missing,
            };
            Ok((0..100).map(|n| (code(n), bar.clone())).collect())
        }
    }

    fn code(n: u32) -> Code {
        format!("{n:06}.SZ").parse().unwrap()
    }

    fn vendor(failures: u32) -> (Arc<Vendor>, Arc<dyn MarketSource>) {
        vendor_that_fails(failures, SourceErrorKind::Server("busy".into()))
    }

    fn vendor_that_fails(failures: u32, failure: SourceErrorKind) -> (Arc<Vendor>, Arc<dyn MarketSource>) {
        let vendor = Arc::new(Vendor { calls: AtomicU32::new(0), failures, failure });
        (vendor.clone(), vendor)
    }

    fn day(d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 1, d).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn many_tasks_share_one_call_a_day_until_it_is_old() {
        let (vendor, source) = vendor(0);
        let sections = CrossSections::default();
        let days = [day(2), day(3)];
        let tasks = (0..100).map(|n| sections.bars(&source, code(n), &days));
        for answer in futures_util::future::join_all(tasks).await {
            assert_eq!(answer.unwrap().bars.len(), 2);
        }
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 2);
        assert_eq!(
            sections.bars(&source, code(500), &[day(2)]).await.unwrap().bars,
            [],
            "a code without a bar that day"
        );
        tokio::time::advance(MAX_AGE).await;
        sections.bars(&source, code(1), &[day(2)]).await.unwrap();
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn next_caller_repeats_failed_day_call() {
        let (vendor, source) = vendor(1);
        let sections = CrossSections::default();
        let days = [day(2)];
        let (first, second) =
            tokio::join!(sections.bars(&source, code(1), &days), sections.bars(&source, code(2), &days));
        assert_eq!((first.is_err(), second.map(|noted| noted.bars.len())), (true, Ok(1)));
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn permanent_refusal_costs_one_call_until_expiry() {
        let (vendor, source) = vendor_that_fails(1, SourceErrorKind::Forbidden("no days".into()));
        let sections = CrossSections::default();
        for n in 0..100 {
            assert!(sections.bars(&source, code(n), &[day(2)]).await.is_err());
        }
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 1);
        tokio::time::advance(MAX_AGE).await;
        assert_eq!(sections.bars(&source, code(1), &[day(2)]).await.unwrap().bars.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn unreadable_day_is_requested_three_times() {
        for (failures, calls) in [(2, 3), (9, 3)] {
            let (vendor, source) = vendor_that_fails(failures, SourceErrorKind::BadAnswer("<html>".into()));
            let sections = CrossSections::default();
            for n in 0..50 {
                assert_eq!(sections.bars(&source, code(n), &[day(2)]).await.is_ok(), failures < 3);
            }
            assert_eq!(vendor.calls.load(Ordering::SeqCst), calls, "tasks share the outcome");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_day_is_shared_by_many_tasks_and_by_the_last_ones() {
        let (vendor, source) = vendor(0);
        let (sections, board, days) = (CrossSections::default(), StatusBoard::default(), [day(2), day(3)]);
        let settings = FetchSettings { whole_days_from_tasks: 20, ..FetchSettings::default() };
        let sharing = Sharing { board: &board, settings: &settings };
        let waiting = board.counters.tasks_in(Stage::Waiting);
        assert!(!sections.offers_bars(source.as_ref(), &days, &sharing).await, "a task alone");
        let soon = async { waiting.set(20) };
        let (offers, ()) = tokio::join!(sections.offers_bars(source.as_ref(), &days, &sharing), soon);
        assert!(offers, "others come within the time of gathering");
        sections.bars(&source, code(1), &days).await.unwrap();
        waiting.set(0);
        assert!(sections.offers_bars(source.as_ref(), &days, &sharing).await, "the last tasks take what is there");
        assert!(!sections.offers_bars(source.as_ref(), &[day(3), day(4)], &sharing).await, "one day is not there");
        assert!(!sections.offers_factors(source.as_ref(), &days, &sharing).await, "bars are no factors");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!sections.offers_bars(source.as_ref(), &days, &sharing).await, "a command later gets its own answer");
        let off = FetchSettings { whole_days_from_tasks: 0, ..settings };
        waiting.set(1_000);
        assert!(!sections.offers_bars(source.as_ref(), &days, &Sharing { board: &board, settings: &off }).await);
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn fetches_whole_days_only_for_few_trading_days() {
        let range = |start, end| DateRange { start: day(start), end: day(end) };
        assert_eq!(days_of(range(5, 9)), Some(vec![day(5), day(8), day(9)]));
        assert_eq!(days_of(range(6, 7)), Some(vec![]), "a weekend");
        assert_eq!(days_of(range(1, 31)), None);
        let beyond = DateRange { start: day(1), end: NaiveDate::from_ymd_opt(2999, 1, 1).unwrap() };
        assert_eq!(days_of(beyond), None);
    }
}
