// Upstream: actor, parts
// Downstream: many
// Role: Fetches bars or factors of all securities of a day with one call and shares them among tasks.

//! The increments of an evening all need the same one or two days; after an outage of the worker, some more. Code by code
//! these are 5,500 calls; as whole days, one call per day.

use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use futures_util::StreamExt;

use crate::domain::calendar::TradingCalendar;
use crate::domain::{Code, DateRange, FetchedFactor, Stage};
use crate::fetcher::by_code::{BarsByCode, ByCode};
use crate::fetcher::day_cache::{MAX_DAYS, Shared, SharedDays, answer_of};
use crate::fetcher::refusals::{Refusals, excludes_many};
use crate::fetcher::suspensions::SharedBy;
use crate::ports::{DataKind, MarketSource, NotedBars, SourceError};
use crate::settings::FetchSettings;
use crate::supervision::StatusBoard;

/// A day of all securities, or the error of a source that permanently refuses whole days.
type Section<T> = Result<Arc<T>, SourceError>;

/// Recently fetched days.
pub struct CrossSections {
    bars: SharedDays<Section<BarsByCode>>,
    factors: SharedDays<Section<ByCode<FetchedFactor>>>,
    /// The sources that refused whole days.
    refusals: Refusals,
}

impl Default for CrossSections {
    fn default() -> Self {
        Self { bars: SharedDays::default(), factors: SharedDays::default(), refusals: Refusals::of("whole days") }
    }
}

/// Time that a task waits for others that could share a day with it: the commands of an evening arrive one by one. It is
/// short beside the answer of a vendor.
const GATHERING: Duration = Duration::from_millis(100);

/// Maximum number of waits, while more and more tasks come.
const MAX_GATHERINGS: u32 = 10;

/// Maximum number of days that are requested at the same time: the answer of a day takes a vendor up to a second.
const MAX_CALLS_AT_ONCE: usize = 4;

/// Decides whether days are fetched for all securities at once.
pub struct Sharing<'a> {
    /// Counts the tasks that wait.
    pub board: &'a StatusBoard,
    /// Provides the number of tasks that are worth a whole day.
    pub settings: &'a FetchSettings,
    /// Whether the command was planned by day, because it names so many securities.
    pub is_planned: bool,
}

