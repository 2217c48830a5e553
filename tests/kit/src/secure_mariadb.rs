// Upstream: secure_stack, tests::it
// Downstream: certificates, services, wait
// Role: A private MariaDB that requires TLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::certificates::{Authority, Identity};
use crate::services::reserved_ports;
use crate::wait::wait_until;

/// User of the server.
pub const USER: &str = "ginkgo";

/// A user that must show a client certificate.
pub const CERTIFIED_USER: &str = "certified";

/// Password of both users.
pub const PASSWORD: &str = "My-secret-1";

/// A running server; it is killed when it is dropped.
pub struct SecureMariaDb {
    child: Child,
    /// The port.
    pub port: u16,
}

impl SecureMariaDb {
    /// Creates a server in `folder` that takes connections with TLS alone, and starts it.
    pub fn start(folder: &Path, authority: &Authority, identity: &Identity) -> Self {
        let (data, [port]) = (folder.join("mariadb"), reserved_ports());
        std::fs::create_dir(&data).expect("a folder");
        let users: String = [(USER, ""), (CERTIFIED_USER, " REQUIRE X509")]
            .map(|(user, require)| {
                format!(
                    "CREATE USER {user}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'{require};\n\
                     GRANT ALL ON *.* TO {user}@'127.0.0.1';\n"
                )
            })
            .concat();
        let init = folder.join("init.sql");
        std::fs::write(&init, users).expect("the users");
        let own_user = Command::new("id").arg("-un").output().expect("id");
        let own_user = String::from_utf8_lossy(&own_user.stdout).trim().to_owned();
        let option = |name: &str, path: &Path| format!("--{name}={}", path.display());
        // --user: required when the server runs as root.
        // A folder of its own for temporary tables: their names may be those of another server.
        let temporary = folder.join("mariadb-tmp");
        std::fs::create_dir(&temporary).expect("a folder");
        let user = format!("--user={own_user}");
        let common = ["--no-defaults".to_owned(), option("datadir", &data), option("tmpdir", &temporary), user];
        let made = Command::new("mariadb-install-db")
            .args(&common)
            .args(["--skip-test-db", "--auth-root-authentication-method=normal"])
            .output()
            .expect("mariadb-install-db");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let log = std::fs::File::create(folder.join("mariadb.log")).expect("a log file");
        let child = Command::new("mariadbd")
            .args(&common)
            .args(["--bind-address=127.0.0.1", &format!("--port={port}"), "--skip-name-resolve"])
            .args(["--require-secure-transport=ON", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M"])
            .args(["--innodb-flush-log-at-trx-commit=0", "--character-set-server=utf8mb4"])
            .args([option("socket", &folder.join("my.sock")), option("pid-file", &folder.join("my.pid"))])
            .args([option("init-file", &init), option("ssl-ca", &authority.ca_file)])
            .args([option("ssl-cert", &identity.certificate), option("ssl-key", &identity.key)])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("mariadbd");
        let mut server = Self { child, port };
        wait_until("the private MariaDB answers", Duration::from_secs(60), || {
            assert!(server.child.try_wait().is_ok_and(|ended| ended.is_none()), "it has ended; see its log");
            server.run("SELECT 1", &authority.ca_file)
        });
        server
    }

    /// Creates an empty database.
    pub fn create(&self, database: &str, authority: &Authority) {
        assert!(self.run(&format!("CREATE DATABASE `{database}`"), &authority.ca_file), "the database is created");
    }

    /// Runs a statement with the command-line client; whether it succeeds.
    fn run(&self, statement: &str, ca: &Path) -> bool {
        let run = Command::new("mariadb")
            .args(["--no-defaults", "-h", "127.0.0.1", "-P", &self.port.to_string(), "-u", USER])
            .arg(format!("--ssl-ca={}", ca.display()))
            .args(["-e", statement])
            .env("MYSQL_PWD", PASSWORD)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        run.is_ok_and(|status| status.success())
    }
}

impl Drop for SecureMariaDb {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}
