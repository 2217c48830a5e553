// Upstream: benches::pipeline, scene, tests::it
// Downstream: wait
// Role: Starts, signals, kills and awaits the worker process; a failing test prints the end of its log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait::wait_for;

/// A running worker; it is killed when it is dropped.
pub struct Worker {
    child: Child,
    /// The file that receives its output.
    pub log: PathBuf,
    /// The length of the file when this process started.
    log_before: u64,
}

impl Worker {
    /// Starts `program run` with a configuration file and extra environment variables.
    pub fn start(program: &Path, config: &Path, log: &Path, environment: &[(&str, &str)]) -> Self {
        Self::spawn(program, &["run", "--config", &config.display().to_string()], log, environment)
    }

    /// Starts `program` with arguments and extra environment variables.
    pub fn spawn(program: &Path, arguments: &[&str], log: &Path, environment: &[(&str, &str)]) -> Self {
        let out = File::options().create(true).append(true).open(log).expect("a log file");
        let log_before = out.metadata().expect("its length").len();
        let child = Command::new(program)
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a second file handle"))
            .stderr(out)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        Self { child, log: log.to_owned(), log_before }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("its exit status");
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.is_ok_and(|status| status.success()), "kill -s {name}");
    }

    /// Waits until it exits.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        wait_for("the worker exits", deadline, || self.child.try_wait().expect("its exit status"))
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("its exit status").is_none()
    }

    /// Whether it has written a line. Its first act is to receive signals; before that a signal kills it.
    pub fn has_begun(&self) -> bool {
        self.log.metadata().is_ok_and(|log| log.len() > self.log_before)
    }

    /// Its output so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Peak resident memory so far, in KiB.
    pub fn peak_memory_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// Resident memory now, in KiB.
    pub fn resident_memory_kib(&self) -> u64 {
        self.memory_kib("VmRSS:")
    }

    fn memory_kib(&self, name: &str) -> u64 {
        memory_kib(self.child.id(), name)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let text = self.log_text();
            let tail: Vec<&str> = text.lines().rev().take(60).collect();
            eprintln!("---- last lines of {}:", self.log.display());
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _killed = self.child.kill();
            let _ended = self.child.wait();
        }
    }
}

/// Peak resident memory of a running process so far, in KiB.
pub fn peak_memory_kib(process: u32) -> u64 {
    memory_kib(process, "VmHWM:")
}

fn memory_kib(process: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
