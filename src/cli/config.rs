// Upstream: main
// Downstream: cli, config, connect
// Role: `data-worker config …`: checks, shows and documents the configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::{connect, print};
use crate::config::keys::{Key, keys};
use crate::config::{self, ConfigProblems, Environment, Fallback, Loaded, Settings, reference};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Finds all problems of a configuration; exit code 1 if there is one.
    Check {
        /// The configuration file; otherwise it is looked for as a worker does, see docs/configuration.md.
        file: Option<PathBuf>,
        /// Also tries every server, and the market source with its token.
        #[arg(long)]
        connect: bool,
    },
    /// Prints every setting in force and where it comes from; secrets are masked.
    Show {
        /// The configuration file; otherwise it is looked for as a worker does, see docs/configuration.md.
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Prints the default configuration file: every setting with its description, commented out.
    Default,
    /// Prints the page about all settings, docs/configuration.md.
    Reference,
}

impl ConfigCommand {
    /// Carries it out. Exit code 0: done, and nothing is wrong; 1: something is.
    pub fn run(self) -> ExitCode {
        match self {
            Self::Check { file, connect } => check(file.as_deref(), connect),
            Self::Show { config } => show(config.as_deref()),
            Self::Default => print(&reference::default_file()),
            Self::Reference => print(&reference::page()),
        }
    }
}

fn check(file: Option<&Path>, connect: bool) -> ExitCode {
    let environment = Environment::of_process();
    let missing = config::named_file(file, &environment).filter(|path| !path.exists());
    if let Some(path) = missing {
        eprintln!("{}: there is no such file", path.display());
    }
    match config::load(file, &environment) {
        Ok(loaded) if missing.is_none() => {
            warn(&loaded);
            let origin = loaded.origin.as_ref().map_or("no file".to_owned(), |path| path.display().to_string());
            let told = print(&format!("the configuration is sound ({origin})\n"));
            if connect { connect::try_servers(&loaded.settings) } else { told }
        }
        outcome => {
            if let Err(problems) = outcome {
                complain(&problems);
            }
            if connect {
                eprintln!("the servers are not tried, because the configuration does not say which they are");
            }
            ExitCode::FAILURE
        }
    }
}

fn show(file: Option<&Path>) -> ExitCode {
    match config::load_or_defaults(file, &Environment::of_process()) {
        Ok(Fallback { loaded, problems }) => {
            warn(&loaded);
            let shown = print(&table(&loaded));
            match problems {
                None => shown,
                Some(problems) => {
                    complain(&problems);
                    eprintln!("the configuration is not usable as written; the settings above are what is left of it");
                    ExitCode::FAILURE
                }
            }
        }
        Err(problems) => {
            complain(&problems);
            eprintln!("a worker would not start");
            ExitCode::FAILURE
        }
    }
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
}

fn complain(problems: &ConfigProblems) {
    eprintln!("{problems}");
}

/// A line for each setting: its path, its value, its place.
fn table(loaded: &Loaded) -> String {
    let rows: Vec<(&str, String, String)> = keys()
        .iter()
        .map(|key| (key.path.as_str(), value(&loaded.settings, key), loaded.place(&key.path).to_string()))
        .collect();
    let width = |length: fn(&(&str, String, String)) -> usize| rows.iter().map(length).max().unwrap_or(0);
    let (paths, values) = (width(|row| row.0.chars().count()), width(|row| row.1.chars().count()).min(MAX_VALUE_WIDTH));
    rows.iter().map(|(path, value, place)| format!("{path:<paths$}  {value:<values$}  {place}\n")).collect()
}

/// A longer value pushes its place to the right, alone.
const MAX_VALUE_WIDTH: usize = 40;

fn value(settings: &Settings, key: &Key) -> String {
    // Secrets are masked by the types themselves.
    let all = serde_json::to_value(settings).unwrap_or_default();
    match all.pointer(&format!("/{}", key.path.replace('.', "/"))) {
        None | Some(Value::Null) => "(unset)".to_owned(),
        Some(Value::String(text)) if !text.is_empty() => text.clone(),
        Some(value) => reference::yaml(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_every_setting_with_its_place_and_no_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "kafka:\n  command_topics: [a, b]\nredis:\n  password: geheim\n").unwrap();
        let environment = Environment::from_iter([("TUSHARE_TOKEN", "geheim"), ("LOG_LEVEL", "debug")]);
        let text = table(&config::load(Some(file.path()), &environment).unwrap());
        let line = |path: &str| {
            let line = text.lines().find(|line| line.split(' ').next() == Some(path));
            line.unwrap_or_else(|| panic!("{path} is not in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let name = file.path().display();
        assert_eq!(line("kafka.command_topics"), format!("kafka.command_topics [a, b] {name}, line 2"));
        assert_eq!(line("redis.password"), format!("redis.password *** {name}, line 4"));
        assert_eq!(line("sources.tushare.token"), "sources.tushare.token *** environment variable TUSHARE_TOKEN");
        assert_eq!(line("mysql.password"), "mysql.password (unset) default");
        assert_eq!(line("log.level"), "log.level info default");
        assert!(line("worker.node_id").starts_with("worker.node_id data_worker_"));
        assert_eq!(text.lines().count(), keys().len());
        assert!(!text.contains("geheim"), "{text}");
    }
}
