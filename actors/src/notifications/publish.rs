// Upstream: notifications, quality_monitor, worker_event
// Downstream: domain, ports
// Role: Publishes one notification to operators.

use crate::domain::Notification;
use crate::domain::clock::utc_now;
use crate::ports::Outbox;

/// Maximum number of attempts for one notification. The bound keeps old notifications from piling up in memory.
const PUBLISH_TRIES: u32 = 5;

/// Publishes a notification. If all attempts fail, the log contains the notification, so the operator can still read
/// it. Returns whether it is published.
pub async fn publish(outbox: &dyn Outbox, node_id: &str, notification: &Notification) -> bool {
    publish_text(outbox, &notification.to_json(node_id, utc_now())).await
}

/// Publishes the text of a message, like [`publish`].
pub async fn publish_text(outbox: &dyn Outbox, message: &str) -> bool {
    for attempt in 1..=PUBLISH_TRIES {
        match outbox.notify(message).await {
            Ok(()) => return true,
            Err(error) => tracing::warn!(attempt, %error, "notification not published"),
        }
    }
    tracing::error!(notification = message, "notification given up after the last attempt");
    false
}
