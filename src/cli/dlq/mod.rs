// Upstream: main
// Downstream: list, replay, show, stats
// Role: Implements `data-worker dlq …`, which lists dead letters and sends their commands again.

use std::process::ExitCode;

use clap::Subcommand;

mod config_file;
mod filter;
mod list;
mod replay;
mod run;
mod show;
mod stats;
pub(super) mod view;

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
