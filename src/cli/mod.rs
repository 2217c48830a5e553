// Upstream: many
// Downstream: config
// Role: Module of the `data-worker` commands other than `run`, `backfill` and `standalone`.

//! Commands for operators; each command has its own file.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{Environment, Loaded};

mod ask;
/// `data-worker config …`.
pub mod config;
mod connect;
/// `data-worker coverage`.
pub mod coverage;
/// Days on the command line.
pub mod days;
/// `data-worker dlq …`.
pub mod dlq;
mod fold;
mod follow;
/// `data-worker gaps`.
pub mod gaps;
/// `data-worker health`.
pub mod health;
/// `data-worker completions` and `data-worker man`.
pub mod manual;
/// `data-worker quality`.
pub mod quality;
/// `data-worker reports`.
pub mod reports;
/// `data-worker send …`.
pub mod send;
/// `data-worker status`.
pub mod status;
mod suspended;
mod validate;

/// Loads the configuration of a command. On failure prints the problems and returns the exit code.
fn load(file: Option<&Path>) -> Result<Loaded, ExitCode> {
    crate::config::load(file, &Environment::of_process()).map_err(|problems| {
        eprintln!("{problems}");
        ExitCode::FAILURE
    })
}

/// Runs the requests of a command to servers until they complete.
fn block_on<T>(questions: impl Future<Output = T>) -> Result<T, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        eprintln!("cannot connect to the servers: {error}");
        ExitCode::FAILURE
    })?;
    Ok(runtime.block_on(questions))
}

/// Prints the result of a command. A closed stdout is a failure, not a panic.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
