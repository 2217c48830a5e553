// Upstream: main
// Downstream: commands, figure, kit
// Role: Measures the latency from a command to its fetch, and from a worker's start to its first heartbeat.

use std::time::{Duration, Instant};

use kit::wait::{wait_for, wait_until};
use serde_json::Value;

use crate::commands::scene;
use crate::figure::{Figure, median};

const COMMANDS: usize = 300;
const STARTS: usize = 5;
const LONGEST: Duration = Duration::from_secs(60);

pub fn measure() -> Vec<Figure> {
    let mut figures = vec![from_produce_to_fetch()];
    figures.extend(from_start_to_heartbeat());
    figures
}

/// Sends one command at a time, each for a different code. A task counts as started when its request reaches the
/// source.
fn from_produce_to_fetch() -> Figure {
    let (mut scene, codes, _) = scene("bench_latency", COMMANDS + 1, 2);
    let _worker = scene.start("bench");
    scene.wait_for_status("bench", "running");
    let mut waits = Vec::new();
    for code in &codes {
        let sent = Instant::now();
        scene.send_snapshots(std::slice::from_ref(code), "");
        let arrived = wait_for("the fetch", LONGEST, || scene.source.last_arrival(code));
        waits.push(arrived.duration_since(sent).as_secs_f64() * 1e3);
    }
    waits.remove(0); // The first command includes loading the table of newest timestamps.
    waits.sort_by(f64::total_cmp);
    let (p50, p99) = (waits[waits.len() / 2], waits[waits.len() * 99 / 100]);
    Figure::new("produce to task start", format!("p50 {p50:.1} ms, p99 {p99:.1} ms"), "20 ms")
}

fn from_start_to_heartbeat() -> Vec<Figure> {
    let (mut scene, ..) = scene("bench_start", 1, 1);
    scene.set("log.level", "info").set("log.format", "json");
    let (mut whole, mut beyond, mut memory) = (Vec::new(), Vec::new(), 0);
    for _ in 0..STARTS {
        let begun = Instant::now();
        let mut worker = scene.start("bench");
        wait_until("the heartbeat", LONGEST, || scene.status("bench").as_deref() == Some("running"));
        let seconds = begun.elapsed().as_secs_f64();
        let log = worker.log_text();
        let time_of = |message: &str| {
            let mut lines = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let line = lines.find(|line| line["message"] == message).expect("a log line");
            chrono::DateTime::parse_from_rfc3339(line["@timestamp"].as_str().expect("a time")).expect("a time")
        };
        let join = (time_of("partitions assigned") - time_of("subscribed")).as_seconds_f64();
        whole.push(seconds);
        beyond.push(seconds - join);
        memory = memory.max(worker.peak_memory_kib() / 1024);
        worker.terminate();
        worker.wait(LONGEST);
    }
    let value = format!("{:.2} s, of which {:.2} s beyond the group join", median(whole), median(beyond));
    vec![
        Figure::new("start to first `running` heartbeat", value, "1 s beyond the group join"),
        Figure::new("memory of an idle worker", format!("{memory} MB"), "64 MB"),
    ]
}
