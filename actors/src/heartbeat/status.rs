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
        if lifecycle != Lifecycle::Running {
            return lifecycle;
        }
        match self.board.health(stall_after, feed) {
            Health::Healthy => {
                self.board.set_unhealthy_reason(None);
                Lifecycle::Running
            }
            Health::Unhealthy(reason) => {
                if self.board.set_unhealthy_reason(Some(reason.clone())) {
                    self.board.record_error(&reason);
                    tracing::error!(reason, "the worker is unhealthy");
                }
                Lifecycle::Error
            }
        }
    }

    pub(crate) fn note_beat(&self) {
        let seconds = utc_now().timestamp_micros() as f64 / 1e6;
        *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner) = Some(seconds);
    }
}
