// Upstream: cli::config, cli::connect, cli::health, cli::reports, cli::status
// Downstream: none
// Role: The commands of `data-worker` beside the worker itself.

//! Commands whose result is their output; each group has a file.

use std::io::Write;
use std::process::ExitCode;

mod ask;
/// `data-worker config …`.
pub mod config;
mod connect;
/// `data-worker health`.
pub mod health;
/// `data-worker reports`.
pub mod reports;
/// `data-worker send …`.
pub mod send;
/// `data-worker status`.
pub mod status;

/// Prints a command's result. A reader that has gone away makes it a failure, not a panic.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
