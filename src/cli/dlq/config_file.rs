// Upstream: list, replay, show, stats
// Downstream: adapters::kafka, adapters::kafka::dead_letters, cli, config
// Role: The configuration file of the subcommands of `data-worker dlq`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::adapters::kafka::admin_client::AdminClient;
use crate::adapters::kafka::dead_letters::log::DeadLetterError;
use crate::config::KafkaSection;

/// The option that all subcommands have: where the topic is.
#[derive(Debug, Clone, Args)]
pub struct ConfigFile {
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl ConfigFile {
    /// Loads the configuration, connects and runs a subcommand.
    pub fn with_topic(
        self,
        run: impl FnOnce(&AdminClient, &KafkaSection) -> Result<ExitCode, DeadLetterError>,
    ) -> ExitCode {
        let loaded = match crate::cli::load(self.config.as_deref()) {
            Ok(loaded) => loaded,
            Err(code) => return code,
        };
        let kafka = &loaded.settings.kafka;
        let outcome = AdminClient::new(kafka).map_err(DeadLetterError::from).and_then(|admin| run(&admin, kafka));
        outcome.unwrap_or_else(|error| {
            eprintln!("{error}");
            ExitCode::FAILURE
        })
    }
}
