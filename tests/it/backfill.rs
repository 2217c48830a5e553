// Upstream: none
// Downstream: kit::fault, kit::scene, kit::tushare_data, kit::tushare_server, kit::wait, kit::worker, tests::it::main_job
// Role: `data-worker backfill`: five years of days and a year of minutes, killed in the middle, exact in the end.

use std::path::Path;
use std::time::Duration;

use chrono::NaiveDate;
use kit::scene::{PATIENCE, Scene};
use kit::tushare_data::{Dataset, codes, trading_days};
use kit::tushare_server::{Fault, Lasting};
use kit::wait::wait_until;
use kit::worker::Worker;

use crate::main_job::PROGRAM;

/// What the process may hold in memory, in KiB.
const MAX_MEMORY: u64 = 128 * 1024;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

struct Backfill<'a> {
    scene: &'a Scene,
    arguments: Vec<String>,
    runs: usize,
}

impl Backfill<'_> {
    fn start(&mut self) -> Worker {
        self.runs += 1;
        let variables = self.scene.variables();
        let environment: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
        let state = self.scene.folder().display().to_string();
        let mut arguments = vec!["backfill", "--state", &state];
        arguments.extend(self.arguments.iter().map(String::as_str));
        let log = self.scene.folder().join(format!("backfill.{}.log", self.runs));
        Worker::spawn(Path::new(PROGRAM), &arguments, &log, &environment)
    }

    /// Runs to the end; exit code and output.
    fn run(&mut self) -> (Option<i32>, String) {
        let mut process = self.start();
        let code = process.wait(Duration::from_secs(300)).code();
        (code, process.log_text())
    }
}

fn backfill<'a>(scene: &'a Scene, codes: &[String], rest: &str) -> Backfill<'a> {
    let mut arguments = vec!["--codes".to_owned(), codes.join(",")];
    arguments.extend(rest.split_whitespace().map(str::to_owned));
    Backfill { scene, arguments, runs: 0 }
}

fn num_journals(scene: &Scene) -> usize {
    let names = std::fs::read_dir(scene.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("backfill-")).count()
}

#[test]
fn five_years_of_five_hundred_codes_are_exact_also_after_a_kill_in_the_middle() {
    let codes = codes(500);
    let days = trading_days(day("2020-07-01"), day("2025-06-30"));
    let mut scene = Scene::new("fiveyears", PROGRAM, Dataset::generated(&codes, &days));
    scene.set("sources.tushare.requests_per_minute", 0);
    let mut backfill = backfill(&scene, &codes, "--start 2020-07-01 --end 2025-06-30");
    let mut first = backfill.start();
    wait_until("a third of the rows", PATIENCE, || scene.database.count() > 200_000);
    assert!(first.is_running());
    first.kill();
    let requests = scene.source.requests();
    let mut second = backfill.start();
    let code = second.wait(Duration::from_secs(300)).code();
    assert_eq!(code, Some(0), "{}", second.log_text());
    scene.assert_exact(&codes);
    // 3,000 parts of a year; only those that were under way are fetched once more.
    let total = scene.source.requests();
    assert!(requests > 500 && total <= 3_000 + 64 + 10, "{requests} requests before the kill, {total} in all");
    let text = second.log_text();
    assert!(text.contains("3000 of 3000 parts done, 0 failed") && text.contains("them done before"), "{text}");
    assert!(second.peak_memory_kib() == 0 || second.peak_memory_kib() < MAX_MEMORY);
    assert_eq!(num_journals(&scene), 0, "the journal goes with the end");
}

#[test]
fn a_year_of_minutes_of_twenty_codes_is_exact_and_stays_within_its_memory() {
    let codes = codes(20);
    let days = trading_days(day("2024-01-01"), day("2024-12-31"));
    let mut scene = Scene::new("yearofminutes", PROGRAM, Dataset::generated(&codes, &days));
    scene.set("sources.tushare.requests_per_minute", 0);
    let mut backfill = backfill(&scene, &codes, "--start 2024-01-01 --end 2024-12-31 --frequency 1m");
    let mut process = backfill.start();
    let mut peak = 0;
    wait_until("the end of the backfill", Duration::from_secs(400), || {
        peak = peak.max(process.peak_memory_kib());
        !process.is_running()
    });
    assert_eq!(process.wait(PATIENCE).code(), Some(0), "{}", process.log_text());
    let expected = codes.len() * days.len() * 241;
    let found = scene.database.query("SELECT count(), uniqExact(code, timestamp) FROM bar WHERE frequency = 2");
    assert_eq!(found.trim(), format!("{expected}\t{expected}"));
    assert!((1..MAX_MEMORY).contains(&peak), "{peak} KiB at most");
}

#[test]
fn a_failure_is_named_and_tried_again_by_the_same_command_and_factors_and_dates_are_checked() {
    let codes = codes(6);
    let days = trading_days(day("2024-01-01"), day("2024-12-31"));
    let mut scene = Scene::new("again", PROGRAM, Dataset::generated(&codes, &days));
    scene.set("fetch.max_attempts", 1);
    scene.source.set_fault(Fault::Status(500, None), Lasting::Next(2));
    let mut bars = backfill(&scene, &codes, "--start 2024-01-01 --end 2024-12-31");
    let (code, text) = bars.run();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("4 of 6 parts done, 2 failed") && text.contains("failed: 1d "), "{text}");
    let (code, text) = bars.run();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("6 parts, 4 of them done before"), "{text}");
    scene.assert_exact(&codes);

    let (code, text) = backfill(&scene, &codes, "--start 2024-01-01 --kind adjustfactor").run();
    assert_eq!(code, Some(0), "{text}");
    let factors = scene.database.query("SELECT count() FROM adjustfactor");
    assert_eq!(factors.trim(), (codes.len() * days.len()).to_string());

    for (wrong, complaint) in [
        ("--start 2024-02-01 --end 2024-01-01", "is after --end"),
        ("--start 2024-01-01 --frequency 7m", "one of 1d, 1m"),
    ] {
        let (code, text) = backfill(&scene, &codes, wrong).run();
        assert_eq!(code, Some(1));
        assert!(text.contains(complaint), "{text}");
    }
}
