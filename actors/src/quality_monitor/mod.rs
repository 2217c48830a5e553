// Upstream: none
// Downstream: actor, job_part, messages
// Role: The QualityMonitor: reports intervals and jobs, and raises alerts.

//! The QualityMonitor: reports intervals and jobs, and raises alerts.

/// The actor.
mod actor;
/// State of one alert.
mod alert_state;
/// Alerts on failures.
mod failure_alerts;
/// A command as part of a job.
mod job_part;
/// Jobs in progress.
mod jobs;
/// Messages to the QualityMonitor.
mod messages;
#[cfg(test)]
mod score_tests;
/// Alerts on thresholds.
mod threshold_alerts;

pub use actor::QualityMonitor;
pub use job_part::JobPart;
pub use messages::{
    CommandRefused, JobCommandBegun, JobCommandEnded, SendWhatIsLeft, StoreFailing, StoreRecovered, TaskFailed,
    TaskFinished,
};
