// Upstream: none
// Downstream: actor, job_part, messages
// Role: The QualityMonitor: reports intervals and jobs, and raises alerts.

//! The QualityMonitor: reports intervals and jobs, and raises alerts.

/// The actor.
mod actor;
/// The state of one alert.
mod alert_state;
/// Alerts on operational failures.
mod failure_alerts;
/// The alert on the worker's own health.
mod health_alert;
/// Membership of a command in a job.
mod job_part;
/// Open jobs.
mod jobs;
/// Messages to the QualityMonitor.
mod messages;
#[cfg(test)]
mod score_tests;
/// Alerts on thresholds of the interval figures.
mod threshold_alerts;

pub use actor::QualityMonitor;
pub use job_part::JobPart;
pub use messages::{
    CommandRefused, JobCommandBegun, JobCommandEnded, PublishPending, StoreFailing, StoreRecovered, TaskFailed,
    TaskFinished,
};
