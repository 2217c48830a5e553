// Upstream: actor, cross_section, data_worker, row_context, ticks
// Downstream: day_cache, domain, ports
// Role: Determines on which days without rows a security was suspended, as reported by the sources of daily bars.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{Datelike, NaiveDate, TimeDelta};

use crate::domain::{Code, DateRange};
use crate::fetcher::day_cache::{SharedDays, answer_of};
use crate::ports::{MarketSource, SourceError};

/// Maximum number of days that are requested as whole days: a task alone makes so many calls in place of one.
const MAX_DAYS: usize = 5;

/// Maximum number of cached answers: the years since the exchanges opened, and some days.
const MAX_CACHED: usize = 64;

/// Longest range whose days are requested as whole days, although many tasks request it: the increments after an outage
/// differ in their first day, and share single days.
const MAX_SPAN_OF_INCREMENTS: TimeDelta = TimeDelta::days(31);

/// Who else needs suspensions.
#[derive(Debug, Clone, Copy)]
pub enum SharedBy {
    /// Nobody, or tasks with the same few days.
    Days,
    /// The tasks of a command that was planned by day. They all request this range.
    PlannedTasks(DateRange),
    /// Many tasks that request this range of their securities.
    ManyTasks(DateRange),
}

/// The suspensions that a source reports in some days; `None` if the source does not report suspensions; the error if
/// it permanently refuses.
type SuspensionAnswer = Result<Option<Arc<HashSet<(Code, NaiveDate)>>>, SourceError>;

/// Requests suspensions. A few days are requested as whole days, so that the tasks of an evening share the answers;
/// many days are requested code by code, and so are a few if the source has no answer for a whole day. Tasks that were
/// planned by day share one answer for all their days, and many tasks with the same range one for each year.
pub struct Suspensions {
    days: SharedDays<SuspensionAnswer>,
}

impl Default for Suspensions {
    fn default() -> Self {
        Self { days: SharedDays::with_capacity(MAX_CACHED) }
    }
}

impl Suspensions {
    /// The days among `days`, in order, on which the security was suspended, as the first source that reports
    /// suspensions says. One that does not know all of them decides only if it has one. `None` if no source reports
    /// any. If no source answers and some fail, returns the first error.
    pub async fn among(
        &self,
        sources: &[Arc<dyn MarketSource>],
        code: Code,
        days: &[NaiveDate],
        shared: SharedBy,
    ) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let (mut failed, mut nothing) = (None, None);
        for source in sources {
            match self.reported(source, code, days, shared).await {
                Ok(Some(suspended)) if suspended.is_empty() && !source.knows_all_suspensions() => {
                    nothing = Some(suspended);
                }
                Ok(Some(suspended)) => return Ok(Some(suspended)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(nothing), Err)
    }

    async fn reported(
        &self,
        source: &Arc<dyn MarketSource>,
        code: Code,
        days: &[NaiveDate],
        shared: SharedBy,
    ) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let Some((start, end)) = days.first().copied().zip(days.last().copied()) else { return Ok(None) };
        let ranges: Vec<DateRange> = match shared {
            SharedBy::PlannedTasks(range) => vec![range],
            SharedBy::ManyTasks(range) if range.end - range.start > MAX_SPAN_OF_INCREMENTS => years_of(days),
            _ if days.len() <= MAX_DAYS => days.iter().map(|day| DateRange { start: *day, end: *day }).collect(),
            _ => return of_code(source, code, days, DateRange { start, end }).await,
        };
        let mut suspended = Vec::new();
        for range in ranges {
            let answer = self.days.of_range(source.name(), range);
            match answer_of(&answer, async || ask(source, range).await).await?? {
                Some(all) => suspended.extend(days.iter().filter(|day| all.contains(&(code, **day)))),
                // Thousands of tasks share the days. A call for each of them would cost more than all bars.
                None if matches!(shared, SharedBy::PlannedTasks(_)) => return Ok(None),
                None => return of_code(source, code, days, DateRange { start, end }).await,
            }
        }
        Ok(Some(suspended))
    }
}

/// The calendar years of these days. An answer for several years could have more rows than a source gives.
fn years_of(days: &[NaiveDate]) -> Vec<DateRange> {
    let mut years: Vec<i32> = days.iter().map(Datelike::year).collect();
    years.dedup();
    let whole = |year| {
        let start = NaiveDate::from_ymd_opt(year, 1, 1)?;
        Some(DateRange { start, end: NaiveDate::from_ymd_opt(year, 12, 31)? })
    };
    years.into_iter().filter_map(whole).collect()
}

