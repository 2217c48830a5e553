// Upstream: cli::config
// Downstream: cli, config::sections, probe, service_hub
// Role: `data-worker config check --connect`: tries every server and tells what each answers.

use std::process::ExitCode;

use super::print;
use crate::config::Settings;
use crate::probe::{DEADLINE, Report, run_all};
use crate::service_hub::ServiceHub;

/// Tries every server the settings name, all at once. Exit code 1 if the worker cannot use one of them.
pub fn try_servers(settings: &Settings) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("the servers cannot be tried: {error}");
            return ExitCode::FAILURE;
        }
    };
    let reports = runtime.block_on(run_all(ServiceHub::probes(settings), DEADLINE));
    let told = print(&reports.iter().map(|report| format!("{report}\n")).collect::<String>());
    if reports.iter().all(Report::is_good) { told } else { ExitCode::FAILURE }
}
