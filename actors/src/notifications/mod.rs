// Upstream: none
// Downstream: publish, worker_event
// Role: Notifications to operators: the events of the worker and how notifications are published.

//! Notifications to operators: the events of the worker and how notifications are published.

/// Publishes one notification.
mod publish;
/// Events of the worker.
mod worker_event;

pub use publish::{publish, publish_text};
pub use worker_event::{Announcer, WorkerEvent};
