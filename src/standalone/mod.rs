// Upstream: main
// Downstream: many
// Role: Implements `data-worker standalone`, a demonstration of the worker with all services in one process.

//! A worker without servers: it uses librdkafka's in-process broker, SQLite instead of ClickHouse and MySQL, heartbeats
//! in memory, and a folder of sample bars as the source. The actors, the feed and the outbox are those of production.

mod broker;
mod demonstration;
mod error;
mod news;
mod outcome;
mod output;
mod run_folder;
mod sample;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use actix::System;
use actors::supervision::StatusBoard;
use actors::supervisor::ExitReport;

use self::broker::Broker;
use self::demonstration::Demonstration;
use self::error::StandaloneError;
use self::news::MessageReader;
use self::run_folder::RunFolder;
use crate::app::run;
use crate::app::service_hub::{EmbeddedServices, ServiceHub};
use crate::app::signals::StopSignals;
use crate::config::{HttpSection, KafkaSection, LogFormat, LogSection, Settings, SourceName};
use crate::observability::http::{HttpServer, Serving};
use crate::observability::metrics::{Exposition, Metrics};
use crate::observability::telemetry;
use crate::observability::telemetry::JsonTo;
use crate::observability::worker_view::WorkerView;
use crate::standalone::output::print_line;

/// Options of `data-worker standalone`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// SQLite file for bars and stock list, created if it is missing; rows of the two sample codes are replaced.
    /// Default: a new file in the system's temporary directory, which is kept.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Keeps running after the demonstration until Ctrl-C or SIGTERM, and prints how to send commands.
    #[arg(long)]
    stay: bool,
    /// Minimum level of log lines on stderr, or a filter such as `info,data_worker::adapters::kafka=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
}

