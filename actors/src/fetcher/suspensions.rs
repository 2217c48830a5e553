// Upstream: actor, data_worker, row_context
// Downstream: day_cache, domain, ports
// Role: On which of the days that brought no row a security was suspended, as the sources of daily bars tell.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::NaiveDate;

use crate::domain::{Code, DateRange};
use crate::fetcher::day_cache::{MAX_DAYS, SharedDays};
use crate::ports::{MarketSource, SourceError};

/// Who was suspended on a day; `None` where the source does not say; or why it will not.
type Told = Result<Option<Arc<HashSet<Code>>>, SourceError>;

/// Asks for a few days as a whole, so that an evening's tasks share the answers, and for many code by code.
#[derive(Default)]
pub struct Suspensions {
    days: SharedDays<Told>,
}

impl Suspensions {
    /// Of these days, in order, those on which the first source that tells suspensions says that the security was suspended;
    /// `None` where none tells. An error is that of the first source that failed, where no other one told.
    pub async fn among(
        &self,
        sources: &[Arc<dyn MarketSource>],
        code: Code,
        days: &[NaiveDate],
    ) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let mut failed = None;
        for source in sources {
            match self.told(source, code, days).await {
                Ok(Some(suspended)) => return Ok(Some(suspended)),
                Ok(None) => {}
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    async fn told(
        &self,
        source: &Arc<dyn MarketSource>,
        code: Code,
        days: &[NaiveDate],
    ) -> Result<Option<Vec<NaiveDate>>, SourceError> {
        let Some((start, end)) = days.first().copied().zip(days.last().copied()) else { return Ok(None) };
        if days.len() > MAX_DAYS {
            let told = source.suspensions(code, DateRange { start, end }).await?;
            return Ok(told.map(|told| {
                let told: HashSet<NaiveDate> = told.into_iter().collect();
                days.iter().copied().filter(|day| told.contains(day)).collect()
            }));
        }
        let mut suspended = Vec::new();
        for day in days {
            match self.days.answer(source.name(), *day, async || ask(source, *day).await).await?? {
                Some(codes) if codes.contains(&code) => suspended.push(*day),
                Some(_) => {}
                None => return Ok(None),
            }
        }
        Ok(Some(suspended))
    }
}

/// A refusal for good is an answer, too: it is kept as long.
async fn ask(source: &Arc<dyn MarketSource>, day: NaiveDate) -> Result<Told, SourceError> {
    match source.day_suspensions(day).await {
        Ok(told) => Ok(Ok(told.map(|codes| Arc::new(codes.into_iter().collect())))),
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

    /// Tells suspensions of one code, or refuses, or does not tell.
    struct Vendor {
        name: &'static str,
        told: Result<Option<Vec<NaiveDate>>, SourceErrorKind>,
        calls: AtomicU32,
    }

    impl Vendor {
        fn answer(&self) -> Result<Option<Vec<NaiveDate>>, SourceError> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            let refused = |kind| SourceError { source_name: self.name, request: "suspensions".into(), kind };
            self.told.clone().map_err(refused)
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
            let of_day = |days: Vec<NaiveDate>| days.into_iter().filter(|told| *told == day).map(|_| code(0)).collect();
            self.answer().map(|told| told.map(of_day))
        }
    }

    fn vendor(name: &'static str, told: Result<Option<Vec<NaiveDate>>, SourceErrorKind>) -> Arc<Vendor> {
        Arc::new(Vendor { name, told, calls: AtomicU32::new(0) })
    }

    fn code(n: u32) -> Code {
        format!("{n:06}.SZ").parse().unwrap()
    }

    fn day(d: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2024, 1, d).unwrap()
    }

    #[tokio::test]
    async fn tasks_share_one_suspension_call_per_day() {
        let vendor = vendor("telling", Ok(Some(vec![day(3)])));
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
        let vendor = vendor("telling", Ok(Some((1..=31).map(day).collect())));
        let sources: [Arc<dyn MarketSource>; 1] = [vendor.clone()];
        let missing: Vec<NaiveDate> = (8..=19).map(day).collect();
        assert_eq!(Suspensions::default().among(&sources, code(7), &missing).await, Ok(Some(missing)));
        assert_eq!(vendor.calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn first_answering_source_decides_suspensions() {
        let forbidden = vendor("forbidden", Err(SourceErrorKind::Forbidden("no points".into())));
        let (silent, telling) = (vendor("silent", Ok(None)), vendor("telling", Ok(Some(vec![day(2)]))));
        let sources: [Arc<dyn MarketSource>; 3] = [forbidden.clone(), silent, telling];
        let suspensions = Suspensions::default();
        let second = [day(2)];
        assert_eq!(suspensions.among(&sources, code(0), &second).await, Ok(Some(vec![day(2)])));
        assert_eq!(suspensions.among(&sources[1..2], code(0), &second).await, Ok(None));
        let refused = suspensions.among(&sources[..2], code(0), &second).await.unwrap_err();
        assert!(refused.to_string().contains("no points"), "{refused}");
        assert_eq!(forbidden.calls.load(Ordering::SeqCst), 1, "a refusal for good costs one call");
        assert_eq!(suspensions.among(&sources[2..], code(0), &[]).await, Ok(None), "there is nothing to ask");
    }
}
