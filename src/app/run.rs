// Upstream: backfill, main, standalone
// Downstream: many
// Role: Runs a worker on the actix system from its start to its exit code; handles signals.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use actix::{Addr, SystemRunner};
use actors::settings::ActorSettings;
use actors::supervision::{RestartPolicy, StatusBoard};
use actors::supervisor::{ExitReport, ReloadWanted, Stop, Supervisor, WorkerParts};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::certificate_watch::CertificateWatch;
use crate::app::config_reader::ConfigPlace;
use crate::app::service_hub::ServiceHub;
use crate::app::services::ServiceError;
use crate::app::signals::StopSignals;
use crate::config::{FileWatch, Loaded};
use crate::observability::certificates::CertificateEnds;
use crate::observability::http::{HttpError, HttpServer, Serving};
use crate::observability::metrics::{Exposition, Metrics};
use crate::observability::telemetry::Telemetry;
use crate::observability::worker_view::WorkerView;

/// Runs the configured worker until a signal or an order stops it. Exit codes: 0: drained; 1: failed; 2: stopped before
/// the drain was complete.
pub fn run(
    system: &SystemRunner,
    signals: StopSignals,
    loaded: Loaded,
    place: ConfigPlace,
    telemetry: Telemetry,
) -> ExitCode {
    let report = system.block_on(async {
        // Built inside the actix system, because some clients need its runtime when they are created.
        let file = loaded.origin.clone().or_else(|| place.file.clone());
        match WorkerSetup::set_up(&loaded, place, telemetry) {
            Ok(WorkerSetup { parts, board, serving: _serving, watch: _certificates }) => {
                let settings = loaded.settings.actor_settings();
                let mut worker = launch(parts, settings, board);
                worker.stop_on(signals);
                worker.reload_on_signals();
                let _watch = file.and_then(|file| worker.reload_on_change_of(&file));
                worker.ended().await
            }
            Err(error) => ExitReport::Failed(format!("the worker cannot be set up: {error}")),
        }
    });
    exit_code(&report)
}

/// The ports of a worker and its HTTP server.
struct WorkerSetup {
    parts: WorkerParts,
    board: Arc<StatusBoard>,
    /// The HTTP server. It runs from before the start of the worker until after its end.
    serving: Option<Serving>,
    /// The watch over certificates, for the metrics.
    watch: Option<CertificateWatch>,
}

/// The worker cannot be set up.
#[derive(Debug, thiserror::Error)]
enum SetUpError {
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl WorkerSetup {
    fn set_up(loaded: &Loaded, place: ConfigPlace, telemetry: Telemetry) -> Result<Self, SetUpError> {
        // For tests: time for a signal before the worker is complete.
        fail::fail_point!("run::set_up");
        let hub = ServiceHub::build(loaded, place, telemetry)?;
        let mut parts = hub.parts();
        let metrics = Arc::new(Metrics::default());
        let board = Arc::new(StatusBoard::observed_by(metrics.clone()));
        let Some(server) = HttpServer::bind(&loaded.settings.http, &parts.identity.host)? else {
            return Ok(Self { parts, board, serving: None, watch: None });
        };
        let certificates = Arc::<CertificateEnds>::default();
        parts.identity.http_address = Some(server.address().into());
        let view = WorkerView {
            identity: parts.identity.clone(),
            board: board.clone(),
            feed: parts.feed.clone(),
            sources: parts.sources.clone(),
            certificates: certificates.clone(),
        };
        let watch = CertificateWatch::start(hub.settings(), certificates)?;
        let page = Exposition::new(&metrics, view.clone());
        let serving = server.start(hub.answers(view, page))?;
        Ok(Self { parts, board, serving: Some(serving), watch: Some(watch) })
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
    /// Stops the worker at the first of these signals.
    pub fn stop_on(&self, signals: StopSignals) {
        let supervisor = self.supervisor.clone();
        actix_rt::spawn(async move {
            let name = signals.next().await;
            supervisor.do_send(Stop { reason: format!("signal {name}") });
        });
    }

    /// Reloads the configuration at SIGHUP.
    pub fn reload_on_signals(&self) {
        let supervisor = self.supervisor.clone();
        actix_rt::spawn(async move {
            let Ok(mut hangup) = signal(SignalKind::hangup()) else {
                return tracing::error!("SIGHUP has no handler; use the order `reload` instead");
            };
            while hangup.recv().await.is_some() {
                supervisor.do_send(ReloadWanted { cause: "SIGHUP" });
            }
        });
    }

    /// Reloads the configuration after each change of this file, until the returned watch is dropped.
    pub fn reload_on_change_of(&self, file: &Path) -> Option<FileWatch> {
        let supervisor = self.supervisor.clone();
        let watch = FileWatch::start(file, move || supervisor.do_send(ReloadWanted { cause: "a change of the file" }));
        watch
            .inspect_err(|error| {
                let file = file.display();
                tracing::warn!(%error, %file, "the file cannot be watched; use SIGHUP or the order `reload`");
            })
            .ok()
    }

    /// Begins the shutdown of the worker.
    pub fn stop(&self, reason: &str) {
        self.supervisor.do_send(Stop { reason: reason.to_owned() });
    }

    /// Waits for the end of the worker and returns its exit report. The report is available once. The wait can be
    /// cancelled and repeated.
    pub async fn ended(&mut self) -> ExitReport {
        (&mut self.exit).await.unwrap_or_else(|_| ExitReport::Failed("the supervisor is gone".to_owned()))
    }
}

/// Logs an exit report and returns the exit code of the process.
pub fn exit_code(report: &ExitReport) -> ExitCode {
    match report {
        ExitReport::Drained => {
            tracing::info!("the worker stopped in order");
            ExitCode::SUCCESS
        }
        ExitReport::DrainedTooLate(unfinished) => {
            tracing::error!(unfinished, "the worker stopped at its drain deadline with unfinished work");
            ExitCode::from(2)
        }
        ExitReport::Failed(reason) => {
            tracing::error!(reason, "the worker failed");
            ExitCode::FAILURE
        }
    }
}
