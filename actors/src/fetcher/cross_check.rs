// Upstream: actor, parts
// Downstream: comparison, domain, ports, settings, source_circuit, supervision
// Role: Fetches the same bars from a second source and reports differences.

//! Two vendors are rarely wrong in the same way. A comparison costs one call and delays its task by that call, so it is
//! off unless `sources.cross_check` names a source. If the comparison fails or takes too long, the rows are stored
//! without it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::domain::{FetchedBar, SourceId, TaskReport};
use crate::fetcher::comparison::Comparison;
use crate::fetcher::source_circuit::SourceCircuits;
use crate::ports::{
    BarRequest, DataKind, MarketSource, MarketSources, NotedBars, SourceError, SourceErrorKind, Swappable,
};
use crate::settings::rules::CrossCheckSettings;
use crate::settings::{QualitySettings, ms};
use crate::supervision::{MetricEvent, StatusBoard};

/// Pause of all comparisons after a transient failure. Without it, each task would wait for an unreachable source.
const PAUSE: Duration = Duration::from_secs(60);

/// Compares fetched bars with those of another source.
pub(crate) struct CrossCheck {
    sources: Arc<Swappable<dyn MarketSources>>,
    circuits: Arc<SourceCircuits>,
    board: Arc<StatusBoard>,
    paused_until: Mutex<Option<Instant>>,
}

impl CrossCheck {
    pub(crate) fn new(
        sources: Arc<Swappable<dyn MarketSources>>,
        circuits: Arc<SourceCircuits>,
        board: Arc<StatusBoard>,
    ) -> Self {
        Self { sources, circuits, board, paused_until: Mutex::default() }
    }

    /// Compares rows of `source` with the rows of the first other source for comparisons, which `call` fetches. `None`
    /// if there is nothing to compare.
    pub(crate) async fn report(
        &self,
        request: &BarRequest,
        source: SourceId,
        rows: &[FetchedBar],
        call: impl AsyncFn(Arc<dyn MarketSource>) -> Result<NotedBars, SourceError>,
        quality: &QualitySettings,
    ) -> Option<TaskReport> {
        let candidates = self.sources.pin().to_compare(DataKind::of(request.frequency));
        let other = candidates.into_iter().find(|candidate| candidate.id() != source).filter(|_| !rows.is_empty())?;
        let Some(others) = self.second_answer(&other, call, &quality.cross_check).await else {
            let mut report = TaskReport::default();
            report.counts.not_compared = rows.len() as u64;
            return Some(report);
        };
        let comparison = Comparison {
            code: request.code,
            range: request.range,
            other: other.name(),
            compares_amounts: source.has_amounts() && other.id().has_amounts(),
            settings: &quality.cross_check,
        };
        Some(comparison.of(rows, &others, quality.max_examples))
    }

    async fn second_answer(
        &self,
        other: &Arc<dyn MarketSource>,
        call: impl AsyncFn(Arc<dyn MarketSource>) -> Result<NotedBars, SourceError>,
        settings: &CrossCheckSettings,
    ) -> Option<Vec<FetchedBar>> {
        if self.is_paused() {
            return None;
        }
        let permit = self.circuits.admit(other).ok()?;
        let (begun, max_wait) = (Instant::now(), ms(settings.max_wait_ms));
        let timed_out = || SourceError {
            source_name: other.name(),
            request: "comparison".to_owned(),
            kind: SourceErrorKind::Timeout(max_wait),
        };
        let answer = timeout(max_wait, call(other.clone())).await.unwrap_or_else(|_| Err(timed_out()));
        let (error, duration) = (answer.as_ref().err(), begun.elapsed());
        self.board.observe(&MetricEvent::FetchEnded { source: other.name(), error, duration });
        permit.ended(error);
        self.board.progress.progressed();
        if let Err(error) = &answer {
            tracing::warn!(%error, "comparison failed; the rows are stored without it");
            if error.kind.is_transient() && error.kind != SourceErrorKind::Replaced {
                self.pause();
            }
        }
        answer.ok().map(|noted| noted.bars)
    }

    fn is_paused(&self) -> bool {
        let mut paused = self.paused_until.lock().unwrap_or_else(PoisonError::into_inner);
        if paused.is_some_and(|until| until <= Instant::now()) {
            *paused = None;
        }
        paused.is_some()
    }

    fn pause(&self) {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoSources;

    impl MarketSources for NoSources {
        fn of(&self, _kind: DataKind) -> Vec<Arc<dyn MarketSource>> {
            Vec::new()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_after_a_failure() {
        let comparisons = CrossCheck::new(
            Swappable::new(Arc::new(NoSources)),
            Arc::new(SourceCircuits::new(Arc::default())),
            Arc::default(),
        );
        assert!(!comparisons.is_paused());
        comparisons.pause();
        assert!(comparisons.is_paused());
        tokio::time::advance(PAUSE).await;
        assert!(!comparisons.is_paused());
    }
}
