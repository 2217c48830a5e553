// Upstream: config
// Downstream: adapters, app, cli, config
// Role: Implements `data-worker config check --connect`, which tests every server and prints the results.

use std::process::ExitCode;

use super::print;
use crate::adapters::probe::{DEADLINE, Report, run_all};
use crate::app::service_hub::ServiceHub;
use crate::config::Settings;

/// Tests every server in the settings concurrently. Exit code 1 if the worker cannot use one of them.
pub fn try_servers(settings: &Settings) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot test the servers: {error}");
            return ExitCode::FAILURE;
        }
    };
    let reports = runtime.block_on(run_all(ServiceHub::probes(settings), DEADLINE));
    let reported = print(&reports.iter().map(|report| format!("{report}\n")).collect::<String>());
    if reports.iter().all(Report::is_good) { reported } else { ExitCode::FAILURE }
}
