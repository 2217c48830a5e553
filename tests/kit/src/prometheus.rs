// Upstream: tests::it
// Downstream: http, services, wait
// Role: A private Prometheus server (Debian's package), and `promtool`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::http;
use crate::services::free_port;
use crate::wait::wait_until;

/// A running Prometheus server; it is killed when it is dropped.
pub struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    /// Starts a server with a configuration file and its data below `folder`; returns when it is ready.
    pub fn start(config: &Path, folder: &Path) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("prometheus (tests/services/install.sh installs it): {error}"));
        let server = Self { child, address: format!("http://{listen}") };
        wait_until("Prometheus is ready", Duration::from_secs(30), || {
            std::net::TcpStream::connect(&listen).is_ok() && server.get("/-/ready").status == 200
        });
        server
    }

    /// The result of an instant query; the error is Prometheus' error text.
    pub fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let answer = self.get(&format!("/api/v1/query?query={}", percent(expression))).json();
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default()),
            _ => Err(answer["error"].to_string()),
        }
    }

    fn get(&self, path: &str) -> http::Response {
        // HTTP/1.0 avoids a chunked response.
        http::send(&self.address, &format!("GET {path} HTTP/1.0\r\n\r\n"))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Runs `promtool`; the error is its output if it fails.
pub fn promtool(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("promtool").args(arguments).output().map_err(|error| format!("promtool: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
