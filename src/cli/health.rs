// Upstream: main
// Downstream: ask, cli, config
// Role: Implements `data-worker health`, which checks the worker on this machine for a container's HEALTHCHECK.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::ask;
use crate::config::{self, Environment, HttpSection};

/// Deadline of the whole check: below 3 s, the usual timeout of a container health check.
const DEADLINE: Duration = Duration::from_millis(2_500);

/// Options of `data-worker health`.
#[derive(Debug, Args)]
pub struct HealthOptions {
    /// Configuration file; default: the file that a worker would use, see docs/configuration.md.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Address of the worker; overrides the configuration.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

impl HealthOptions {
    /// Sends the request and prints one line. Exit code 0: the worker is healthy; 1: it is unhealthy or unreachable.
    pub fn run(self) -> ExitCode {
        match self.ask() {
            Ok(line) => super::print(&format!("{line}\n")),
            Err(reason) => {
                let _told = super::print(&format!("unhealthy: {reason}\n"));
                ExitCode::FAILURE
            }
        }
    }

    fn ask(self) -> Result<String, String> {
        let address = match self.address {
            Some(address) => address,
            None => {
                // Load as a worker does: it runs even if the file is invalid.
                let usable = config::load_or_defaults(self.config.as_deref(), &Environment::of_process());
                address(&usable.map_err(|problems| problems.to_string())?.loaded.settings.http)?
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let url = format!("http://{address}/healthz");
        let answer = runtime.map_err(|error| error.to_string())?.block_on(ask::get(&ask::client()?, &url, DEADLINE));
        let (status, body) = answer?;
        let body: Value =
            serde_json::from_str(&body).map_err(|_| format!("{url} did not return the health response of a worker"))?;
        let node_id = body.get("node_id").and_then(Value::as_str).unwrap_or_default();
        if status.is_success() {
            return Ok(format!("healthy: {node_id} at {address}"));
        }
        let late = body.get("late").and_then(Value::as_array).into_iter().flatten();
        let reasons: Vec<&str> = late.filter_map(|late| late.get("reason")?.as_str()).collect();
        Err(format!("{node_id} at {address}: {}", reasons.join("; ")))
    }
}

/// The address at which a worker with this configuration is reachable from its own machine.
fn address(section: &HttpSection) -> Result<String, String> {
    let HttpSection { enabled, host, port } = section;
    if !enabled {
        return Err("http.enabled is false, so the worker has no HTTP server".to_owned());
    }
    if *port == 0 {
        return Err("http.port is 0, so only the worker's heartbeat contains its port; set --address".to_owned());
    }
    let host = match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) if ip.is_unspecified() => "127.0.0.1".to_owned(),
        Ok(IpAddr::V6(ip)) if ip.is_unspecified() => "[::1]".to_owned(),
        Ok(IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => host.clone(),
    };
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_asked_where_it_listens() {
        let at = |host: &str, port| address(&HttpSection { enabled: true, host: host.to_owned(), port });
        assert_eq!(at("0.0.0.0", 9464), Ok("127.0.0.1:9464".to_owned()));
        assert_eq!(at("::", 1), Ok("[::1]:1".to_owned()));
        assert_eq!(at("10.0.0.7", 1), Ok("10.0.0.7:1".to_owned()));
        assert_eq!(at("worker", 1), Ok("worker:1".to_owned()));
        assert!(at("127.0.0.1", 0).unwrap_err().contains("--address"));
        let off = HttpSection { enabled: false, ..HttpSection::default() };
        assert!(address(&off).unwrap_err().contains("http.enabled"));
    }
}
