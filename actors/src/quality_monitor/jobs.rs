// Upstream: actor
// Downstream: domain
// Role: The open jobs of this worker and the detection of their end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

use chrono::{DateTime, Utc};

use crate::domain::clock::utc_now;
use crate::domain::{JobKey, QualitySummary};

/// Maximum number of jobs that are tracked at the same time. A large job takes about 64 KB. Tasks of further jobs
/// appear in the interval report only.
const MAX_OPEN: usize = 64;

/// The open jobs.
#[derive(Debug, Default)]
pub struct OpenJobs {
    jobs: HashMap<Arc<JobKey>, OpenJob>,
}

#[derive(Debug)]
struct OpenJob {
    since: DateTime<Utc>,
    num_open: u64,
    /// The time since which the job has no open command.
    quiet: Option<(Instant, DateTime<Utc>)>,
    summary: QualitySummary,
}

/// A finished job.
#[derive(Debug)]
pub struct EndedJob {
    /// The identity of the job.
    pub key: JobKey,
    /// When its first command began.
    pub since: DateTime<Utc>,
    /// When its last command ended.
    pub until: DateTime<Utc>,
    /// Its results.
    pub summary: QualitySummary,
}

impl OpenJobs {
    /// A command of the job begins.
    pub fn begun(&mut self, key: &Arc<JobKey>) {
        if self.jobs.len() >= MAX_OPEN && !self.jobs.contains_key(key) {
            return;
        }
        let job = self.jobs.entry(key.clone()).or_insert_with(|| OpenJob {
            since: utc_now(),
            num_open: 0,
            quiet: None,
            summary: QualitySummary::default(),
        });
        job.num_open += 1;
        job.quiet = None;
    }

    /// A command of the job ended.
    pub fn ended(&mut self, key: &Arc<JobKey>, now: Instant) {
        let Some(job) = self.jobs.get_mut(key) else { return };
        job.num_open = job.num_open.saturating_sub(1);
        if job.num_open == 0 {
            job.quiet = Some((now, utc_now()));
        }
    }

    /// The summary of a job; `None` if the job is not tracked.
    pub fn summary(&mut self, key: &Arc<JobKey>) -> Option<&mut QualitySummary> {
        self.jobs.get_mut(key).map(|job| &mut job.summary)
    }

    /// Removes and returns the jobs without an open command for this time. A job with a single task is removed but not
    /// returned: otherwise a sender that gives each command a new id would cause one report per command. Commands that
    /// were sent again from dead letters are looked for, so their jobs are always returned.
    pub fn take_ended(&mut self, now: Instant, quiet_for: Duration) -> Vec<EndedJob> {
        let is_over = |job: &OpenJob| job.quiet.is_some_and(|(at, _)| now.saturating_duration_since(at) >= quiet_for);
        let over = self.jobs.extract_if(|_, job| is_over(job));
        let messages =
            over.filter(|(_, job)| job.summary.num_tasks() > 1 || job.summary.num_replayed > 0).map(|(key, job)| {
                EndedJob {
                    key: key.as_ref().clone(),
                    since: job.since,
                    until: job.quiet.map_or_else(utc_now, |(_, at)| at),
                    summary: job.summary,
                }
            });
        messages.collect()
    }

    /// Removes and returns all jobs without an open command, because the worker stops.
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
    fn job_ends_after_quiet_time_without_open_commands() {
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
        assert!(jobs.take_ended(at(300), QUIET).is_empty(), "reported once");
    }

    #[test]
    fn a_replayed_command_is_reported_even_alone() {
        let (mut jobs, job, now) = (OpenJobs::default(), key("a"), Instant::now());
        jobs.begun(&job);
        jobs.summary(&job).unwrap().num_replayed += 1;
        jobs.ended(&job, now);
        let ended = jobs.take_ended(now + QUIET, QUIET);
        assert_eq!((ended.len(), ended[0].summary.num_replayed), (1, 1));
    }

    #[test]
    fn single_task_is_no_job_and_jobs_are_bounded() {
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
