// Upstream: main
// Downstream: cli, config::reference
// Role: `data-worker config …`: checks, shows and documents the configuration.

use std::process::ExitCode;

use clap::Subcommand;

use super::print;
use crate::config::reference;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Prints the default configuration file: every setting with its description, commented out.
    Default,
    /// Prints the page about all settings, docs/configuration.md.
    Reference,
}

impl ConfigCommand {
    /// Carries it out. Exit code 0: done, and nothing is wrong; 1: something is.
    pub fn run(self) -> ExitCode {
        match self {
            Self::Default => print(&reference::default_file()),
            Self::Reference => print(&reference::page()),
        }
    }
}
