// Upstream: operator
// Downstream: app, backfill, cli, config, observability::telemetry, standalone
// Role: The program `data-worker`: reads its arguments and its configuration, and runs what they ask for.

//! The program `data-worker`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use data_worker::app::config_reader::ConfigPlace;
use data_worker::app::run;
use data_worker::backfill::BackfillOptions;
use data_worker::cli::config::ConfigCommand;
use data_worker::cli::gaps::GapsOptions;
use data_worker::cli::health::HealthOptions;
use data_worker::cli::quality::QualityOptions;
use data_worker::cli::reports::ReportsOptions;
use data_worker::cli::send::SendOptions;
use data_worker::cli::status::StatusOptions;
use data_worker::config::{self, ConfigProblems, Environment, Fallback, LogSection};
use data_worker::observability::telemetry;
use data_worker::standalone;

/// Takes commands from Kafka, fetches, checks and stores Chinese A-share data.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a worker of the consumer group until it is stopped (the default).
    Run {
        /// The configuration file; otherwise it is looked for, see docs/configuration.md.
        #[arg(long)]
        config: Option<PathBuf>,
        /// The instance's name, over the configured one.
        #[arg(long)]
        node_id: Option<String>,
    },
    /// Sends a command to the workers, or an order, and follows its outcome.
    Send(SendOptions),
    /// Asks the worker on this machine whether it lives; exit code 1 if not.
    Health(HealthOptions),
    /// Shows all workers: their heartbeats and, where they can be asked, their own word.
    Status(StatusOptions),
    /// Shows quality reports and alerts from the notification topic.
    Reports(ReportsOptions),
    /// Shows what was wrong with a code, by the reports that are kept in ClickHouse.
    Quality(QualityOptions),
    /// Finds trading days that are missing of the stored bars, and rows that should not be there; repairs them with --fill.
    Gaps(GapsOptions),
    /// Checks, shows and documents the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Fills a range of days without Kafka, and goes on where it was after a stop or a kill.
    Backfill(BackfillOptions),
    /// Shows a worker at work without any server: a first run and demonstrations, not for production.
    Standalone(standalone::Options),
}

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _faults = fail::FailScenario::setup();
    match Arguments::parse().command.unwrap_or(Command::Run { config: None, node_id: None }) {
        Command::Run { config, node_id } => run_worker(config, node_id),
        Command::Send(options) => options.run(),
        Command::Health(options) => options.run(),
        Command::Status(options) => options.run(),
        Command::Reports(options) => options.run(),
        Command::Quality(options) => options.run(),
        Command::Gaps(options) => options.run(),
        Command::Config(command) => command.run(),
        Command::Backfill(options) => options.run(),
        Command::Standalone(options) => standalone::run(&options),
    }
}

fn run_worker(file: Option<PathBuf>, node_id: Option<String>) -> ExitCode {
    let mut environment = Environment::of_process();
    if let Some(node_id) = node_id {
        environment.set("worker.node_id", &node_id);
    }
    let configuration = config::load_or_defaults(file.as_deref(), &environment);
    let log =
        configuration.as_ref().map_or_else(|_| LogSection::default(), |usable| usable.loaded.settings.log.clone());
    let telemetry = match telemetry::start(&log, telemetry::JsonTo::Output) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("data-worker: logs cannot be written: {error}");
            return ExitCode::FAILURE;
        }
    };
    match configuration {
        Ok(Fallback { loaded, problems }) => {
            for warning in &loaded.warnings {
                tracing::warn!(warning, "configuration");
            }
            if let Some(problems) = problems {
                log_each(&problems);
                tracing::error!("the configuration is not usable as written; the worker runs on what is left of it");
            }
            let origin = loaded.origin.as_deref().map(|path| tracing::field::display(path.display()));
            tracing::info!(file = origin, "configuration loaded");
            run::run(loaded, ConfigPlace { file, environment }, telemetry.clone())
        }
        Err(problems) => {
            log_each(&problems);
            tracing::error!("the worker does not start, because it could write into the wrong store");
            ExitCode::FAILURE
        }
    }
}

fn log_each(problems: &ConfigProblems) {
    for problem in &problems.0 {
        tracing::error!(%problem, "configuration");
    }
}
