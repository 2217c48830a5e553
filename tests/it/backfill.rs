// Upstream: backfill_kinds, two_writers
// Downstream: kit, main_job, source_pairs
// Role: Tests `backfill` of bars: five years of daily and a year of minute bars are exact despite a kill midway.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::NaiveDate;
use kit::minute_rows::minute_rows;
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{Dataset, codes, trading_days};
use kit::tushare_server::{Fault, FaultDuration, InterfaceLimit, Options, TushareServer, Window};
use kit::wait::{wait_for_growth, wait_until};
use kit::worker::Worker;

use crate::main_job::PROGRAM;
use crate::source_pairs::stored;

/// Limit of the process's peak memory, in KiB.
const MAX_MEMORY: u64 = 128 * 1024;

/// Number of tasks from which on they share calls.
const MIN_SHARING: u64 = 20;

/// Maximum number of tasks in flight; a kill repeats at most this many.
const MAX_IN_PROGRESS: u64 = 64;

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

/// A `backfill` command on a scene's servers that a test can run several times.
pub(crate) struct Backfill<'a> {
    scene: &'a Scene,
    arguments: Vec<String>,
    runs: usize,
}

/// The result of a run.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
    /// Peak resident memory in KiB.
    pub(crate) peak_memory: u64,
}

impl<'a> Backfill<'a> {
    /// A backfill of these codes.
    pub(crate) fn of(scene: &'a Scene, codes: &[String], rest: &str) -> Self {
        Self::with(scene, &format!("--codes {} {rest}", codes.join(",")))
    }

    /// A backfill with these arguments.
    pub(crate) fn with(scene: &'a Scene, arguments: &str) -> Self {
        Self { scene, arguments: arguments.split_whitespace().map(str::to_owned).collect(), runs: 0 }
    }

    pub(crate) fn start(&mut self) -> Worker {
        let mut arguments = vec!["backfill"];
        arguments.extend(self.arguments.iter().map(String::as_str));
        self.runs += 1;
        let log = self.scene.folder().join(format!("backfill.{}.log", self.runs));
        spawn(self.scene, PROGRAM, &arguments, &log)
    }

    /// Runs the command until it exits.
    pub(crate) fn run(&mut self) -> Ended {
        end_of(self.start())
    }
}

/// Starts a program with the scene's settings; the backfill journal lies in the scene's folder.
pub(crate) fn spawn(scene: &Scene, program: &str, arguments: &[&str], log: &Path) -> Worker {
    let mut variables = scene.variables();
    variables.push(("GINKGO_DATA_WORKER_STATE".to_owned(), state(scene)));
    let environment: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    Worker::spawn(Path::new(program), arguments, log, &environment)
}

fn state(scene: &Scene) -> String {
    scene.folder().join("state").display().to_string()
}

/// Waits until a run exits and records its peak memory.
pub(crate) fn end_of(mut process: Worker) -> Ended {
    let mut peak_memory = 0;
    wait_until("the backfill exits", Duration::from_secs(400), || {
        peak_memory = peak_memory.max(process.peak_memory_kib());
        !process.is_running()
    });
    Ended { code: process.wait(TIMEOUT).code(), text: process.log_text(), peak_memory }
}

/// The text of the only journal; empty if there is none.
fn journal_text(scene: &Scene) -> String {
    let Ok(folder) = std::fs::read_dir(state(scene)) else { return String::new() };
    folder.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap_or_default()).collect()
}

fn num_journals(scene: &Scene) -> usize {
    let names = std::fs::read_dir(state(scene)).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("backfill-")).count()
}

#[test]
fn five_years_of_500_codes_are_exact_after_kill() {
    let codes = codes(500);
    let days = trading_days(day("2020-07-01"), day("2025-06-30"));
    let mut scene = Scene::new("fiveyears", PROGRAM, Dataset::generated(&codes, &days));
    scene.set("sources.tushare.requests_per_minute", 0);
    let mut backfill = Backfill::of(&scene, &codes, "--start 2020-07-01 --end 2025-06-30");
    let mut first = backfill.start();
    wait_for_growth("a third of the rows", 200_000, TIMEOUT, || scene.database.count());
    assert!(first.is_running());
    first.kill();
    assert_eq!(num_journals(&scene), 1);
    let requests = scene.source.requests();
    let second = backfill.run();
    assert_eq!(second.code, Some(0), "{}", second.text);
    scene.assert_exact(&codes);
    // One call for four codes; only parts that were in flight at the kill are fetched again. The last tasks of the run
    // do not wait for each other.
    let total = scene.source.requests();
    let (of_plan, of_kill) = (125, MAX_IN_PROGRESS / 4);
    assert!(
        requests > 40 && total <= of_plan + of_kill + MIN_SHARING,
        "{requests} requests before the kill, {total} in total"
    );
    let text = second.text;
    assert!(text.contains("parts done, 0 failed") && !text.contains(": 0 of"), "some are done before: {text}");
    assert!((1..MAX_MEMORY).contains(&second.peak_memory), "peak memory {} KiB", second.peak_memory);
    assert_eq!(num_journals(&scene), 0, "a completed backfill removes its journal");
}

