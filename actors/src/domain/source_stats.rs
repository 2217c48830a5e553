// Upstream: data_worker, domain, pipeline, quality_monitor, quality_report, quality_summary
// Downstream: none
// Role: Calls, failures, rows and durations per source, for one task or many.

use std::collections::BTreeMap;
use std::time::Duration;

/// The figures of each called source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceStats {
    sources: BTreeMap<&'static str, SourceFigures>,
    last: Option<&'static str>,
}

/// The figures of one source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SourceFigures {
    /// Fetch attempts of tasks. Several attempts that share one request count one each.
    pub calls: u64,
    /// Failed calls.
    pub failures: u64,
    /// Rows received.
    pub rows: u64,
    /// Total duration of all calls, including waits for rate limits.
    pub time: Duration,
    /// Duration of the longest call.
    pub longest: Duration,
}

impl SourceFigures {
    /// The mean duration of a call.
    pub fn mean(&self) -> Duration {
        self.time.checked_div(u32::try_from(self.calls).unwrap_or(u32::MAX)).unwrap_or_default()
    }
}

impl SourceStats {
    /// Adds one call to a source.
    pub fn called(&mut self, source: &'static str, failed: bool, duration: Duration) {
        let figures = self.sources.entry(source).or_default();
        figures.calls += 1;
        figures.failures += u64::from(failed);
        figures.time += duration;
        figures.longest = figures.longest.max(duration);
        self.last = Some(source);
    }

    /// Adds rows to the source that was called last.
    pub fn rows_came(&mut self, rows: usize) {
        if let Some(figures) = self.last.and_then(|source| self.sources.get_mut(source)) {
            figures.rows += rows as u64;
        }
    }

    /// Adds the figures of `other`.
    pub fn add(&mut self, other: &Self) {
        for (source, figures) in &other.sources {
            let known = self.sources.entry(source).or_default();
            known.calls += figures.calls;
            known.failures += figures.failures;
            known.rows += figures.rows;
            known.time += figures.time;
            known.longest = known.longest.max(figures.longest);
        }
    }

    /// Each source with its figures.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &SourceFigures)> {
        self.sources.iter().map(|(source, figures)| (*source, figures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_belong_to_the_source_that_answered_last() {
        let mut task = SourceStats::default();
        task.called("first", true, Duration::from_secs(3));
        task.called("second", false, Duration::from_secs(1));
        task.rows_came(10);
        let mut all = task.clone();
        all.add(&task);
        let figures: Vec<_> =
            all.iter().map(|(name, f)| (name, f.calls, f.failures, f.rows, f.mean().as_secs())).collect();
        assert_eq!(figures, [("first", 2, 2, 0, 3), ("second", 2, 0, 20, 1)]);
    }
}
