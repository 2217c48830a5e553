// Upstream: broker, demonstration, news, run_folder, standalone
// Downstream: actors, app, observability::telemetry
// Role: Declares the errors of the standalone worker.

use std::time::Duration;

use actors::ports::StoreError;
use rdkafka::error::KafkaError;

use crate::app::services::ServiceError;
use crate::observability::telemetry::TelemetryError;

/// Why the demonstration failed.
#[derive(Debug, thiserror::Error)]
pub enum StandaloneError {
    /// The log level is invalid.
    #[error(transparent)]
    Logs(#[from] TelemetryError),
    /// The run's own folder cannot be created.
    #[error("{what} {path}: {error}")]
    Folder {
        /// The attempted operation.
        what: &'static str,
        /// The file or folder.
        path: String,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The HTTP server cannot be started.
    #[error("{0}")]
    Http(String),
    /// An operation of the in-process broker failed.
    #[error("in-process broker: {what}: {error}")]
    Broker {
        /// The attempted operation.
        what: &'static str,
        /// The error of librdkafka.
        error: KafkaError,
    },
    /// The broker's address does not have the form `host:port`.
    #[error("in-process broker: its address is `{0}`, expected host:port")]
    BrokerAddress(String),
    /// An adapter cannot be created.
    #[error(transparent)]
    Services(#[from] ServiceError),
    /// An operation of the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An awaited event did not happen within the limit.
    #[error("timeout after {limit:?} while waiting for {what}")]
    Stalled {
        /// The awaited event.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// The worker ended before the demonstration was complete.
    #[error("the worker ended before the demonstration was complete: {0}")]
    EndedEarly(String),
}

impl StandaloneError {
    /// Converts a broker error, adding the attempted operation.
    pub fn broker(what: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |error| Self::Broker { what, error }
    }
}