#[test]
fn year_of_minutes_is_exact_after_kill_and_stop() {
    let codes = codes(20);
    let days = trading_days(day("2024-01-01"), day("2024-12-31"));
    let mut scene = Scene::new("yearofminutes", PROGRAM, Dataset::generated(&codes, &days));
    scene.set("sources.tushare.requests_per_minute", 0);
    let mut backfill = Backfill::of(&scene, &codes, "--start 2024-01-01 --end 2024-12-31 --frequency 1m");
    let mut first = backfill.start();
    wait_for_growth("a third of the rows", 400_000, TIMEOUT, || scene.database.count());
    assert!(first.is_running());
    first.kill();
    let killed_at = scene.database.count();

    let second = backfill.start();
    wait_for_growth("more rows", killed_at + 150_000, TIMEOUT, || scene.database.count());
    second.terminate();
    let second = end_of(second);
    assert_eq!(second.code, Some(3), "{}", second.text);
    assert!(second.text.contains("not finished; run the same command again to resume"), "{}", second.text);

    let third = backfill.run();
    assert_eq!(third.code, Some(0), "{}", third.text);
    assert!(third.text.contains("parts done, 0 failed") && !third.text.contains(": 0 of"), "{}", third.text);
    assert_minutes_exact(&scene, &codes);
    // 58,322 rows of a code in answers of 8,000: eight.
    let total = scene.source.requests();
    assert!(total <= 20 * 8 + 2 * MAX_IN_PROGRESS + 10, "{total} requests");
    for peak in [second.peak_memory, third.peak_memory] {
        assert!((1..MAX_MEMORY).contains(&peak), "peak memory {peak} KiB");
    }
}

#[test]
fn months_of_all_codes_are_fetched_by_day_despite_a_kill() {
    let codes = codes(5_500);
    let days = trading_days(day("2025-04-01"), day("2025-05-30"));
    let limits = vec![InterfaceLimit::new("daily", Window::Minute, 500)];
    let options = Options { limits, ..Options::default() };
    let server = TushareServer::start_with(Dataset::generated(&codes, &days), options).unwrap();
    server.set_fault(Fault::Slow(Duration::from_millis(50)), FaultDuration::UntilCleared);
    let scene = Scene::with_source("byday", PROGRAM, server);
    scene.list_codes(&codes);
    let arguments = "--all --start 2025-04-01 --end 2025-05-30";
    let estimate = Backfill::with(&scene, &format!("{arguments} --dry-run")).run();
    assert_eq!((estimate.code, scene.source.requests()), (Some(0), 0), "{}", estimate.text);
    for line in [
        "by code: 55 calls, less than 1 min under the limit of 500 a minute",
        "by day: 42 calls, less than 1 min",
        "chosen: 42 calls",
        "0 parts by code, 2 by day",
        "at most 220000 rows, about 8 MB on disk",
    ] {
        assert!(estimate.text.contains(line), "{line:?} in {}", estimate.text);
    }
    assert!(!Path::new(&state(&scene)).exists(), "a dry run writes nothing");

    let mut backfill = Backfill::with(&scene, arguments);
    let mut first = backfill.start();
    wait_for_growth("a third of the rows", 70_000, TIMEOUT, || scene.database.count());
    assert!(first.is_running());
    first.kill();
    let begun = Instant::now();
    let second = backfill.run();
    assert_eq!(second.code, Some(0), "{}", second.text);
    scene.assert_exact(&codes);
    // 40 days, two ranges of suspensions; at each start one day more, and both parts were in flight at the kill.
    let total = scene.source.requests();
    assert!(total <= 2 * 42 + 2, "{total} requests");
    assert_eq!(scene.source.rejected(), 0);
    assert!((1..MAX_MEMORY).contains(&second.peak_memory), "peak memory {} KiB", second.peak_memory);
    println!("{total} calls; second run {:?}, {} KiB: {}", begun.elapsed(), second.peak_memory, second.text);
}

#[test]
fn a_security_more_costs_its_own_calls_alone() {
    let codes = codes(5_000);
    let days = trading_days(day("2024-01-01"), day("2024-03-01"));
    let scene = Scene::new("onemore", PROGRAM, Dataset::generated(&codes, &days));
    scene.list_codes(&codes[..4_999]);
    let mut backfill = Backfill::with(&scene, "--all --start 2024-01-01 --end 2024-03-01");
    scene.source.set_fault(Fault::Slow(Duration::from_millis(100)), FaultDuration::UntilCleared);
    let noted = || journal_text(&scene).lines().filter(|line| line.starts_with("set-") && line.contains("..")).count();
    let mut first = backfill.start();
    wait_until("a part is noted", TIMEOUT, || noted() > 0);
    first.kill();
    scene.source.set_fault(Fault::Slow(Duration::ZERO), FaultDuration::UntilCleared);
    let (noted, before) = (noted() as u64, scene.source.requests());
    assert_eq!(noted, 1, "one of two parts is done");
    Tables::of(&scene.name).run("DELETE FROM stock_info");
    scene.list_codes(&codes);
    let second = backfill.run();
    assert_eq!(second.code, Some(0), "{}", second.text);
    scene.assert_exact(&codes);
    // A call per day that is left, one for the suspensions of each part, one that asks whether there are whole days, and
    // the whole range of the new security in one.
    let (left, calls) = (days.len() as u64 - 20 * noted, scene.source.requests() - before);
    assert!(calls <= left + left.div_ceil(20) + 2, "{calls} calls for {left} days of 4,999 codes and all of one");
}

