// Upstream: notifications, quality_monitor, worker_event
// Downstream: domain, ports
// Role: Publishes one message to operators.

use chrono::Utc;

use crate::domain::Notification;
use crate::ports::Outbox;

/// Tries of one message. A report is worth less than the memory that a queue of old ones would take.
const PUBLISH_TRIES: u32 = 5;

/// Publishes a message; a failure is logged with the message, so that it is not lost to the operator.
pub async fn publish(outbox: &dyn Outbox, node_id: &str, notification: &Notification) {
    let message = notification.to_json(node_id, Utc::now());
    for attempt in 1..=PUBLISH_TRIES {
        match outbox.notify(&message).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(attempt, %error, "notification is not published"),
        }
    }
    tracing::error!(message, "notification given up");
}
