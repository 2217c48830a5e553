// Upstream: none
// Downstream: publish, worker_event
// Role: Messages to operators: the worker's own events, and how messages are published.

//! Messages to operators: the worker's own events, and how messages are published.

/// Publishes one message.
mod publish;
/// Events of the worker.
mod worker_event;

pub use publish::publish;
pub use worker_event::{Announcer, WorkerEvent};
