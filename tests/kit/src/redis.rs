// Upstream: tests::it
// Downstream: services, wait
// Role: A Redis server of a test's own, which it may kill and start again.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::services::{free_port, required};
use crate::wait::wait_until;

/// A running Redis server without persistence. Killed when dropped.
pub struct OwnRedis {
    child: Child,
    port: u16,
}

impl OwnRedis {
    /// Starts one on a free port.
    pub fn start() -> Self {
        Self::start_on(free_port())
    }

    /// Starts one on a port; returns when it answers.
    pub fn start_on(port: u16) -> Self {
        let program = required("TEST_REDIS_SERVER");
        let child = Command::new(&program)
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let server = Self { child, port };
        let client = redis::Client::open(server.url()).expect("an address");
        wait_until("the test's own Redis", Duration::from_secs(10), || client.get_connection().is_ok());
        server
    }

    /// `redis://127.0.0.1:port/0`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// From now on it lets in nobody without this password.
    pub fn set_password(&self, password: &str) {
        let mut connection = redis::Client::open(self.url()).and_then(|client| client.get_connection()).expect("Redis");
        redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(password).exec(&mut connection).expect("CONFIG SET");
    }

    /// `kill -9`; the port, to start another one there.
    pub fn kill(mut self) -> u16 {
        self.child.kill().expect("kill");
        self.child.wait().expect("its end");
        self.port
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}
