// Upstream: backfill, main, standalone
// Downstream: many
// Role: Runs a worker on the actix system from its start to its exit code; listens to signals.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use actix::{Addr, System};
use actors::settings::ActorSettings;
use actors::supervision::{RestartPolicy, StatusBoard};
use actors::supervisor::{ExitReport, ReloadWanted, Stop, Supervisor, WorkerParts};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::config_reader::ConfigPlace;
use crate::app::service_hub::ServiceHub;
use crate::app::services::ServiceError;
use crate::config::{FileWatch, Loaded};
use crate::observability::http::{Answers, HttpError, HttpServer, Serving, StoreCheck};
use crate::observability::metrics::{Exposition, Metrics};
use crate::observability::telemetry::Telemetry;
use crate::observability::worker_view::WorkerView;

/// Runs the worker that the configuration describes until a signal or an order stops it. Exit code 0: drained; 1: it
/// failed; 2: it was stopped but not drained in time.
pub fn run(loaded: Loaded, place: ConfigPlace, telemetry: Telemetry) -> ExitCode {
    let report = System::new().block_on(async {
        // Inside the system: some clients want its runtime from the start.
        let file = loaded.origin.clone().or_else(|| place.file.clone());
        match Equipment::set_up(&loaded, place, telemetry) {
            Ok(Equipment { parts, board, serving: _serving }) => {
                let settings = loaded.settings.actor_settings();
                let mut life = launch(parts, settings, board);
                life.stop_on_signals();
                life.reload_on_signals();
                let _watch = file.and_then(|file| life.reload_on_change_of(&file));
                life.ended().await
            }
            Err(error) => ExitReport::Failed(format!("the worker cannot be set up: {error}")),
        }
    });
    exit_code(&report)
}

/// What a worker works with.
struct Equipment {
    parts: WorkerParts,
    board: Arc<StatusBoard>,
    /// Answers from before the worker's start to after its end.
    serving: Option<Serving>,
}

/// Why a worker cannot begin.
#[derive(Debug, thiserror::Error)]
enum SetUpError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("http: its thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl Equipment {
    fn set_up(loaded: &Loaded, place: ConfigPlace, telemetry: Telemetry) -> Result<Self, SetUpError> {
        let hub = ServiceHub::build(loaded, place, telemetry)?;
        let mut parts = hub.parts();
        let metrics = Arc::new(Metrics::default());
        let board = Arc::new(StatusBoard::observed_by(metrics.clone()));
        let Some(server) = HttpServer::bind(&loaded.settings.http, &parts.identity.host)? else {
            return Ok(Self { parts, board, serving: None });
        };
        parts.identity.http_address = Some(server.address().into());
        let view = WorkerView {
            identity: parts.identity.clone(),
            board: board.clone(),
            feed: parts.feed.clone(),
            sources: parts.sources.clone(),
        };
        let page = Exposition::new(&metrics, view.clone());
        let serving = server.start(Answers::new(view, page, StoreCheck::new(hub.store_question())))?;
        Ok(Self { parts, board, serving: Some(serving) })
    }
}

/// A running worker.
pub struct Life {
    supervisor: Addr<Supervisor>,
    exit: tokio::sync::oneshot::Receiver<ExitReport>,
}

/// Starts a worker on the current actix system.
pub fn launch(parts: WorkerParts, settings: ActorSettings, board: Arc<StatusBoard>) -> Life {
    let (supervisor, exit) = Supervisor::launch(parts, settings, RestartPolicy::default(), board);
    Life { supervisor, exit }
}

impl Life {
    /// From now on SIGTERM and SIGINT begin the worker's end.
    pub fn stop_on_signals(&self) {
        let supervisor = self.supervisor.clone();
        actix_rt::spawn(async move {
            let name = next_stop_signal().await;
            supervisor.do_send(Stop { reason: format!("signal {name}") });
        });
    }

    /// From now on SIGHUP has the configuration read anew.
    pub fn reload_on_signals(&self) {
        let supervisor = self.supervisor.clone();
        actix_rt::spawn(async move {
            let Ok(mut hangup) = signal(SignalKind::hangup()) else {
                return tracing::error!("SIGHUP cannot be heard; send the order `reload` instead");
            };
            while hangup.recv().await.is_some() {
                supervisor.do_send(ReloadWanted { cause: "SIGHUP" });
            }
        });
    }

    /// From now on a change of this file has the configuration read anew, as long as the answer is kept.
    pub fn reload_on_change_of(&self, file: &Path) -> Option<FileWatch> {
        let supervisor = self.supervisor.clone();
        let watch = FileWatch::start(file, move || supervisor.do_send(ReloadWanted { cause: "a change of the file" }));
        watch
            .inspect_err(|error| {
                tracing::warn!(%error, file = %file.display(), "changes of the file are not seen; SIGHUP and `reload` are");
            })
            .ok()
    }

    /// Begins the end.
    pub fn stop(&self, reason: &str) {
        self.supervisor.do_send(Stop { reason: reason.to_owned() });
    }

    /// Waits for the worker's end, which is told once. A wait that is broken off loses nothing.
    pub async fn ended(&mut self) -> ExitReport {
        (&mut self.exit).await.unwrap_or_else(|_| ExitReport::Failed("the supervisor is gone".to_owned()))
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
