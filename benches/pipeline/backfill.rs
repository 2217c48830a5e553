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

/// 500 calls a minute, 50 ms an answer.
fn vendor(codes: &[String]) -> TushareServer {
    let day = |text: &str| -> NaiveDate { text.parse().unwrap() };
    let limits = vec![InterfaceLimit::new("daily", Window::Minute, 500)];
    let dataset = Dataset::generated(codes, &trading_days(day(START), day(END)));
    let server = TushareServer::start_with(dataset, Options { limits, ..Options::default() }).unwrap();
    server.set_fault(Fault::Slow(Duration::from_millis(50)), FaultDuration::UntilCleared);
    server
}

/// Runs the backfill; returns its output.
fn run(scene: &Scene, more: &str) -> (String, u64) {
    let arguments = format!("backfill --all --start {START} --end {END} {more}");
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let state = scene.folder().join("state").display().to_string();
    let variables: Vec<(String, String)> = scene.variables();
    let mut environment: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    environment.push(("GINKGO_DATA_WORKER_STATE", &state));
    let mut process = Worker::spawn(Path::new(PROGRAM), &arguments, &scene.folder().join("backfill.log"), &environment);
    let mut peak_memory = 0;
    while process.is_running() {
        peak_memory = peak_memory.max(process.peak_memory_kib());
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let text = process.log_text();
    assert!(process.wait(Duration::from_secs(10)).success(), "{text}");
    (text, peak_memory)
}

pub fn measure() -> Vec<Figure> {
    let codes = codes(5_500);
    let scene = Scene::with_source("backfillbench", PROGRAM, vendor(&codes));
    scene.list_codes(&codes);
    let (plan, _) = run(&scene, "--dry-run");
    let by_code = plan.lines().find_map(|line| line.trim().strip_prefix("by code: ")).unwrap_or_default().to_owned();
    let begun = Instant::now();
    let (_, peak_memory) = run(&scene, "");
    let seconds = begun.elapsed().as_secs_f64();
    let (calls, rejected) = (scene.source.requests(), scene.source.rejected());
    let stored: u64 = scene.database.query("SELECT count() FROM bar").trim().parse().unwrap();
    let under_limit = scene.source.requests_to("daily").saturating_sub(500) as f64 / 500.0 * 60.0;
    let value = format!(
        "{calls} calls, {rejected} refused, {seconds:.0} s ({under_limit:.0} s by the limit from the first minute on), \
         {stored} rows, {} MB",
        peak_memory / 1024
    );
    vec![
        Figure::new("backfill of 5 years of 5,500 codes, by code (planned)", by_code, ""),
        Figure::new("the same as it is carried out", value, "1,300 calls, 128 MB"),
    ]
}
