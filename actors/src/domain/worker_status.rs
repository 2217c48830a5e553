// Upstream: many
// Downstream: none
// Role: The lifecycle and status of the worker, with the JSON format that Ginkgo's heartbeat readers expect.

use chrono::NaiveDateTime;
use serde::Serialize;

/// Ginkgo's `WORKER_STATUS_TYPES`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifecycle {
    /// Not running.
    Stopped,
    /// Connecting and checking; does not accept commands yet.
    Starting,
    /// Accepting commands.
    Running,
    /// Finishing running work; accepts no new commands.
    Stopping,
    /// A problem that an operator must solve.
    Error,
}

impl Lifecycle {
    /// Ginkgo's number.
    pub fn code(self) -> u8 {
        match self {
            Self::Stopped => 0,
            Self::Starting => 1,
            Self::Running => 2,
            Self::Stopping => 3,
            Self::Error => 4,
        }
    }

    /// Ginkgo's name, in lower case as in heartbeats.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Error => "error",
        }
    }

    /// Whether the transition from this state to `next` is allowed. `Error` can be reached from every state.
    pub fn may_become(self, next: Self) -> bool {
        use Lifecycle::{Error, Running, Starting, Stopped, Stopping};
        next == Error
            || matches!(
                (self, next),
                (Stopped, Starting)
                    | (Starting, Running | Stopping)
                    | (Running, Stopping)
                    | (Stopping, Stopped)
                    | (Error, Running | Stopping | Stopped)
            )
    }
}

/// The spec's WorkerStatus entity.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerStatus {
    /// The instance name. It contains no colon, because readers split the key at the colon.
    pub node_id: String,
    /// The lifecycle state; also `Error` if work is waiting and nothing progresses.
    pub lifecycle: Lifecycle,
    /// Time of the status, Shanghai wall clock.
    pub timestamp: NaiveDateTime,
    /// Host name.
    pub host: String,
    /// The address of the HTTP server, if it is enabled.
    pub http_address: Option<String>,
    /// Process id.
    pub pid: u32,
    /// Commands resolved since the start, with any outcome.
    pub messages_processed: u64,
    /// Rows newly stored since the start.
    pub bars_written: u64,
    /// Commands that ended in the dead-letter topic, failed fetches and failed writes since the start.
    pub errors: u64,
    /// The text of the last error, if there was one.
    pub last_error: Option<String>,
    /// Its age in seconds.
    pub last_error_age_seconds: Option<u64>,
    /// Unix seconds of the previous successful heartbeat.
    pub last_heartbeat: Option<f64>,
    /// Commands received and not yet resolved.
    pub commands_unresolved: u64,
    /// Actor restarts since the start.
    pub actor_restarts: u64,
    /// Configurations applied since the start, including the first one.
    pub config_generation: u64,
    /// Configurations rejected since the start.
    pub reloads_refused: u64,
    /// Seconds since the process started.
    pub uptime_seconds: u64,
}

#[derive(Serialize)]
struct HeartbeatJson<'a> {
    status: &'static str,
    timestamp: String,
    node_id: &'a str,
    stats: HeartbeatStats<'a>,
}

#[derive(Serialize)]
struct HeartbeatStats<'a> {
    messages_processed: u64,
    bars_written: u64,
    errors: u64,
    last_heartbeat: Option<f64>,
    // Ginkgo's readers use the fields above. The worker's own fields are inside `stats`, where readers ignore unknown
    // keys.
    status_code: u8,
    host: &'a str,
    http_address: Option<&'a str>,
    pid: u32,
    commands_unresolved: u64,
    actor_restarts: u64,
    config_generation: u64,
    reloads_refused: u64,
    uptime_seconds: u64,
    last_error: Option<&'a str>,
    last_error_age_seconds: Option<u64>,
}

impl WorkerStatus {
    /// The value of the heartbeat: keys, order and types as in the Python worker, additional fields inside `stats`.
    pub fn to_heartbeat_json(&self) -> String {
        let json = HeartbeatJson {
            status: self.lifecycle.as_str(),
            timestamp: self.timestamp.format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
            node_id: &self.node_id,
            stats: HeartbeatStats {
                messages_processed: self.messages_processed,
                bars_written: self.bars_written,
                errors: self.errors,
                last_heartbeat: self.last_heartbeat,
                status_code: self.lifecycle.code(),
                host: &self.host,
                http_address: self.http_address.as_deref(),
                pid: self.pid,
                commands_unresolved: self.commands_unresolved,
                actor_restarts: self.actor_restarts,
                config_generation: self.config_generation,
                reloads_refused: self.reloads_refused,
                uptime_seconds: self.uptime_seconds,
                last_error: self.last_error.as_deref(),
                last_error_age_seconds: self.last_error_age_seconds,
            },
        };
        // A struct of strings and numbers always serialises to JSON.
        serde_json::to_string(&json).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::NaiveDate;

    #[test]
    fn heartbeat_json_matches_python_worker() {
        let status = WorkerStatus {
            node_id: "data_worker_host1".into(),
            lifecycle: Lifecycle::Running,
            timestamp: NaiveDate::from_ymd_opt(2026, 8, 10).unwrap().and_hms_micro_opt(21, 10, 0, 123_456).unwrap(),
            host: "host1".into(),
            http_address: None,
            pid: 7,
            messages_processed: 3,
            bars_written: 10,
            errors: 0,
            last_error: None,
            last_error_age_seconds: None,
            last_heartbeat: Some(1_786_367_400.123_456),
            commands_unresolved: 1,
            actor_restarts: 0,
            config_generation: 1,
            reloads_refused: 0,
            uptime_seconds: 60,
        };
        let json = status.to_heartbeat_json();
        let start = r#"{"status":"running","timestamp":"2026-08-10T21:10:00.123456","node_id":"data_worker_host1","stats":{"messages_processed":3,"bars_written":10,"errors":0,"last_heartbeat":1786367400.123456,"#;
        assert!(json.starts_with(start), "{json}");
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value.as_object().unwrap().len(), 4, "readers reject unknown top-level keys: {json}");
    }

    #[test]
    fn lifecycle_moves_forward_or_to_error() {
        use Lifecycle::{Error, Running, Starting, Stopped, Stopping};
        assert!(
            Stopped.may_become(Starting)
                && Starting.may_become(Running)
                && Running.may_become(Stopping)
                && Stopping.may_become(Stopped)
        );
        assert!(!Stopped.may_become(Running) && !Stopping.may_become(Running) && !Running.may_become(Starting));
        for state in [Stopped, Starting, Running, Stopping, Error] {
            assert!(state.may_become(Error), "{state:?}");
        }
    }
}
