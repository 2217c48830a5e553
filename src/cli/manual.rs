// Upstream: main
// Downstream: cli
// Role: Implements `data-worker completions` and `data-worker man`, which are generated from the command line itself.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, ValueEnum};

use super::print;

/// A shell with completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// Options of `data-worker completions`.
#[derive(Debug, Args)]
pub struct CompletionsOptions {
    /// The shell.
    shell: Shell,
}

/// Options of `data-worker man`.
#[derive(Debug, Args)]
pub struct ManOptions {
    /// Writes one page for the program and one for each subcommand into this folder, instead of the first to stdout.
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl CompletionsOptions {
    /// Prints the completion script.
    pub fn run(self, mut program: Command) -> ExitCode {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Zsh => clap_complete::Shell::Zsh,
            Shell::Fish => clap_complete::Shell::Fish,
        };
        let (name, mut script) = (program.get_name().to_owned(), Vec::new());
        clap_complete::generate(shell, &mut program, name, &mut script);
        print(&String::from_utf8_lossy(&script))
    }
}

impl ManOptions {
    /// Prints or writes the manual pages, in the format of `man`.
    pub fn run(self, program: Command) -> ExitCode {
        let done = match &self.folder {
            Some(folder) => std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(program, folder))
                .map(|()| ExitCode::SUCCESS),
            None => {
                let mut page = Vec::new();
                clap_mangen::Man::new(program).render(&mut page).map(|()| print(&String::from_utf8_lossy(&page)))
            }
        };
        done.unwrap_or_else(|error| failed(&error))
    }
}

fn failed(error: &std::io::Error) -> ExitCode {
    eprintln!("cannot write the manual: {error}");
    ExitCode::FAILURE
}
