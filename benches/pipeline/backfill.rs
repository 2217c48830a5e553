// Upstream: main
// Downstream: commands, figure, kit
// Role: Measures a backfill of five years of all securities against a vendor that limits its calls.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use kit::scene::Scene;
use kit::tushare_data::{Dataset, codes, trading_days};
use kit::tushare_server::{Fault, FaultDuration, InterfaceLimit, Options, TushareServer, Window};
use kit::worker::Worker;

use crate::commands::PROGRAM;
use crate::figure::Figure;

const START: &str = "2020-07-01";
const END: &str = "2025-06-30";

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// 500 calls a minute, 50 ms an answer.
fn vendor(codes: &[String]) -> TushareServer {
    let limits = vec![InterfaceLimit::new("daily", Window::Minute, 500)];
    let dataset = Dataset::generated(codes, &trading_days(day(START), day(END)));
    let server = TushareServer::start_with(dataset, Options { limits, ..Options::default() }).unwrap();
    server.set_fault(Fault::Slow(Duration::from_millis(50)), FaultDuration::UntilCleared);
    server
}

/// Starts the backfill.
fn start(scene: &Scene, more: &str) -> Worker {
    let arguments = format!("backfill --all --start {START} --end {END} {more}");
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let state = scene.folder().join("state").display().to_string();
    let variables: Vec<(String, String)> = scene.variables();
    let mut environment: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    environment.push(("GINKGO_DATA_WORKER_STATE", &state));
    Worker::spawn(Path::new(PROGRAM), &arguments, &scene.folder().join("backfill.log"), &environment)
}

/// What a run took.
struct Run {
    text: String,
    seconds: f64,
    calls: u64,
    refused: u64,
    peak_memory_mb: u64,
}

/// Waits for the end of a run.
fn end(scene: &Scene, mut process: Worker, begun: Instant, calls_before: u64) -> Run {
    let mut peak_memory = 0;
    while process.is_running() {
        peak_memory = peak_memory.max(process.peak_memory_kib());
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let text = process.log_text();
    assert!(process.wait(Duration::from_secs(10)).success(), "{text}");
    let calls = scene.source.requests() - calls_before;
    let (seconds, refused) = (begun.elapsed().as_secs_f64(), scene.source.rejected());
    Run { text, seconds, calls, refused, peak_memory_mb: peak_memory / 1024 }
}

fn run(scene: &Scene, more: &str) -> Run {
    let (begun, before) = (Instant::now(), scene.source.requests());
    end(scene, start(scene, more), begun, before)
}

fn a_scene(name: &str, codes: &[String]) -> Scene {
    let scene = Scene::with_source(name, PROGRAM, vendor(codes));
    scene.list_codes(codes);
    scene
}

impl Run {
    fn figure(&self, name: &str, rows: u64) -> Figure {
        let under_limit = self.calls.saturating_sub(500) as f64 / 500.0 * 60.0;
        let Self { seconds, calls, refused, peak_memory_mb, .. } = self;
        let value = format!(
            "{calls} calls, {refused} refused, {seconds:.0} s ({under_limit:.0} s by the limit from the first minute \
             on), {rows} rows, {peak_memory_mb} MB"
        );
        Figure::new(name, value, "1,300 calls, 128 MB")
    }
}

pub fn measure() -> Vec<Figure> {
    let codes = codes(5_500);
    let scene = a_scene("backfillbench", &codes);
    let plan = run(&scene, "--dry-run").text;
    let by_code = plan.lines().find_map(|line| line.trim().strip_prefix("by code: ")).unwrap_or_default().to_owned();
    let whole = run(&scene, "").figure("the same as it is carried out", scene.database.count());
    let again = run(&scene, "--force").figure("the same with --force, over the stored rows", scene.database.count());
    drop(scene);
    vec![
        Figure::new("backfill of 5 years of 5,500 codes, by code (planned)", by_code, ""),
        whole,
        again,
        after_a_kill(&codes),
    ]
}

/// Kills the backfill in the middle, resumes it, and compares every row.
fn after_a_kill(codes: &[String]) -> Figure {
    let scene = a_scene("backfillkill", codes);
    let begun = Instant::now();
    let mut first = start(&scene, "");
    let half = codes.len() as u64 * trading_days(day(START), day(END)).len() as u64 / 2;
    while scene.database.count() < half {
        assert!(first.is_running(), "{}", first.log_text());
        std::thread::park_timeout(Duration::from_millis(200));
    }
    first.kill();
    let resumed = end(&scene, start(&scene, ""), begun, 0);
    scene.assert_exact(codes);
    resumed.figure("the same with a kill -9 in the middle, every row compared", scene.database.count())
}
