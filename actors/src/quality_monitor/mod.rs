// Upstream: none
// Downstream: actor, job_part, messages
// Role: The QualityMonitor: reports intervals and jobs, and raises alerts.

//! The QualityMonitor: reports intervals and jobs, and raises alerts.

/// The actor.
mod actor;
/// The alerts of a group.
mod alert_book;
/// What a worker sees of the cause of an alert.
mod alert_draft;
/// The state of one alert.
mod alert_state;
/// The alert on the end of the trading calendar.
mod calendar_alert;
/// Alerts on operational failures.
mod failure_alerts;
/// The alert on the worker's own health.
mod health_alert;
/// Membership of a command in a job.
mod job_part;
/// Open jobs.
mod jobs;
#[cfg(test)]
mod message_kinds_tests;
/// Messages to the QualityMonitor.
mod messages;
/// Row counts of single commands for senders that wait for them.
mod outcomes;
/// The alert on sources that refuse the account.
mod refused_source_alert;
#[cfg(test)]
mod score_tests;
/// Alerts on stores.
mod store_alerts;
/// Alerts on thresholds of the interval figures.
mod threshold_alerts;

pub use actor::QualityMonitor;
pub use job_part::JobPart;
pub use messages::{
    CommandEnded, CommandRefused, JobCommandBegun, JobCommandEnded, PublishPending, Recorded, StoreFailing,
    StoreRecovered, TaskFailed, TaskFinished,
};