impl Sharing<'_> {
    /// Number of tasks that are being fetched or wait for it; 1 is this task alone.
    fn num_tasks(&self) -> u64 {
        let num_in = |stage| self.board.counters.tasks_in(stage).get();
        num_in(Stage::Waiting) + num_in(Stage::Fetching)
    }

    /// Whether this task may share a call with others.
    pub fn has_others(&self) -> bool {
        self.settings.shares_calls() && self.num_tasks() > 1
    }

    /// Who needs the suspensions of this task's days.
    pub fn suspensions(&self, range: DateRange) -> SharedBy {
        let min_tasks = u64::from(self.settings.whole_days_from_tasks);
        match self.is_planned {
            true => SharedBy::PlannedTasks(range),
            false if self.settings.shares_calls() && self.num_tasks() >= min_tasks => SharedBy::ManyTasks(range),
            false => SharedBy::Days,
        }
    }

    /// Whether whole days are worth their calls: many tasks wait that share them, or they are there already.
    async fn is_worth_it(&self, are_there: impl Fn() -> bool) -> bool {
        let min_tasks = u64::from(self.settings.whole_days_from_tasks);
        let num_waiting = || self.board.counters.tasks_in(Stage::Waiting).get();
        if self.is_planned || min_tasks == 0 {
            return self.is_planned;
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

/// The days of a range on which rows are expected. `None` if there are too many to be fetched as whole days. A call for
/// a probable trading day that is a holiday returns no rows.
pub fn whole_days(range: DateRange, calendar: &TradingCalendar) -> Option<Vec<NaiveDate>> {
    // Counted first: a range of decades has thousands of days.
    let known = calendar.trading_days(range).len();
    if known > MAX_DAYS || range.start > range.end {
        return None;
    }
    let days = calendar.expected_days(range);
    (days.len() <= MAX_DAYS).then_some(days)
}

/// Maximum number of requests for a day whose answers are unreadable.
const MAX_ATTEMPTS: u32 = 3;

impl CrossSections {
    /// Whether the bars of these days are fetched for all securities.
    pub async fn offers_bars(&self, source: &dyn MarketSource, days: &[NaiveDate], sharing: &Sharing<'_>) -> bool {
        self.offers(source, DataKind::Bars) && sharing.is_worth_it(|| self.bars.has_all(source.name(), days)).await
    }

    /// Whether the factors of these days are fetched for all securities.
    pub async fn offers_factors(&self, source: &dyn MarketSource, days: &[NaiveDate], sharing: &Sharing<'_>) -> bool {
        self.offers(source, DataKind::Factors)
            && sharing.is_worth_it(|| self.factors.has_all(source.name(), days)).await
    }

    /// Whether the source may be asked for whole days of this kind today. An account that may not ask for them today
    /// is not asked again before the next day or a reload.
    pub fn offers(&self, source: &dyn MarketSource, kind: DataKind) -> bool {
        source.abilities(kind).rows_per_day_call.is_some() && !self.refusals.contain(source.name(), kind)
    }

    /// Forgets refusals, because a reload may have exchanged a source or its account.
    pub fn reloaded(&self) {
        self.refusals.clear();
    }

    /// The bars of one security on these days. After a transient error, the next task that needs the day calls again. A
    /// permanent error is cached like an answer.
    pub async fn bars(
        &self,
        source: &Arc<dyn MarketSource>,
        code: Code,
        days: &[NaiveDate],
    ) -> Result<NotedBars, SourceError> {
        let shared = self.bars.of_days(source.name(), days);
        let mut noted = NotedBars::default();
        for section in self.sections(DataKind::Bars, shared, async |day| bars_of(source, day).await).await? {
            section.add_to(&mut noted, code);
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
        let shared = self.factors.of_days(source.name(), days);
        let sections = self.sections(DataKind::Factors, shared, async |day| factors_of(source, day).await).await?;
        Ok(sections.iter().flat_map(|section| section.of(code)).cloned().collect())
    }

    /// The sections of these days in their order. Some are requested at the same time.
    async fn sections<T>(
        &self,
        kind: DataKind,
        shared: Vec<(NaiveDate, Shared<Section<T>>)>,
        ask: impl AsyncFn(NaiveDate) -> Result<Section<T>, SourceError>,
    ) -> Result<Vec<Arc<T>>, SourceError> {
        let answer = async |(day, shared): &(NaiveDate, Shared<Section<T>>)| answer_of(shared, || ask(*day)).await;
        let mut answers = futures_util::stream::iter(&shared).map(answer).buffered(MAX_CALLS_AT_ONCE);
        let mut sections = Vec::with_capacity(shared.len());
        while let Some(answered) = answers.next().await {
            let section = answered?.inspect_err(|error| self.refusals.note(kind, error))?;
            sections.push(section);
        }
        Ok(sections)
    }
}

async fn bars_of(source: &Arc<dyn MarketSource>, day: NaiveDate) -> Result<Section<BarsByCode>, SourceError> {
    let noted = match whole_day(async || source.noted_day_bars(day).await).await? {
        Ok(answer) => answer,
        Err(refusal) => return Ok(Err(refusal)),
    };
    tracing::info!(source = source.name(), %day, rows = noted.bars.len(), "whole day of bars fetched for all securities");
    Ok(Ok(Arc::new(noted.into())))
}

async fn factors_of(
    source: &Arc<dyn MarketSource>,
    day: NaiveDate,
) -> Result<Section<ByCode<FetchedFactor>>, SourceError> {
    let factors = match whole_day(async || source.day_factors(day).await).await? {
        Ok(answer) => answer,
        Err(refusal) => return Ok(Err(refusal)),
    };
    tracing::info!(source = source.name(), %day, rows = factors.len(), "whole day of factors fetched");
    Ok(Ok(Arc::new(ByCode::new(factors))))
}

/// Asks for a day, again while the answer is unreadable. The inner error is permanent: the source gives no whole days.
async fn whole_day<T>(ask: impl AsyncFn() -> Result<T, SourceError>) -> Result<Result<T, SourceError>, SourceError> {
    let mut attempt = 1;
    loop {
        match ask().await {
            Ok(answer) => return Ok(Ok(answer)),
            Err(error) if !excludes_many(&error.kind) => return Err(error),
            Err(error) if error.kind.is_transient() && attempt < MAX_ATTEMPTS => {
                tracing::warn!(%error, attempt, "the answer of a whole day is unreadable; it is requested again");
                attempt += 1;
            }
            Err(error) => return Ok(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{FetchedBar, Field, SourceId};
    use crate::fetcher::day_cache::MAX_AGE_OF_EARLIER_DAYS;
    use crate::ports::{Abilities, SourceErrorKind};
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

        fn abilities(&self, _kind: DataKind) -> Abilities {
            Abilities { rows_per_day_call: Some(6_000), ..Abilities::default() }
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
        tokio::time::advance(MAX_AGE_OF_EARLIER_DAYS).await;
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
        tokio::time::advance(MAX_AGE_OF_EARLIER_DAYS).await;
        assert_eq!(sections.bars(&source, code(1), &[day(2)]).await.unwrap().bars.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_refuses_days_is_asked_again_tomorrow() {
        let (vendor, source) = vendor_that_fails(1, SourceErrorKind::Forbidden("no days".into()));
        let sections = CrossSections::default();
        assert!(sections.offers(source.as_ref(), DataKind::Bars));
        assert!(sections.bars(&source, code(1), &[day(2), day(3)]).await.is_err());
        assert!(!sections.offers(source.as_ref(), DataKind::Bars));
        assert!(sections.offers(source.as_ref(), DataKind::Factors), "it may give days of factors");
        sections.refusals.age_by_a_day();
        assert!(sections.offers(source.as_ref(), DataKind::Bars), "tomorrow");
        sections.refusals.note(DataKind::Bars, &source.not_offered(DataKind::Bars));
        assert!(!sections.offers(source.as_ref(), DataKind::Bars));
        sections.reloaded();
        assert!(sections.offers(source.as_ref(), DataKind::Bars), "a reload may have exchanged the account");
        assert!(vendor.calls.load(Ordering::SeqCst) <= 2);
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
        let sharing = Sharing { board: &board, settings: &settings, is_planned: false };
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
        let off = Sharing { settings: &off, ..sharing };
        assert!(!sections.offers_bars(source.as_ref(), &days, &off).await);
        let planned = Sharing { is_planned: true, ..off };
        assert!(sections.offers_bars(source.as_ref(), &[day(9)], &planned).await, "the command was planned so");
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn fetches_whole_days_only_for_few_trading_days() {
        let days = |start: &str, end: &str| {
            let range = DateRange { start: start.parse().unwrap(), end: end.parse().unwrap() };
            whole_days(range, TradingCalendar::built_in()).map(|days| days.len())
        };
        assert_eq!(days("2024-01-05", "2024-01-09"), Some(3));
        assert_eq!(days("2024-01-06", "2024-01-07"), Some(0), "a weekend");
        assert_eq!(days("2024-01-01", "2024-01-29"), Some(20));
        assert_eq!(days("2024-01-01", "2024-01-30"), None);
        assert_eq!(days("2998-12-29", "2999-01-04"), Some(5), "weekdays beyond the calendar are probable trading days");
        assert_eq!(days("2024-01-01", "2999-01-01"), None);
        assert_eq!(days("2024-01-09", "2024-01-05"), None);
    }
}
