// Upstream: main
// Downstream: adapters::kafka::dead_letters, cli
// Role: Implements `data-worker dlq …`, which lists dead letters and sends their commands again.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::adapters::kafka::admin_client::AdminClient;
use crate::adapters::kafka::dead_letters::log::DeadLetterError;
use crate::config::KafkaSection;

mod filter;
mod list;
mod replay;
mod run;
mod show;
mod stats;
mod view;

/// Subcommands of `data-worker dlq`.
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// Lists dead letters, oldest first: commands that failed and were not sent again.
    List(list::ListOptions),
    /// Shows dead letters with all that is known about them, and their payloads.
    Show(show::ShowOptions),
    /// Sends the commands of dead letters again, each once.
    Replay(replay::ReplayOptions),
    /// Counts dead letters by state, class, command and sender.
    Stats(stats::StatsOptions),
}

impl DlqCommand {
    /// Runs the subcommand. Exit code 1 if it could not do all that it was asked for.
    pub fn run(self) -> ExitCode {
        match self {
            Self::List(options) => options.file.clone().with_topic(|admin, kafka| options.run(admin, kafka)),
            Self::Show(options) => options.file.clone().with_topic(|admin, kafka| options.run(admin, kafka)),
            Self::Replay(options) => options.file.clone().with_topic(|admin, kafka| options.run(admin, kafka)),
            Self::Stats(options) => options.file.clone().with_topic(|admin, kafka| options.run(admin, kafka)),
        }
    }
}

/// The option that all subcommands have.
#[derive(Debug, Clone, Args)]
struct ConfigFile {
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// Loads the configuration, connects and runs a subcommand.
    fn with_topic(
        self,
        run: impl FnOnce(&AdminClient, &KafkaSection) -> Result<ExitCode, DeadLetterError>,
    ) -> ExitCode {
        let loaded = match super::load(self.config.as_deref()) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        let kafka = &loaded.settings.kafka;
        let outcome =
            AdminClient::new(kafka).map_err(DeadLetterError::from).and_then(|admin| run(&admin, kafka));
        outcome.unwrap_or_else(|error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        })
    }
}
