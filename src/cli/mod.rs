// Upstream: many
// Downstream: config
// Role: The commands of `data-worker` beside the worker itself.

//! Commands whose result is their output; each group has a file.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::config::{Environment, Loaded};

mod ask;
/// `data-worker config …`.
pub mod config;
mod connect;
/// `data-worker gaps`.
pub mod gaps;
/// `data-worker health`.
pub mod health;
/// `data-worker quality`.
pub mod quality;
/// `data-worker reports`.
pub mod reports;
/// `data-worker send …`.
pub mod send;
/// `data-worker status`.
pub mod status;

/// The configuration a command works by, or its problems, told, and the exit code.
fn load(file: Option<&Path>) -> Result<Loaded, ExitCode> {
    crate::config::load(file, &Environment::of_process()).map_err(|problems| {
        eprintln!("{problems}");
        ExitCode::FAILURE
    })
}

/// Waits for a command's questions to servers.
fn block_on<T>(questions: impl Future<Output = T>) -> Result<T, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| {
        eprintln!("the servers cannot be asked: {error}");
        ExitCode::FAILURE
    })?;
    Ok(runtime.block_on(questions))
}

/// Prints a command's result. A reader that has gone away makes it a failure, not a panic.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
