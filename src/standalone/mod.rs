// Upstream: main
// Downstream: many
// Role: `data-worker standalone`: runs the worker with everything it needs inside the process, and shows it at work.

//! A worker without servers: librdkafka's in-process broker, SQLite in place of ClickHouse and MySQL, heartbeats in
//! memory, a folder of sample bars as the source. The actors, the feed and the outbox are the ones that always run.

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
use self::news::NewsReader;
use self::run_folder::RunFolder;
use crate::app::run;
use crate::app::service_hub::ServiceHub;
use crate::config::{KafkaSection, LogFormat, LogSection, Settings, SourceName};
use crate::observability::telemetry;
use crate::observability::telemetry::JsonTo;
use crate::standalone::output::say;

/// What a user may choose.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The SQLite file for bars and stock list, created where it is missing; what it holds of the two sample codes is
    /// replaced. Without it: a new file under the system's temporary directory, which is kept.
    #[arg(long, value_name = "FILE")]
    database: Option<PathBuf>,
    /// Goes on serving after that, until Ctrl-C or SIGTERM, and prints how to send commands.
    #[arg(long)]
    stay: bool,
    /// The least level of log lines on the error stream, or a filter such as `info,data_worker::adapters::kafka=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "warn")]
    log_level: String,
}

/// Runs the worker and the demonstration. Exit code 0: everything came out as it should, and the worker stopped in order.
pub fn run(options: &Options) -> ExitCode {
    match perform(options) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            for fault in faults {
                eprintln!("not as it should be: {fault}");
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
    say(format_args!(
        "data-worker {}, standalone: for a first run and demonstrations, not for production.\n\
         Inside this process: the broker {}, the database {}, two files of daily bars:\n\
         002032.SZ (real, 2004 to 2016) and 000000.SZ (made up, with faults).",
        env!("CARGO_PKG_VERSION"),
        broker.address(),
        folder.database().display(),
    ));
    System::new().block_on(serve(options, &settings, &broker, &folder))
}

/// What differs from a worker among servers: where everything is, and no wait for more work than a person will send.
fn settings(kafka: KafkaSection, broker: &Broker, folder: &RunFolder) -> Settings {
    let mut settings = Settings::default();
    settings.worker.node_id = "data_worker_standalone".to_owned();
    settings.kafka = KafkaSection { host: broker.host().to_owned(), port: broker.port(), ..kafka };
    settings.sources.bars = vec![SourceName::Files];
    settings.sources.files.folder = folder.bars().to_owned();
    settings.batch.flush_interval_ms = 100;
    settings.quality.report_interval_ms = 1_000;
    // The sample ends in 2016; that later days are missing is no news.
    settings.quality.alerts.missing_warning_percent = 100.0;
    settings.quality.alerts.missing_error_percent = 100.0;
    settings
}

/// The worker's whole life; what was not as it should be.
async fn serve(
    options: &Options,
    settings: &Settings,
    broker: &Broker,
    folder: &RunFolder,
) -> Result<Vec<String>, StandaloneError> {
    let services = ServiceHub::embedded(settings, folder.database()).await?;
    let board = Arc::new(StatusBoard::default());
    let mut life = run::launch(services.hub.parts(), settings.actor_settings(), board.clone());
    life.stop_on_signals();
    let demonstration = Demonstration::new(broker, &services, board, NewsReader::open(&settings.kafka)?);
    let mut faults = None;
    let show = async {
        let outcome = demonstration.run().await?;
        say(format_args!("{outcome}\nDatabase: {}", folder.database().display()));
        faults = Some(outcome.faults());
        if options.stay {
            say(invitation(broker, folder));
            demonstration.follow().await?;
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
    let mut faults = faults.ok_or_else(|| StandaloneError::EndedEarly(end_in_words(&report)))?;
    if report != ExitReport::Drained {
        faults.push(end_in_words(&report));
    }
    if services.heartbeats.current().is_some() {
        faults.push("the heartbeat is still there after the worker's end".to_owned());
    }
    Ok(faults)
}

fn invitation(broker: &Broker, folder: &RunFolder) -> String {
    let (address, topic) = (broker.address(), broker.command_topic());
    let command = r#"{"command":"bar_snapshot","params":{"code":"002032.SZ","full":true}}"#;
    format!(
        "\nThe worker goes on until Ctrl-C or SIGTERM. Broker: {address}\n\
         Send it a command, and its answer is shown here:\n  \
         echo '{command}' | kcat -P -b {address} -t {topic}\n\
         For further securities put files like 600000.SH.daily.csv into {}",
        folder.bars().display()
    )
}

fn end_in_words(report: &ExitReport) -> String {
    match report {
        ExitReport::Drained => "the worker was stopped".to_owned(),
        ExitReport::DrainedTooLate(late) => format!("the worker stopped before all was finished: {late}"),
        ExitReport::Failed(reason) => format!("the worker failed: {reason}"),
    }
}
