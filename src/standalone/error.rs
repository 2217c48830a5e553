// Upstream: broker, demonstration, news, run_folder, standalone
// Downstream: actors, app, observability::telemetry
// Role: Why the standalone worker could not show what it should.

use std::time::Duration;

use actors::ports::StoreError;
use rdkafka::error::KafkaError;

use crate::app::services::ServiceError;
use crate::observability::telemetry::TelemetryError;

/// Why the standalone worker could not show what it should.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// The log level is none.
    #[error(transparent)]
    Logs(#[from] TelemetryError),
    /// The run's own folder cannot be made.
    #[error("{what} {path}: {error}")]
    Folder {
        /// What was tried.
        what: &'static str,
        /// Which file or folder.
        path: String,
        /// The system's words.
        error: std::io::Error,
    },
    /// The broker inside the process does not do as asked.
    #[error("in-process broker: {what}: {error}")]
    Broker {
        /// What was tried.
        what: &'static str,
        /// librdkafka's words.
        error: KafkaError,
    },
    /// The broker's address has another form than `host:port`.
    #[error("in-process broker: its address is `{0}`, expected host:port")]
    BrokerAddress(String),
    /// An adapter cannot be built.
    #[error(transparent)]
    Services(#[from] ServiceError),
    /// The database does not do as asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something did not happen in time.
    #[error("not within {limit:?}: {what}")]
    Stalled {
        /// What was awaited.
        what: String,
        /// How long.
        limit: Duration,
    },
    /// The worker ended while it was still needed.
    #[error("ended before everything was shown: {0}")]
    EndedEarly(String),
}

impl StandaloneError {
    /// A broker's error with what was tried.
    pub fn broker(what: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |error| Self::Broker { what, error }
    }
}