/// Compares the sums of every day of every code, and every row of some codes. Counts physical rows, so duplicates show.
fn assert_minutes_exact(scene: &Scene, codes: &[String]) {
    let minutes = |code: &String| {
        let days = scene.source.rows(code).into_iter();
        days.map(|row| (row.date, minute_rows(&row, 1, true))).collect::<Vec<_>>()
    };
    let hundredths = |column: &str| format!("toInt64(sum({column}) * 100)");
    let sums = ["open", "high", "low", "close", "amount"].map(hundredths).join(", ");
    let sql = format!(
        "SELECT code, toDate(timestamp) AS day, count(), uniqExact(timestamp), sum(volume), {sums} FROM bar \
         WHERE frequency = 2 GROUP BY code, day ORDER BY code, day"
    );
    let mut expected: Vec<String> = Vec::new();
    for code in codes {
        for (day, rows) in minutes(code) {
            let [mut lots, mut open, mut high, mut low, mut close, mut amount] = [0; 6];
            for row in &rows {
                lots += row.shares / 100;
                (open, high, low, close) = (open + row.open, high + row.high(), low + row.low(), close + row.close);
                // Converts hundredths of a yuan to hundredths of a thousand yuan, rounded half up.
                amount += (row.amount() + 500) / 1_000;
            }
            let number = rows.len();
            expected
                .push(format!("{code}\t{day}\t{number}\t{number}\t{lots}\t{open}\t{high}\t{low}\t{close}\t{amount}"));
        }
    }
    expected.sort();
    let found: Vec<String> = scene.database.query(&sql).lines().map(str::to_owned).collect();
    assert_eq!((found.len(), expected.len()), (20 * 242, 20 * 242), "days");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "code, day, rows, distinct times and the sums of lots, prices and amount");
    }
    for code in codes.iter().step_by(9) {
        let expected = minutes(code).into_iter().flat_map(|(_, rows)| rows).map(|row| stored(code, &row, "tushare"));
        let found = scene.database.bars_of(code);
        assert_eq!(found.len(), 242 * 241, "{code}");
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(*found, expected);
        }
    }
}

#[test]
fn repeats_failed_parts_and_checks_arguments() {
    let codes = codes(6);
    let days = trading_days(day("2024-01-01"), day("2024-12-31"));
    let mut scene = Scene::new("again", PROGRAM, Dataset::generated(&codes, &days));
    // A part for each code.
    scene.set("fetch.max_attempts", 1).set("fetch.whole_days_from_tasks", 0);
    scene.source.set_fault(Fault::Status(500, None), FaultDuration::Next(2));
    let mut bars = Backfill::of(&scene, &codes, "--start 2024-01-01 --end 2024-12-31");
    let Ended { code, text, .. } = bars.run();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("4 of 6 parts done, 2 failed") && text.contains("failed: 1d "), "{text}");
    let Ended { code, text, .. } = bars.run();
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("968 of 1452 trading days of a code done before") && text.contains("2 parts in 2 calls"),
        "{text}"
    );
    // Without a terminal the command prints plain lines, the first one immediately.
    let line = "0 of 2 parts done, 0 failed, 0 rows stored; 0 of 2 calls, less than 1 min left under the limit\n";
    assert!(text.contains(line) && !text.contains('\u{1b}'), "{text:?}");
    scene.assert_exact(&codes);

    let file = scene.folder().join("a_file");
    std::fs::write(&file, "").unwrap();
    let state = format!("--start 2024-01-01 --state {}", file.display());
    for (wrong, expected, complaint) in [
        ("--start 2024-02-01 --end 2024-01-01", 2, "is after --end"),
        ("--start 2999-01-01 --end 2999-01-02", 2, "the last day with data"),
        ("--start 2024-01-01 --frequency 7m", 2, "one of 1d, 1m"),
        (&*state, 1, "a_file cannot be used"),
        ("--start soon", 2, "invalid value 'soon'"),
        ("--start 2024-01-01 --all", 2, "cannot be used with"),
    ] {
        let Ended { code, text, .. } = Backfill::of(&scene, &codes, wrong).run();
        assert_eq!(code, Some(expected), "{text}");
        assert!(text.contains(complaint), "{text}");
    }
}
