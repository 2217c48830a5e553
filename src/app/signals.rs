// Upstream: backfill, main, run, standalone
// Downstream: none
// Role: Receives the signals that stop a worker, from before its set-up.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT, received from the moment this is created: none of them is lost while the worker is set up.
/// Before that moment the system's default action applies: it ends a process, but not the first process of a container.
pub struct StopSignals(io::Result<[(Signal, &'static str); 2]>);

impl StopSignals {
    /// Receives from now on. Needs a Tokio runtime around it.
    pub fn listen() -> Self {
        let receive = || {
            let [terminate, interrupt] = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
            Ok([(terminate?, "SIGTERM"), (interrupt?, "SIGINT")])
        };
        Self(receive())
    }

    /// Waits for the first of them and returns its name.
    pub async fn next(self) -> &'static str {
        match self.0 {
            Ok([(mut terminate, first), (mut interrupt, second)]) => tokio::select! {
                _ = terminate.recv() => first,
                _ = interrupt.recv() => second,
            },
            Err(error) => {
                tracing::error!(%error, "SIGTERM and SIGINT have no handler; use the order `stop`");
                std::future::pending().await
            }
        }
    }
}
