// Upstream: actor, bars, parts
// Downstream: day_cache, domain, ports
// Role: Fetches the bars of all securities of a day with one call and shares them among tasks.

//! The increments of an evening all need the same one or two days. Code by code these are 5,500 calls; as whole days,
//! one call per day.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::domain::calendar::TradingCalendar;
use crate::domain::{Code, DateRange};
use crate::fetcher::day_cache::{MAX_DAYS, SharedDays};
use crate::ports::{MarketSource, NotedBars, NotedDay, SourceError, SourceErrorKind};

/// The bars of a day by code, or the error of a source that permanently refuses whole days.
type Section = Result<Arc<HashMap<Code, NotedBars>>, SourceError>;

/// Recently fetched days.
#[derive(Default)]
pub struct CrossSections {
    days: SharedDays<Section>,
}

/// The trading days of a range. `None` if they are too many to be fetched as whole days, or if the range is outside the
/// built-in calendar.
pub fn days_of(range: DateRange) -> Option<Vec<NaiveDate>> {
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
            let section = self.days.answer(source.name(), *day, async || fetch(source, *day).await).await??;
            if let Some(NotedBars { bars, notes, .. }) = section.get(&code) {
                noted.bars.extend_from_slice(bars);
                noted.notes.extend_from_slice(notes);
            }
        }
        Ok(noted)
    }
}

/// Whether securities are requested one by one after this error of a whole day. After a refused login they are not: it
/// would be refused again.
pub(super) fn excludes_whole_days(kind: &SourceErrorKind) -> bool {
    !(kind.is_transient() || kind.is_refused_login()) || matches!(kind, SourceErrorKind::BadAnswer(_))
}

async fn fetch(source: &Arc<dyn MarketSource>, day: NaiveDate) -> Result<Section, SourceError> {
    let mut attempt = 1;
    let NotedDay { bars, notes } = loop {
        match source.noted_day_bars(day).await {
            Ok(noted) => break noted,
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
    };
    tracing::info!(source = source.name(), %day, rows = bars.len(), "whole day fetched for all securities");
    let mut section: HashMap<Code, NotedBars> = HashMap::with_capacity(bars.len());
    for (code, bar) in bars {
        section.entry(code).or_default().bars.push(bar);
    }
    for (code, note) in notes {
        section.entry(code).or_default().notes.push(note);
    }
    Ok(Ok(Arc::new(section)))
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
        let sections = Arc::new(CrossSections::default());
        let tasks = (0..100).map(|n| {
            let (sections, source) = (sections.clone(), source.clone());
            tokio::spawn(async move { sections.bars(&source, code(n), &[day(2), day(3)]).await.unwrap().bars.len() })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap(), 2);
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
