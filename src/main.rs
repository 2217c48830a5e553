// Upstream: operator
// Downstream: many
// Role: The program `data-worker`: parses arguments, loads the configuration and runs the subcommand.

//! The program `data-worker`.

use std::path::PathBuf;
use std::process::ExitCode;

use actix::System;
use clap::{CommandFactory, Parser, Subcommand};
use data_worker::app::config_reader::ConfigPlace;
use data_worker::app::run;
use data_worker::app::signals::StopSignals;
use data_worker::backfill::BackfillOptions;
use data_worker::cli::config::ConfigCommand;
use data_worker::cli::coverage::CoverageOptions;
use data_worker::cli::dlq::DlqCommand;
use data_worker::cli::gaps::GapsOptions;
use data_worker::cli::health::HealthOptions;
use data_worker::cli::manual::{CompletionsOptions, ManOptions};
use data_worker::cli::quality::QualityOptions;
use data_worker::cli::reports::ReportsOptions;
use data_worker::cli::send::SendOptions;
use data_worker::cli::status::StatusOptions;
use data_worker::config::{self, ConfigProblems, Environment, Fallback, Loaded, LogSection};
use data_worker::observability::telemetry;
use data_worker::standalone;

/// Consumes commands from Kafka; fetches, validates and stores Chinese A-share data.
#[derive(Parser)]
#[command(name = "data-worker", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs a worker as a member of the consumer group until it is stopped (default).
    Run {
        /// The configuration file. Default: searched in the places listed in docs/configuration.md.
        #[arg(long)]
        config: Option<PathBuf>,
        /// The node id of this worker; overrides worker.node_id.
        #[arg(long)]
        node_id: Option<String>,
        /// Refuses to start (exit code 1) if anything in the configuration is wrong, or the named file does not exist.
        /// Without it wrong settings fall back to their defaults.
        #[arg(long)]
        strict: bool,
    },
    /// Sends a command or an operator order to the workers and tracks its outcome.
    Send(SendOptions),
    /// Checks whether the worker on this machine is alive; exit code 1 if it is not.
    Health(HealthOptions),
    /// Shows all workers: their heartbeats and, for reachable workers, their own status.
    Status(StatusOptions),
    /// Shows quality reports and alerts from the notification topic.
    Reports(ReportsOptions),
    /// Shows the data problems of a code from the quality reports in ClickHouse.
    Quality(QualityOptions),
    /// Finds trading days without stored bars and rows that should not exist; repairs them with --fill.
    Gaps(GapsOptions),
    /// Shows as a heat map which trading days are stored, by board or code and month; --html writes it as a web page.
    Coverage(CoverageOptions),
    /// Lists the commands that failed (dead letters), and sends them again.
    #[command(subcommand)]
    Dlq(DlqCommand),
    /// Checks, shows or documents the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Fills a date range without Kafka; resumes after a stop or a kill.
    Backfill(BackfillOptions),
    /// Runs a demonstration worker without any server; not for production.
    Standalone(standalone::Options),
    /// Prints the completions for a shell.
    Completions(CompletionsOptions),
    /// Prints the manual page, or writes all pages into a folder.
    Man(ManOptions),
}

fn main() -> ExitCode {
    #[cfg(feature = "failpoints")]
    let _faults = fail::FailScenario::setup();
    match Arguments::parse().command.unwrap_or(Command::Run { config: None, node_id: None, strict: false }) {
        Command::Run { config, node_id, strict } => run_worker(config, node_id, strict),
        Command::Send(options) => options.run(),
        Command::Health(options) => options.run(),
        Command::Status(options) => options.run(),
        Command::Reports(options) => options.run(),
        Command::Quality(options) => options.run(),
        Command::Gaps(options) => options.run(),
        Command::Coverage(options) => options.run(),
        Command::Dlq(command) => command.run(),
        Command::Config(command) => command.run(),
        Command::Backfill(options) => options.run(),
        Command::Standalone(options) => standalone::run(&options),
        Command::Completions(options) => options.run(Arguments::command()),
        Command::Man(options) => options.run(Arguments::command()),
    }
}

fn run_worker(file: Option<PathBuf>, node_id: Option<String>, strict: bool) -> ExitCode {
    let system = System::new();
    let signals = system.block_on(async { StopSignals::listen() });
    let mut environment = Environment::of_process();
    if let Some(node_id) = node_id {
        environment.set("worker.node_id", &node_id);
    }
    let configuration = if strict {
        config::load_strictly(file.as_deref(), &environment).map(|loaded| Fallback { loaded, problems: None })
    } else {
        config::load_or_defaults(file.as_deref(), &environment)
    };
    let log =
        configuration.as_ref().map_or_else(|_| LogSection::default(), |usable| usable.loaded.settings.log.clone());
    let telemetry = match telemetry::start(&log, telemetry::JsonTo::Output) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("data-worker: cannot write logs: {error}");
            return ExitCode::FAILURE;
        }
    };
    let code = match configuration {
        Ok(Fallback { loaded, problems }) => {
            log_configuration(&loaded, problems.as_ref());
            run::run(&system, signals, loaded, ConfigPlace { file, environment }, telemetry.clone())
        }
        Err(problems) => {
            log_each(&problems);
            tracing::error!("{}", if strict { REFUSED_STRICTLY } else { REFUSED_HOST });
            ExitCode::FAILURE
        }
    };
    telemetry.close();
    code
}

const REFUSED_STRICTLY: &str = "the worker does not start: the configuration is invalid, and --strict refuses it";

const REFUSED_HOST: &str = "the worker does not start: with this configuration it could write to the wrong store";

fn log_configuration(loaded: &Loaded, problems: Option<&ConfigProblems>) {
    for warning in &loaded.warnings {
        tracing::warn!(warning, "configuration warning");
    }
    for doubt in &loaded.doubts {
        tracing::warn!(warning = %doubt, "configuration warning");
    }
    if let Some(problems) = problems {
        log_each(problems);
        tracing::error!(
            "the configuration is invalid; the worker starts with what is valid: each wrong setting falls back to the \
             next place that sets it, or to its default (`run --strict` refuses to start)"
        );
    }
    let origin = loaded.origin.as_deref().map(|path| tracing::field::display(path.display()));
    tracing::info!(file = origin, "configuration loaded");
}

fn log_each(problems: &ConfigProblems) {
    for problem in &problems.0 {
        tracing::error!(%problem, "invalid configuration");
    }
}
