// Upstream: main
// Downstream: cli, config, connect, fold
// Role: Implements `data-worker config …`, which checks, shows and documents the configuration.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::fold::print_folded;
use super::{connect, print};
use crate::config::keys::{Key, keys};
use crate::config::{self, ConfigProblems, Environment, Fallback, Loaded, Place, Settings, reference};

/// Subcommands of `data-worker config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Reports all problems of a configuration; exit code 1 if there are any.
    Check {
        /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
        file: Option<PathBuf>,
        /// Also tests the connection to every server, and to the market data sources with their tokens.
        #[arg(long)]
        connect: bool,
    },
    /// Prints every setting with its value and where it was set; secrets are masked.
    Show {
        /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Only settings whose path contains one of these texts, such as `kafka` or `tushare.token`.
        filter: Vec<String>,
        /// Only settings that some place sets; the others have their defaults.
        #[arg(long)]
        changed: bool,
    },
    /// Prints the default configuration file: every setting with its description, commented out.
    Default,
    /// Prints the documentation page of all settings, docs/configuration.md.
    Reference,
}

impl ConfigCommand {
    /// Runs the subcommand. Exit code 0: success without problems; 1: problems or a failure.
    pub fn run(self) -> ExitCode {
        match self {
            Self::Check { file, connect } => check(file.as_deref(), connect),
            Self::Show { config, filter, changed } => show(config.as_deref(), &Selected { filter, changed }),
            Self::Default => print(&reference::default_file()),
            Self::Reference => print(&reference::page()),
        }
    }
}

fn check(file: Option<&Path>, connect: bool) -> ExitCode {
    let loaded = match config::load_strictly(file, &Environment::of_process()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            print_problems(&problems);
            if connect {
                eprintln!("the servers are not tried, because the configuration is invalid");
            }
            return ExitCode::FAILURE;
        }
    };
    loaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    loaded.doubts.iter().for_each(|doubt| eprintln!("{doubt}"));
    let reported = if loaded.doubts.is_empty() {
        let origin = loaded.origin.as_ref().map_or("no file".to_owned(), |path| path.display().to_string());
        print(&format!("the configuration is valid ({origin})\n"))
    } else {
        ExitCode::FAILURE
    };
    if !connect {
        return reported;
    }
    let tried = connect::try_servers(&loaded.settings);
    if reported == ExitCode::SUCCESS { tried } else { reported }
}

fn show(file: Option<&Path>, selected: &Selected) -> ExitCode {
    match config::load_or_defaults(file, &Environment::of_process()) {
        Ok(Fallback { loaded, problems }) => {
            warn(&loaded);
            let shown = print_folded(&table(&loaded, selected));
            match problems {
                None => shown,
                Some(problems) => {
                    print_problems(&problems);
                    eprintln!(
                        "the configuration is invalid; the table shows the settings with which a worker would start"
                    );
                    ExitCode::FAILURE
                }
            }
        }
        Err(problems) => {
            print_problems(&problems);
            eprintln!("a worker would not start with this configuration");
            ExitCode::FAILURE
        }
    }
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    for doubt in &loaded.doubts {
        eprintln!("warning: {doubt}");
    }
}

fn print_problems(problems: &ConfigProblems) {
    eprintln!("{problems}");
}

/// The settings that `config show` prints.
#[derive(Default)]
struct Selected {
    filter: Vec<String>,
    changed: bool,
}

impl Selected {
    fn has(&self, path: &str, place: &Place) -> bool {
        let is_named = self.filter.is_empty() || self.filter.iter().any(|text| path.contains(&text.to_lowercase()));
        is_named && !(self.changed && *place == Place::Default)
    }
}

/// A table with one line per setting: path, value and place.
fn table(loaded: &Loaded, selected: &Selected) -> String {
    let rows: Vec<(&str, String, String)> = keys()
        .iter()
        .filter(|key| selected.has(&key.path, loaded.place(&key.path)))
        .map(|key| (key.path.as_str(), value(&loaded.settings, key), loaded.place(&key.path).to_string()))
        .collect();
    let width = |length: fn(&(&str, String, String)) -> usize| rows.iter().map(length).max().unwrap_or(0);
    let (paths, values) = (width(|row| row.0.chars().count()), width(|row| row.1.chars().count()).min(MAX_VALUE_WIDTH));
    rows.iter().map(|(path, value, place)| format!("{path:<paths$}  {value:<values$}  {place}\n")).collect()
}

/// Maximum width of the value column; a longer value shifts only its own line.
const MAX_VALUE_WIDTH: usize = 20;

fn value(settings: &Settings, key: &Key) -> String {
    // Serialization masks secrets.
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
    fn table_shows_settings_and_places_without_secrets() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "kafka:\n  command_topics: [a, b]\nredis:\n  password: geheim\n").unwrap();
        let environment = Environment::from_iter([("TUSHARE_TOKEN", "geheim"), ("LOG_LEVEL", "debug")]);
        let loaded = config::load(Some(file.path()), &environment).unwrap();
        let text = table(&loaded, &Selected::default());
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
        let changed = table(&loaded, &Selected { changed: true, ..Selected::default() });
        let paths: Vec<&str> = changed.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(paths, ["kafka.command_topics", "redis.password", "sources.tushare.token"]);
        let named = |filter: &[&str]| {
            let filter = filter.iter().map(ToString::to_string).collect();
            table(&loaded, &Selected { filter, changed: true }).lines().count()
        };
        assert_eq!((named(&["kafka"]), named(&["Token", "redis"]), named(&["weather"])), (1, 2, 0));
    }
}