/// Requests the suspensions of one security.
async fn of_code(
    source: &Arc<dyn MarketSource>,
    code: Code,
    days: &[NaiveDate],
    range: DateRange,
) -> Result<Option<Vec<NaiveDate>>, SourceError> {
    let reported = source.suspensions(code, range).await?;
    Ok(reported.map(|reported| {
        let reported: HashSet<NaiveDate> = reported.into_iter().collect();
        days.iter().copied().filter(|day| reported.contains(day)).collect()
    }))
}

/// Requests the suspensions of all securities. A permanent error is cached like an answer; a transient error is not.
async fn ask(source: &Arc<dyn MarketSource>, range: DateRange) -> Result<SuspensionAnswer, SourceError> {
    match source.all_suspensions(range).await {
        Ok(reported) => Ok(Ok(reported.map(|suspended| Arc::new(suspended.into_iter().collect())))),
        Err(error) if error.kind.is_transient() => Err(error),
        Err(error) => Ok(Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SourceId;
    use crate::ports::SourceErrorKind;
    use async_trait::async_trait;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Reports the suspensions of one code, refuses, or does not report suspensions.
    struct Vendor {
        name: &'static str,
        reported: Result<Option<Vec<NaiveDate>>, SourceErrorKind>,
        calls: AtomicU32,
    }

    impl Vendor {
        fn answer(&self) -> Result<Option<Vec<NaiveDate>>, SourceError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let refused = |kind| SourceError { source_name: self.name, request: "suspensions".into(), kind };
            self.reported.clone().map_err(refused)
        }
    }

    #[async_trait]
    impl MarketSource for Vendor {
        fn name(&self) -> &'static str {
            self.name
        }

        fn id(&self) -> SourceId {
            SourceId::OTHER
        }

        async fn suspensions(&self, _code: Code, _range: DateRange) -> Result<Option<Vec<NaiveDate>>, SourceError> {
            self.answer()
        }

        async fn all_suspensions(&self, range: DateRange) -> Result<Option<Vec<(Code, NaiveDate)>>, SourceError> {
            tokio::task::yield_now().await;
            let of_days = |days: Vec<NaiveDate>| {
                days.into_iter().filter(|day| range.contains(*day)).map(|day| (code(0), day)).collect()
            };
            self.answer().map(|reported| reported.map(of_days))
        }
    }

    fn vendor(name: &'static str, reported: Result<Option<Vec<NaiveDate>>, SourceErrorKind>) -> Arc<Vendor> {
        Arc::new(Vendor { name, reported, calls: AtomicU32::new(0) })
    }

    fn code(n: u32) -> Code {
        format!("{n:06}.SZ").parse().unwrap()
    }

    fn day(d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 1, d).unwrap()
    }

    #[tokio::test]
    async fn tasks_share_one_suspension_call_per_day() {
        let vendor = vendor("reporting", Ok(Some(vec![day(3)])));
        let (sources, suspensions): ([Arc<dyn MarketSource>; 1], _) =
            ([vendor.clone()], Arc::new(Suspensions::default()));
        let tasks = (0..100).map(|n| {
            let (sources, suspensions) = (sources.clone(), suspensions.clone());
            tokio::spawn(async move {
                suspensions.among(&sources, code(n), &[day(2), day(3)], SharedBy::Days).await.unwrap()
            })
        });
        for (n, task) in tasks.collect::<Vec<_>>().into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), Some(if n == 0 { vec![day(3)] } else { vec![] }));
        }
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn long_gap_asks_by_code_in_one_call() {
        let vendor = vendor("reporting", Ok(Some((1..=31).map(day).collect())));
        let sources: [Arc<dyn MarketSource>; 1] = [vendor.clone()];
        let missing: Vec<NaiveDate> = (8..=19).map(day).collect();
        assert_eq!(Suspensions::default().among(&sources, code(7), &missing, SharedBy::Days).await, Ok(Some(missing)));
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 1);
    }

    /// Knows the suspensions of a code, but not those of a day.
    struct ByCode;

    #[async_trait]
    impl MarketSource for ByCode {
        fn name(&self) -> &'static str {
            "by code"
        }

        fn id(&self) -> SourceId {
            SourceId::OTHER
        }

        async fn suspensions(&self, _code: Code, _range: DateRange) -> Result<Option<Vec<NaiveDate>>, SourceError> {
            Ok(Some(vec![day(2), day(9)]))
        }

        fn knows_all_suspensions(&self) -> bool {
            false
        }
    }

    #[tokio::test]
    async fn a_source_without_whole_days_is_asked_by_code() {
        let sources: [Arc<dyn MarketSource>; 1] = [Arc::new(ByCode)];
        let suspended = Suspensions::default().among(&sources, code(0), &[day(2), day(3)], SharedBy::Days).await;
        assert_eq!(suspended, Ok(Some(vec![day(2)])));
        let other = vendor("reporting", Ok(Some(vec![day(3)])));
        let both: [Arc<dyn MarketSource>; 2] = [Arc::new(ByCode), other];
        assert_eq!(
            Suspensions::default().among(&both, code(0), &[day(3)], SharedBy::Days).await,
            Ok(Some(vec![day(3)]))
        );
        assert_eq!(
            Suspensions::default().among(&sources, code(0), &[day(3)], SharedBy::Days).await,
            Ok(Some(vec![])),
            "it answered"
        );
    }

    #[tokio::test]
    async fn tasks_planned_by_day_share_one_answer_for_all_days() {
        let vendor = vendor("reporting", Ok(Some((8..=12).map(day).collect())));
        let sources: [Arc<dyn MarketSource>; 2] = [Arc::new(ByCode), vendor.clone()];
        let (suspensions, all) = (Suspensions::default(), DateRange { start: day(1), end: day(31) });
        let missing: Vec<NaiveDate> = (8..=19).map(day).collect();
        for n in 0..100 {
            let expected = if n == 0 { missing[..5].to_vec() } else { Vec::new() };
            assert_eq!(
                suspensions.among(&sources, code(n), &missing, SharedBy::PlannedTasks(all)).await,
                Ok(Some(expected)),
                "{n}"
            );
        }
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 1, "and the source without whole days is not asked by code");
    }

    #[tokio::test]
    async fn many_tasks_share_an_answer_for_each_year() {
        let vendor = vendor("reporting", Ok(Some((8..=12).map(day).collect())));
        let sources: [Arc<dyn MarketSource>; 1] = [vendor.clone()];
        let last = NaiveDate::from_ymd_opt(2025, 6, 30).unwrap();
        let range = DateRange { start: NaiveDate::from_ymd_opt(2020, 7, 1).unwrap(), end: last };
        let (suspensions, missing) = (Suspensions::default(), [day(8), day(9), day(15), last]);
        for n in 0..100 {
            let expected = if n == 0 { missing[..2].to_vec() } else { Vec::new() };
            let found = suspensions.among(&sources, code(n), &missing, SharedBy::ManyTasks(range)).await;
            assert_eq!(found, Ok(Some(expected)), "{n}");
        }
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 2, "2024 and 2025");
        let years: Vec<String> = years_of(&[range.start, day(1), last]).iter().map(ToString::to_string).collect();
        assert_eq!(years, ["2020-01-01..2020-12-31", "2024-01-01..2024-12-31", "2025-01-01..2025-12-31"]);
        let alone = suspensions.among(&sources, code(0), &missing, SharedBy::Days).await;
        assert_eq!((alone, vendor.calls.load(Ordering::SeqCst)), (Ok(Some(missing[..2].to_vec())), 6), "four days");
        let by_code: [Arc<dyn MarketSource>; 1] = [Arc::new(ByCode)];
        let found = suspensions.among(&by_code, code(1), &[day(2), day(3)], SharedBy::ManyTasks(range)).await;
        assert_eq!(found, Ok(Some(vec![day(2)])), "a source that answers by code alone");
    }

    #[tokio::test]
    async fn first_answering_source_decides_suspensions() {
        let forbidden = vendor("forbidden", Err(SourceErrorKind::Forbidden("no points".into())));
        let (silent, reporting) = (vendor("silent", Ok(None)), vendor("reporting", Ok(Some(vec![day(2)]))));
        let sources: [Arc<dyn MarketSource>; 3] = [forbidden.clone(), silent, reporting];
        let suspensions = Suspensions::default();
        let second = [day(2)];
        assert_eq!(suspensions.among(&sources, code(0), &second, SharedBy::Days).await, Ok(Some(vec![day(2)])));
        assert_eq!(suspensions.among(&sources[1..2], code(0), &second, SharedBy::Days).await, Ok(None));
        let refused = suspensions.among(&sources[..2], code(0), &second, SharedBy::Days).await.unwrap_err();
        assert!(refused.to_string().contains("no points"), "{refused}");
        assert_eq!(forbidden.calls.load(Ordering::SeqCst), 1, "a permanent refusal costs one call");
        assert_eq!(
            suspensions.among(&sources[2..], code(0), &[], SharedBy::Days).await,
            Ok(None),
            "no days to request"
        );
    }
}
