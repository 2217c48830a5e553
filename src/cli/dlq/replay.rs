// Upstream: dlq
// Downstream: adapters::kafka, adapters::kafka::dead_letters, config, config_file, filter, run
// Role: Implements `data-worker dlq replay`: selects dead letters and sends their commands again, each once.

use std::ops::ControlFlow;
use std::process::ExitCode;

use clap::Args;

use super::config_file::ConfigFile;
use super::filter::LetterFilter;
use super::run::ReplayRun;
use crate::adapters::kafka::admin_client::AdminClient;
use crate::adapters::kafka::dead_letters::letter::LetterName;
use crate::adapters::kafka::dead_letters::log::{DeadLetterError, DeadLetterLog};
use crate::adapters::kafka::dead_letters::replayer::Replayer;
use crate::config::KafkaSection;

/// Options of `data-worker dlq replay`.
#[derive(Debug, Args)]
pub struct ReplayOptions {
    #[command(flatten)]
    pub(super) file: ConfigFile,
    /// Names of the letters as `dlq list` prints them, such as 0:17.
    names: Vec<LetterName>,
    #[command(flatten)]
    filter: LetterFilter,
    /// Replays all letters that were not replayed.
    #[arg(long, conflicts_with = "names")]
    all: bool,
    /// Also replays the named letters if they were replayed before.
    #[arg(long, requires = "names")]
    again: bool,
    /// Prints what would be sent, and sends nothing.
    #[arg(long)]
    dry_run: bool,
}

impl ReplayOptions {
    /// Replays the selected letters. Exit code 1 if one of them was not.
    pub(super) fn run(&self, admin: &AdminClient, kafka: &KafkaSection) -> Result<ExitCode, DeadLetterError> {
        let is_vague = self.names.is_empty() && self.filter.is_empty() && !self.all;
        if is_vague || !(self.names.is_empty() || self.filter.is_empty()) {
            eprintln!("name the letters to replay (`data-worker dlq list` shows them), or give filters, or --all");
            return Ok(ExitCode::FAILURE);
        }
        // Before the topic is read: what others replay from now on fails, so nothing is missing in what is read.
        let replayer = match (!self.dry_run).then(|| Replayer::begin(kafka)).transpose() {
            Ok(replayer) => replayer,
            Err(error) => {
                eprintln!("{error}; nothing was sent");
                return Ok(ExitCode::FAILURE);
            }
        };
        let log = DeadLetterLog::read(admin, &kafka.dead_letter_topic)?;
        let mut run = ReplayRun::new(admin, &log, &kafka.command_topics, replayer);
        if self.names.is_empty() {
            log.letters(|letter| run.take_if(letter, &self.filter))?;
        } else {
            for name in &self.names {
                let next = match log.letter(*name)? {
                    Some(letter) => run.take_named(letter, self.again),
                    None => run.refuse(*name, &format!("there is no such dead letter in {}", kafka.dead_letter_topic)),
                };
                if next == ControlFlow::Break(()) {
                    break;
                }
            }
        }
        run.finish()
    }
}
