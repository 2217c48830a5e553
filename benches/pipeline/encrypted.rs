// Upstream: main
// Downstream: commands, figure, kit
// Role: Compares a run with TLS and logins on all servers with the same run in plain text.

use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::secure_stack::SecureStack;
use kit::tushare_data::{Dataset, codes};
use kit::tushare_server::TushareServer;
use kit::wait::wait_until;

use crate::commands::{PROGRAM, days, run};
use crate::figure::{Figure, median};

/// Commands, and rows of each.
const CODES: usize = 300;
const DAYS: usize = 243;

/// Runs of each kind, whose median counts.
const RUNS: usize = 5;

pub fn measure() -> Vec<Figure> {
    let folder = tempfile::tempdir().unwrap();
    let stack = SecureStack::start(folder.path());
    let (mut plain, mut encrypted) = (Vec::new(), Vec::new());
    // One after the other, so that a slowing machine affects both.
    for _ in 0..RUNS {
        plain.push(seconds(&stack, false));
        encrypted.push(seconds(&stack, true));
    }
    let (plain, encrypted) = (median(plain), median(encrypted));
    let value = format!("{:.2} of plain ({plain:.2} s, with TLS {encrypted:.2} s)", plain / encrypted);
    vec![Figure::new("300 commands x 243 new rows, TLS on all servers", value, "0.8 of plain")]
}

fn seconds(stack: &SecureStack, is_encrypted: bool) -> f64 {
    let codes = codes(CODES);
    let source = TushareServer::start(Dataset::generated(&codes, &days(DAYS).0)).unwrap();
    let name = if is_encrypted { "bench_tls" } else { "bench_plain" };
    let mut scene = Scene::on_broker(name, PROGRAM, source, &stack.kafka.address());
    scene.set("batch.flush_interval_ms", 1000).set("fetch.first_retry_delay_ms", 500);
    scene.set("kafka.commit_interval_ms", 100);
    scene.set("sources.tushare.requests_per_minute", 0);
    Tables::create(&scene.name);
    if is_encrypted {
        stack.protect(&mut scene);
    }
    let worker = scene.start("bench");
    // Not by its heartbeat, which may be in a Redis that the scene cannot read.
    wait_until("the worker runs", TIMEOUT, || worker.log_text().contains("\"to\":\"running\""));
    let seconds = run(&mut scene, &codes, (CODES * DAYS) as u64);
    scene.assert_exact(&codes);
    seconds
}
