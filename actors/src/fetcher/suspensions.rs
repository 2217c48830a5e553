// Upstream: actor, data_worker, row_context
// Downstream: day_cache, domain, ports
// Role: Determines on which days without rows a security was suspended, as reported by the sources of daily bars.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::domain::{Code, DateRange};
use crate::fetcher::day_cache::SharedDays;
use crate::ports::{MarketSource, SourceError};

/// Maximum number of days that are requested as whole days: a task alone makes so many calls in place of one.
const MAX_DAYS: usize = 5;

/// The codes that a source reports as suspended on a day; `None` if the source does not report suspensions; the error
/// if it permanently refuses.
type SuspensionAnswer = Result<Option<Arc<HashSet<Code>>>, SourceError>;

/// Requests suspensions. A few days are requested as whole days, so that the tasks of an evening share the answers;
/// many days are requested code by code, and so are a few if the source has no answer for a whole day.
#[derive(Default)]
pub struct Suspensions {
    days: SharedDays<SuspensionAnswer>,
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
    ) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let (mut failed, mut nothing) = (None, None);
        for source in sources {
            match self.reported(source, code, days).await {
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
    ) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let Some((start, end)) = days.first().copied().zip(days.last().copied()) else { return Ok(None) };
        let of_code = async || {
            let reported = source.suspensions(code, DateRange { start, end }).await?;
            Ok(reported.map(|reported| {
                let reported: HashSet<NaiveDate> = reported.into_iter().collect();
                days.iter().copied().filter(|day| reported.contains(day)).collect()
            }))
        };
        if days.len() > MAX_DAYS {
            return of_code().await;
        }
        let mut suspended = Vec::new();
        for day in days {
            match self.days.answer(source.name(), *day, async || ask(source, *day).await).await?? {
                Some(codes) if codes.contains(&code) => suspended.push(*day),
                Some(_) => {}
                None => return of_code().await,
            }
        }
        Ok(Some(suspended))
    }
}

/// Requests the suspensions of a day. A permanent error is cached like an answer; a transient error is not cached.
async fn ask(source: &Arc<dyn MarketSource>, day: NaiveDate) -> Result<SuspensionAnswer, SourceError> {
    match source.day_suspensions(day).await {
        Ok(reported) => Ok(Ok(reported.map(|codes| Arc::new(codes.into_iter().collect())))),
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

        async fn day_suspensions(&self, day: NaiveDate) -> Result<Option<Vec<Code>>, SourceError> {
            tokio::task::yield_now().await;
            let is_day = |reported: &NaiveDate| *reported == day;
            let of_day = |days: Vec<NaiveDate>| days.into_iter().filter(is_day).map(|_| code(0)).collect();
            self.answer().map(|reported| reported.map(of_day))
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
            tokio::spawn(async move { suspensions.among(&sources, code(n), &[day(2), day(3)]).await.unwrap() })
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
        assert_eq!(Suspensions::default().among(&sources, code(7), &missing).await, Ok(Some(missing)));
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
        let suspended = Suspensions::default().among(&sources, code(0), &[day(2), day(3)]).await;
        assert_eq!(suspended, Ok(Some(vec![day(2)])));
        let other = vendor("reporting", Ok(Some(vec![day(3)])));
        let both: [Arc<dyn MarketSource>; 2] = [Arc::new(ByCode), other];
        assert_eq!(Suspensions::default().among(&both, code(0), &[day(3)]).await, Ok(Some(vec![day(3)])));
        assert_eq!(Suspensions::default().among(&sources, code(0), &[day(3)]).await, Ok(Some(vec![])), "it answered");
    }

    #[tokio::test]
    async fn first_answering_source_decides_suspensions() {
        let forbidden = vendor("forbidden", Err(SourceErrorKind::Forbidden("no points".into())));
        let (silent, reporting) = (vendor("silent", Ok(None)), vendor("reporting", Ok(Some(vec![day(2)]))));
        let sources: [Arc<dyn MarketSource>; 3] = [forbidden.clone(), silent, reporting];
        let suspensions = Suspensions::default();
        let second = [day(2)];
        assert_eq!(suspensions.among(&sources, code(0), &second).await, Ok(Some(vec![day(2)])));
        assert_eq!(suspensions.among(&sources[1..2], code(0), &second).await, Ok(None));
        let refused = suspensions.among(&sources[..2], code(0), &second).await.unwrap_err();
        assert!(refused.to_string().contains("no points"), "{refused}");
        assert_eq!(forbidden.calls.load(Ordering::SeqCst), 1, "a permanent refusal costs one call");
        assert_eq!(suspensions.among(&sources[2..], code(0), &[]).await, Ok(None), "no days to request");
    }
}
