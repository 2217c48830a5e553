// Upstream: tests::it
// Downstream: services, wait
// Role: A private Redis server that a test can kill and restart.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::services::{free_port, required};
use crate::wait::wait_until;

/// A running Redis server without persistence; it is killed when it is dropped.
pub struct PrivateRedis {
    child: Child,
    port: u16,
}

impl PrivateRedis {
    /// Starts a server on a free port.
    pub fn start() -> Self {
        Self::start_on(free_port())
    }

    /// Starts a server on a port; returns when it answers.
    pub fn start_on(port: u16) -> Self {
        let program = required("TEST_REDIS_SERVER");
        let child = Command::new(&program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let server = Self { child, port };
        let client = redis::Client::open(server.url()).expect("an address");
        wait_until("the private Redis answers", Duration::from_secs(10), || client.get_connection().is_ok());
        server
    }

    /// `redis://127.0.0.1:port/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Sets the password that connections must give from now on.
    pub fn set_password(&self, password: &str) {
        let mut connection =
            redis::Client::open(self.url()).and_then(|client| client.get_connection()).expect("a connection to Redis");
        redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(password).exec(&mut connection).expect("CONFIG SET");
    }

    /// Kills it with SIGKILL and returns its port, so that a test can start another one there.
    pub fn kill(mut self) -> u16 {
        self.child.kill().expect("kill");
        self.child.wait().expect("its exit status");
        self.port
    }
}

impl Drop for PrivateRedis {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}
