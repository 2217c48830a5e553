// Upstream: actor
// Downstream: domain, ports, supervision
// Role: Builds the worker's status for the heartbeat from the progress of the work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::clock::utc_now;
use crate::domain::{Identity, Lifecycle, WorkerStatus, shanghai_clock};
use crate::ports::{CommandFeed, FeedState};
use crate::supervision::{Health, StatusBoard};

/// Builds the worker's status.
pub(crate) struct StatusBuilder {
    pub(crate) identity: Identity,
    pub(crate) feed: Arc<dyn CommandFeed>,
    pub(crate) board: Arc<StatusBoard>,
    pub(crate) last_beat: Mutex<Option<f64>>,
}

impl StatusBuilder {
    pub(crate) fn read(&self, stall_after: Duration) -> WorkerStatus {
        let feed = self.feed.state();
        self.board.counters.commands_unresolved.set(feed.num_unresolved as u64);
        WorkerStatus {
            node_id: self.identity.node_id.to_string(),
            lifecycle: self.lifecycle(stall_after, &feed),
            timestamp: shanghai_clock::now(),
            host: self.identity.host.to_string(),
            http_address: self.identity.http_address.as_deref().map(str::to_owned),
            pid: std::process::id(),
            messages_processed: self.board.counters.commands_resolved.get(),
            bars_written: self.board.counters.rows_written.get(),
            errors: self.board.counters.errors.get(),
            last_error: self.board.last_error(),
            last_error_age_seconds: self.board.last_error_age().map(|age| age.as_secs()),
            last_heartbeat: *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner),
            commands_unresolved: feed.num_unresolved as u64,
            actor_restarts: self.board.progress.num_restarts(),
            config_generation: 1 + self.board.counters.reloads_applied.get(),
            reloads_refused: self.board.counters.reloads_refused.get(),
            uptime_seconds: self.board.progress.uptime().as_secs(),
        }
    }

    /// The lifecycle to report: a running worker that fails the health check is reported as `Error`.
    fn lifecycle(&self, stall_after: Duration, feed: &FeedState) -> Lifecycle {
        let lifecycle = self.board.lifecycle();
        // A worker that starts has no work yet that could stand still.
        let health = match (lifecycle, &feed.fault) {
            (Lifecycle::Running, _) => self.board.health(stall_after, feed),
            (Lifecycle::Starting, Some(fault)) => Health::Unhealthy(fault.clone()),
            (Lifecycle::Starting, None) => Health::Healthy,
            _ => return lifecycle,
        };
        let has_changed = self.board.set_health(health.clone());
        let Some(reason) = health.reason() else { return lifecycle };
        if has_changed {
            self.board.record_error(reason);
            tracing::error!(reason, "the worker is unhealthy");
        }
        if lifecycle == Lifecycle::Running { Lifecycle::Error } else { lifecycle }
    }

    /// Notes the heartbeat that another process has written under this node id since this worker's last one.
    pub(crate) fn note_rival(&self, heartbeat: Option<&str>) {
        let rival = heartbeat.map(|heartbeat| rival_text(&self.identity.node_id, heartbeat));
        if self.board.set_rival(rival.clone())
            && let Some(reason) = rival
        {
            self.board.record_error(&reason);
            tracing::error!(reason, "another worker has the same node id");
        }
    }

    pub(crate) fn note_beat(&self) {
        let seconds = utc_now().timestamp_micros() as f64 / 1e6;
        *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner) = Some(seconds);
    }
}

/// Names the worker that has written a heartbeat.
fn rival_text(node_id: &str, heartbeat: &str) -> String {
    let found: serde_json::Value = serde_json::from_str(heartbeat).unwrap_or_default();
    let host = found.pointer("/stats/host").and_then(|host| host.as_str()).unwrap_or("(unknown)");
    let pid = found.pointer("/stats/pid").and_then(|pid| pid.as_u64());
    let process = pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    format!(
        "a worker on host {host}{process} has the same node id {node_id}: they take each other's partitions; give each \
         worker its own worker.node_id"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rival_is_named_by_its_host() {
        let text = rival_text("n1", r#"{"stats":{"host":"h2","pid":7}}"#);
        assert!(text.contains("host h2, process 7") && text.contains("worker.node_id"), "{text}");
        assert!(rival_text("n1", "no JSON").contains("host (unknown)"));
    }
}
