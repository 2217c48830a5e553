// Upstream: gauges
// Downstream: none
// Role: Reads memory, CPU time, threads and start time of this process from `/proc`.

use std::fs;

/// Clock ticks per second in `/proc`: the kernel's `USER_HZ`, which is 100 on all current Linux architectures.
const TICKS_PER_SECOND: f64 = 100.0;

/// Statistics of this process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// CPU time in seconds, user and system.
    pub cpu_seconds: f64,
    /// Number of threads.
    pub threads: u64,
    /// Unix time of the start in seconds.
    pub start_seconds: f64,
}

impl Process {
    /// Reads `/proc/self`. `None` if it does not exist.
    pub fn read() -> Option<Self> {
        let (status, stat) =
            (fs::read_to_string("/proc/self/status").ok()?, fs::read_to_string("/proc/self/stat").ok()?);
        let boot = fs::read_to_string("/proc/stat").ok()?;
        parse(&status, &stat, &boot)
    }
}

/// Parses the formats of `proc_pid_status(5)`, `proc_pid_stat(5)` and `proc_stat(5)`.
fn parse(status: &str, stat: &str, boot: &str) -> Option<Process> {
    let word = |text: &str, name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse().ok()
    };
    // The second field is the program name in parentheses and may contain any character. The third field follows the
    // last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some(Process {
        resident_bytes: word(status, "VmRSS:")? * 1024,
        cpu_seconds: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND,
        threads: word(status, "Threads:")?,
        start_seconds: word(boot, "btime")? as f64 + ticks(22)? / TICKS_PER_SECOND,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_kernel_text() {
        let status = "Name:\tdata) worker\nVmRSS:\t   20480 kB\nThreads:\t9\n";
        let stat = "7 (data) worker) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 9 0 12345 1 1";
        let process = parse(status, stat, "cpu 1 2 3\nbtime 1700000000\n").unwrap();
        let expected =
            Process { resident_bytes: 20_971_520, cpu_seconds: 3.0, threads: 9, start_seconds: 1_700_000_123.45 };
        assert_eq!(process, expected);
        let own = Process::read().unwrap();
        assert!(own.resident_bytes > 1_000_000 && own.threads >= 1 && own.start_seconds > 1.6e9, "{own:?}");
    }
}