/// Runs the worker and the demonstration. Exit code 0: all results are as expected and the worker stopped cleanly.
pub fn run(options: &Options) -> ExitCode {
    match perform(options) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                eprintln!("unexpected result: {fault}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("data-worker standalone: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(options: &Options) -> Result<Vec<String>, StandaloneError> {
    let log = LogSection { level: options.log_level.clone(), format: LogFormat::Text, ..LogSection::default() };
    let _telemetry = telemetry::start(&log, JsonTo::ErrorStream)?;
    let folder = RunFolder::create(options.database.as_deref())?;
    let kafka = KafkaSection::default();
    let broker = Broker::start(&kafka)?;
    let settings = settings(kafka, &broker, &folder);
    print_line(format_args!(
        "data-worker {}, standalone: for a first run and demonstrations, not for production.\n\
         Inside this process: the broker {}, the database {}, two files of daily bars:\n\
         002032.SZ (real, 2004 to 2016) and 000000.SZ (made up, with invalid rows).",
        env!("CARGO_PKG_VERSION"),
        broker.address(),
        folder.database().display(),
    ));
    System::new().block_on(serve(options, &settings, &broker, &folder))
}

/// The settings that differ from the defaults: the addresses of the embedded services, and short batching intervals.
fn settings(kafka: KafkaSection, broker: &Broker, folder: &RunFolder) -> Settings {
    let mut settings = Settings::default();
    settings.worker.node_id = "data_worker_standalone".to_owned();
    // The embedded broker has no transactions, and what it holds ends with the process.
    let (host, port) = (broker.host().to_owned(), broker.port());
    settings.kafka = KafkaSection { host, port, parts_in_transaction: false, ..kafka };
    settings.sources.bars = vec![SourceName::Files];
    settings.sources.files.folder = folder.bars().to_owned();
    settings.batch.flush_interval_ms = 100;
    // The samples have no calendar that could be fetched.
    settings.fetch.extend_calendar = false;
    settings.quality.report_interval_ms = 1_000;
    // The sample ends in 2016: missing later days must not raise alerts.
    settings.quality.alerts.missing_warning_percent = 100.0;
    settings.quality.alerts.missing_error_percent = 100.0;
    settings
}

/// Runs the worker from start to stop. Returns the unexpected results.
async fn serve(
    options: &Options,
    settings: &Settings,
    broker: &Broker,
    folder: &RunFolder,
) -> Result<Vec<String>, StandaloneError> {
    let services = ServiceHub::embedded(settings, folder.database()).await?;
    let metrics = Arc::new(Metrics::default());
    let board = Arc::new(StatusBoard::observed_by(metrics.clone()));
    let serving = match options.stay {
        true => serve_http(settings, &services, &metrics, &board)?,
        false => None,
    };
    let mut life = run::launch(services.hub.parts(), settings.actor_settings(), board.clone());
    life.stop_on(StopSignals::listen());
    let demonstration = Demonstration::new(broker, &services, board, MessageReader::open(&settings.kafka)?);
    let mut faults = None;
    let show = async {
        let outcome = demonstration.run().await?;
        print_line(format_args!("{outcome}\nDatabase: {}", folder.database().display()));
        faults = Some(outcome.faults());
        if options.stay {
            print_line(usage_hint(broker, folder, serving.as_ref().map(|(address, _)| address.as_str())));
            demonstration.follow(&outcome).await?;
        }
        Ok::<(), StandaloneError>(())
    };
    let (shown, report) = tokio::select! {
        shown = show => {
            life.stop("the demonstration is over");
            (shown, life.ended().await)
        }
        report = life.ended() => (Ok(()), report),
    };
    services.store.close().await;
    shown?;
    let mut faults = faults.ok_or_else(|| StandaloneError::EndedEarly(describe_exit(&report)))?;
    if report != ExitReport::Drained {
        faults.push(describe_exit(&report));
    }
    if services.heartbeats.current().is_some() {
        faults.push("the heartbeat still exists after the worker's end".to_owned());
    }
    Ok(faults)
}

/// Serves `/status` and the other paths of a worker: at the usual port, or at a free one where it is taken.
fn serve_http(
    settings: &Settings,
    services: &EmbeddedServices,
    metrics: &Arc<Metrics>,
    board: &Arc<StatusBoard>,
) -> Result<Option<(String, Serving)>, StandaloneError> {
    let free = HttpSection { port: 0, ..settings.http.clone() };
    let server = HttpServer::bind(&settings.http, "localhost").or_else(|_| HttpServer::bind(&free, "localhost"));
    let Some(server) = server.map_err(|error| StandaloneError::Http(error.to_string()))? else { return Ok(None) };
    let parts = services.hub.parts();
    let view = WorkerView {
        identity: parts.identity.clone(),
        board: board.clone(),
        feed: parts.feed.clone(),
        sources: parts.sources.clone(),
        // Its parts use no TLS.
        certificates: Arc::default(),
    };
    let page = Exposition::new(metrics, view.clone());
    let address = server.address().to_owned();
    let serving = server.start(services.hub.answers(view, page));
    serving.map(|serving| Some((address, serving))).map_err(|error| StandaloneError::Http(error.to_string()))
}

fn usage_hint(broker: &Broker, folder: &RunFolder, http: Option<&str>) -> String {
    let (address, topic) = (broker.address(), broker.command_topic());
    let command = r#"{"command":"bar_snapshot","params":{"code":"002032.SZ","full":true}}"#;
    let status = http.map_or_else(String::new, |http| {
        format!("  data-worker status --address {http}     # or: curl {http}/status\n")
    });
    format!(
        "\nThe worker runs until Ctrl-C or SIGTERM. Broker: {address}\n\
         The other commands work against it. In another terminal:\n  \
         export KAFKA_HOST={} KAFKA_PORT={}\n  \
         data-worker send --wait bar_snapshot --code 002032.SZ --full\n  \
         data-worker reports\n{status}\
         Or send a command by yourself; this terminal shows its answer:\n  \
         echo '{command}' | kcat -P -b {address} -t {topic}\n\
         To add securities, put files such as 600000.SH.daily.csv into {}",
        broker.host(),
        broker.port(),
        folder.bars().display()
    )
}

fn describe_exit(report: &ExitReport) -> String {
    match report {
        ExitReport::Drained => "the worker was stopped".to_owned(),
        ExitReport::DrainedTooLate(late) => format!("the worker stopped with unfinished work: {late}"),
        ExitReport::Failed(reason) => format!("the worker failed: {reason}"),
    }
}
