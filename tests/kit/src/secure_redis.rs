// Upstream: secure_stack, tests::it
// Downstream: certificates, services, wait
// Role: Private Redis servers with TLS and ACL, and a master with a replica and Sentinels.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::certificates::{Authority, Identity};
use crate::services::{required, reserved_ports};
use crate::wait::wait_until;

/// User of the TLS server.
pub const USER: &str = "worker";

/// Password of [`USER`].
pub const PASSWORD: &str = "Rd-secret-1";

/// A process that is killed when it is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(arguments: &[String], port: u16) -> Self {
        let program = required("TEST_REDIS_SERVER");
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        Self { child, port }
    }

    fn kill(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// A Redis server with TLS alone, an ACL user, and no other login.
pub struct SecureRedis {
    server: Server,
}

impl SecureRedis {
    /// Starts the server as `identity`; clients need a certificate of `authority` if `asks_for_client`.
    pub fn start(folder: &Path, authority: &Authority, identity: &Identity, asks_for_client: bool) -> Self {
        let [port] = reserved_ports();
        let acl = folder.join(format!("redis-{port}.acl"));
        let users = format!("user default off\nuser {USER} on >{PASSWORD} ~* &* +@all\n");
        std::fs::write(&acl, users).expect("the users of Redis");
        let asks = if asks_for_client { "yes" } else { "no" };
        let mut arguments =
            words(&format!("--bind 127.0.0.1 --port 0 --tls-port {port} --tls-auth-clients {asks} --appendonly no"));
        let file = |option: &str, path: &Path| [option.to_owned(), path.display().to_string()];
        arguments.extend(["--save".to_owned(), String::new()]);
        arguments.extend(file("--tls-cert-file", &identity.certificate));
        arguments.extend(file("--tls-key-file", &identity.key));
        arguments.extend(file("--tls-ca-cert-file", &authority.ca_file));
        arguments.extend(file("--aclfile", &acl));
        let server = Server::start(&arguments, port);
        let answers = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until("the private Redis with TLS listens", Duration::from_secs(10), answers);
        Self { server }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.server.port
    }
}

/// A master, its replica and three Sentinels, all with TLS and passwords. They have plain ports too, for the test
/// itself; among each other they use TLS.
pub struct SentinelSet {
    master: Option<Server>,
    replica: Server,
    /// Each with its port for TLS.
    sentinels: Vec<(Server, u16)>,
}

/// Password of the Sentinels.
pub const SENTINEL_PASSWORD: &str = "St-secret-1";

/// Settings of TLS that servers and Sentinels share, as they are in a configuration file.
fn tls_settings(port: u16, authority: &Authority, identity: &Identity) -> String {
    format!(
        "bind 127.0.0.1\ntls-port {port}\ntls-replication yes\ntls-auth-clients no\ntls-cert-file {}\n\
         tls-key-file {}\ntls-ca-cert-file {}\n",
        identity.certificate.display(),
        identity.key.display(),
        authority.ca_file.display()
    )
}

impl SentinelSet {
    /// Name of the master.
    pub const MASTER: &'static str = "mymaster";

    /// Starts all five and waits until each Sentinel knows the replica and the other Sentinels.
    pub fn start(folder: &Path, authority: &Authority, identity: &Identity) -> Self {
        let [master_tls, replica_tls] = reserved_ports();
        let start = |name: &str, tls_port: u16, more: &str| {
            let [port] = reserved_ports();
            let tls = tls_settings(tls_port, authority, identity);
            let text = format!(
                "{tls}port {port}\ndir {}\nsave \"\"\nappendonly no\nrepl-diskless-sync-delay 0\n\
                 requirepass {PASSWORD}\nmasterauth {PASSWORD}\n{more}",
                folder.display()
            );
            let file = folder.join(format!("{name}.conf"));
            std::fs::write(&file, text).expect("the server's file");
            let server = Server::start(&[file.display().to_string()], port);
            wait_for_answer(port, PASSWORD);
            server
        };
        let master = start("master", master_tls, "");
        let replica = start("replica", replica_tls, &format!("replicaof 127.0.0.1 {master_tls}\n"));
        wait_until("the replica follows the master", Duration::from_secs(20), || {
            info(replica.port, PASSWORD, "replication").contains("master_link_status:up")
        });
        let sentinels = (0..3).map(|_| sentinel(folder, master_tls, authority, identity));
        let set = Self { master: Some(master), replica, sentinels: sentinels.collect() };
        for (sentinel, _) in &set.sentinels {
            wait_until("the Sentinel knows the replica and the others", Duration::from_secs(30), || {
                let info = info(sentinel.port, SENTINEL_PASSWORD, "sentinel");
                info.contains("slaves=1") && info.contains("sentinels=3")
            });
        }
        set
    }

    /// The Sentinels with TLS, as `host:port`.
    pub fn nodes(&self) -> Vec<String> {
        self.sentinels.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect()
    }

    /// The plain address of the replica.
    pub fn replica_url(&self) -> String {
        url(self.replica.port, PASSWORD)
    }

    /// The plain address of the master.
    pub fn master_url(&self) -> String {
        url(self.master.as_ref().expect("a running master").port, PASSWORD)
    }

    /// Kills the master, and the first Sentinel with it, as when a machine dies.
    pub fn kill_master(&mut self) {
        self.master = None;
        if let Some((sentinel, _)) = self.sentinels.first_mut() {
            sentinel.kill();
        }
    }

    /// Waits until the replica is the master.
    pub fn wait_for_promotion(&self) {
        wait_until("the replica is promoted", Duration::from_secs(60), || {
            info(self.replica.port, PASSWORD, "replication").contains("role:master")
        });
    }
}

fn sentinel(folder: &Path, master_port: u16, authority: &Authority, identity: &Identity) -> (Server, u16) {
    let [port, tls_port] = reserved_ports();
    let file = folder.join(format!("sentinel-{port}.conf"));
    let (name, tls) = (SentinelSet::MASTER, tls_settings(tls_port, authority, identity));
    let text = format!(
        "{tls}port {port}\ndir {}\nrequirepass {SENTINEL_PASSWORD}\nsentinel sentinel-pass {SENTINEL_PASSWORD}\n\
         sentinel monitor {name} 127.0.0.1 {master_port} 2\nsentinel auth-pass {name} {PASSWORD}\n\
         sentinel down-after-milliseconds {name} 1000\nsentinel failover-timeout {name} 5000\n",
        folder.display()
    );
    std::fs::write(&file, text).expect("the Sentinel's file");
    // redis-sentinel is the same program.
    let server = Server::start(&[file.display().to_string(), "--sentinel".to_owned()], port);
    wait_for_answer(port, SENTINEL_PASSWORD);
    (server, tls_port)
}

fn url(port: u16, password: &str) -> String {
    format!("redis://:{password}@127.0.0.1:{port}/0")
}

fn wait_for_answer(port: u16, password: &str) {
    let client = redis::Client::open(url(port, password)).expect("an address");
    wait_until("the private Redis answers", Duration::from_secs(10), || client.get_connection().is_ok());
}

fn info(port: u16, password: &str, section: &str) -> String {
    let ask = || -> redis::RedisResult<String> {
        let client = redis::Client::open(url(port, password))?;
        redis::cmd("INFO").arg(section).query(&mut client.get_connection()?)
    };
    ask().unwrap_or_default()
}
