// Upstream: main
// Downstream: actors::settings, actors::supervision::board, actors::supervision::restart_policy, actors::supervisor, config::sections, service_hub
// Role: Runs a worker on the actix system from its start to its exit code; listens to signals.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, System};
use actors::settings::ActorSettings;
use actors::supervision::{Board, RestartPolicy};
use actors::supervisor::{ExitReport, LifePolicy, Stop, Supervisor, WorkerParts};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Settings;
use crate::service_hub::ServiceHub;

/// Runs the worker that the settings describe until a signal stops it. Exit code 0: drained; 1: it failed; 2: it was
/// stopped but not drained in time.
pub fn run(settings: &Settings) -> ExitCode {
    let drain_deadline = Duration::from_millis(settings.worker.drain_deadline_ms);
    let report = System::new().block_on(async {
        // Inside the system: some clients want its runtime from the start.
        match ServiceHub::build(settings) {
            Ok(hub) => {
                let life = launch(hub.parts(), settings.actor_settings(), drain_deadline, Arc::default());
                life.until_stopped().await
            }
            Err(error) => ExitReport::Failed(format!("the worker cannot be set up: {error}")),
        }
    });
    exit_code(&report)
}

/// A running worker.
pub struct Life {
    supervisor: Addr<Supervisor>,
    exit: tokio::sync::oneshot::Receiver<ExitReport>,
}

/// Starts a worker on the current actix system.
pub fn launch(parts: WorkerParts, settings: ActorSettings, drain_deadline: Duration, board: Arc<Board>) -> Life {
    let policy = LifePolicy { restart: RestartPolicy::default(), drain_deadline };
    let (supervisor, exit) = Supervisor::launch(parts, settings, policy, board);
    Life { supervisor, exit }
}

impl Life {
    /// Waits for the worker's end; SIGTERM and SIGINT begin it.
    pub async fn until_stopped(self) -> ExitReport {
        let supervisor = self.supervisor.clone();
        actix_rt::spawn(async move {
            let name = next_stop_signal().await;
            supervisor.do_send(Stop { reason: format!("signal {name}") });
        });
        self.ended().await
    }

    /// Begins the end.
    pub fn stop(&self, reason: &str) {
        self.supervisor.do_send(Stop { reason: reason.to_owned() });
    }

    /// Waits for the worker's end.
    pub async fn ended(self) -> ExitReport {
        self.exit.await.unwrap_or_else(|_| ExitReport::Failed("the supervisor is gone".to_owned()))
    }
}

async fn next_stop_signal() -> &'static str {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be heard; the worker can only be killed");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

/// The process's exit code for a report, with a last word in the log.
pub fn exit_code(report: &ExitReport) -> ExitCode {
    match report {
        ExitReport::Drained => {
            tracing::info!("the worker stopped in order");
            ExitCode::SUCCESS
        }
        ExitReport::DrainedTooLate(late) => {
            tracing::error!(late, "the worker stopped before all was finished");
            ExitCode::from(2)
        }
        ExitReport::Failed(reason) => {
            tracing::error!(reason, "the worker failed");
            ExitCode::FAILURE
        }
    }
}
