// Upstream: actor
// Downstream: domain
// Role: The jobs in progress on this worker, and when each is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::domain::{JobKey, QualitySummary};

/// Jobs that are followed at once; about 64 KB each where they are large. What belongs to a further one is told with the
/// interval alone.
const MAX_OPEN: usize = 64;

/// The jobs under way.
#[derive(Debug, Default)]
pub struct OpenJobs {
    jobs: HashMap<Arc<JobKey>, OpenJob>,
}

#[derive(Debug)]
struct OpenJob {
    since: DateTime<Utc>,
    num_open: u64,
    /// Since when no command of it is open.
    quiet: Option<(Instant, DateTime<Utc>)>,
    summary: QualitySummary,
}

/// A job that is over.
#[derive(Debug)]
pub struct EndedJob {
    /// Which.
    pub key: JobKey,
    /// When its first command began.
    pub since: DateTime<Utc>,
    /// When its last command ended.
    pub until: DateTime<Utc>,
    /// What it brought.
    pub summary: QualitySummary,
}

impl OpenJobs {
    /// A command of it begins.
    pub fn begun(&mut self, key: &Arc<JobKey>) {
        if self.jobs.len() >= MAX_OPEN && !self.jobs.contains_key(key) {
            return;
        }
        let job = self.jobs.entry(key.clone()).or_insert_with(|| OpenJob {
            since: Utc::now(),
            num_open: 0,
            quiet: None,
            summary: QualitySummary::default(),
        });
        job.num_open += 1;
        job.quiet = None;
    }

    /// A command of it is over.
    pub fn ended(&mut self, key: &Arc<JobKey>, now: Instant) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.num_open = job.num_open.saturating_sub(1);
        if job.num_open == 0 {
            job.quiet = Some((now, Utc::now()));
        }
    }

    /// The figures of one, if it is followed.
    pub fn summary(&mut self, key: &Arc<JobKey>) -> Option<&mut QualitySummary> {
        self.jobs.get_mut(key).map(|job| &mut job.summary)
    }

    /// Those that have been quiet for so long. One of a single task has no report of its own: a sender whose every command
    /// bears another id would make a message of each.
    pub fn take_ended(&mut self, now: Instant, quiet_for: Duration) -> Vec<EndedJob> {
        let is_over = |job: &OpenJob| job.quiet.is_some_and(|(at, _)| now.saturating_duration_since(at) >= quiet_for);
        let over = self.jobs.extract_if(|_, job| is_over(job));
        let told = over.filter(|(_, job)| job.summary.num_tasks() > 1).map(|(key, job)| EndedJob {
            key: key.as_ref().clone(),
            since: job.since,
            until: job.quiet.map_or_else(Utc::now, |(_, at)| at),
            summary: job.summary,
        });
        told.collect()
    }

    /// The worker ends: all that are not under way any more.
    pub fn take_left(&mut self) -> Vec<EndedJob> {
        self.take_ended(Instant::now(), Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Subject;

    fn key(id: &str) -> Arc<JobKey> {
        Arc::new(JobKey { id: Some(id.to_owned()), command: "tick", sender: "s".to_owned() })
    }

    fn fail(jobs: &mut OpenJobs, key: &Arc<JobKey>, times: usize) {
        for _ in 0..times {
            jobs.summary(key).unwrap().add_failed(Subject::Calendar, "r");
        }
    }

    const QUIET: Duration = Duration::from_secs(3);

    #[test]
    fn a_job_is_over_when_no_command_is_open_and_none_came_for_a_while() {
        let (mut jobs, job, begin) = (OpenJobs::default(), key("a"), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        jobs.begun(&job);
        jobs.begun(&job);
        fail(&mut jobs, &job, 2);
        jobs.ended(&job, at(0));
        assert!(jobs.take_ended(at(100), QUIET).is_empty(), "one is open");
        jobs.ended(&job, at(100));
        assert!(jobs.take_ended(at(102), QUIET).is_empty(), "not quiet yet");
        jobs.begun(&job);
        assert!(jobs.take_ended(at(200), QUIET).is_empty(), "another came");
        jobs.ended(&job, at(200));
        let ended = jobs.take_ended(at(203), QUIET);
        assert_eq!((ended.len(), ended[0].summary.num_failed, &ended[0].key), (1, 2, job.as_ref()));
        assert!(jobs.take_ended(at(300), QUIET).is_empty(), "told once");
    }

    #[test]
    fn a_single_task_is_no_job_and_the_number_of_jobs_is_bounded() {
        let (mut jobs, now) = (OpenJobs::default(), Instant::now());
        for n in 0..1_000 {
            jobs.begun(&key(&n.to_string()));
        }
        assert_eq!(jobs.jobs.len(), MAX_OPEN);
        assert!(jobs.summary(&key("999")).is_none());
        jobs.ended(&key("999"), now);
        fail(&mut jobs, &key("1"), 1);
        jobs.ended(&key("1"), now);
        assert!(jobs.take_ended(now + QUIET, QUIET).is_empty());
        assert_eq!(jobs.jobs.len(), MAX_OPEN - 1, "its place is free");
    }
}
