// Upstream: none
// Downstream: kit, main_job
// Role: Tests `gaps`: finds gaps in stored bars by calendar and listing, and fills them with commands.

use std::process::Command;

use chrono::NaiveDate;
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{Dataset, codes, trading_days};
use kit::wait::wait_for;
use serde_json::{Value, json};

use crate::main_job::PROGRAM;

const FULL_MONTH: &str = r#""start_date":"20240102","end_date":"20240131","full":true"#;

/// A scene with a month of days and a `bar` table as Ginkgo creates it, which keeps duplicate rows.
fn scene(name: &str, num_codes: usize) -> (Scene, Vec<String>) {
    let day = |d| NaiveDate::from_ymd_opt(2024, 1, d).unwrap();
    let mut codes = codes(num_codes);
    codes.sort_unstable();
    let scene = Scene::new(name, PROGRAM, Dataset::generated(&codes, &trading_days(day(2), day(31))));
    scene.database.create_bar("bar", "MergeTree ORDER BY (code, timestamp)");
    scene.list_codes(&codes);
    (scene, codes)
}

/// Runs `data-worker gaps`: exit code, standard output, standard error.
fn gaps(scene: &Scene, arguments: &[&str]) -> (Option<i32>, String, String) {
    let config = scene.write_config("reader");
    let mut program = Command::new(PROGRAM);
    program.args(["gaps", "--config"]).arg(config).args(["--end", "2024-01-31"]).args(arguments);
    let output = program.env("GINKGO_DIR", scene.folder()).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn found(scene: &Scene) -> Vec<Value> {
    let (_, text, _) = gaps(scene, &["--start", "2024-01-01", "--json"]);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn gaps_are_found_filled_and_gone() {
    let (mut scene, codes) = scene("gaps", 3);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, FULL_MONTH);
    scene.wait_until_committed();
    assert_eq!(gaps(&scene, &["--start", "2024-01-01"]).0, Some(0), "no gaps");

    let [first, second, third] = [&codes[0], &codes[1], &codes[2]];
    let sql = |text: String| drop(scene.database.query(&text));
    sql(format!(
        "DELETE FROM bar WHERE code = '{first}' AND toDate(timestamp) IN ('2024-01-05', '2024-01-08', '2024-01-10')"
    ));
    let copy = |code: &str, day: &str, uuid: &str, to: &str| {
        format!(
            "INSERT INTO bar SELECT code, open, high, low, close, volume, amount, frequency, '{uuid}', meta, `desc`, \
             toDateTime('{to}'), source FROM bar WHERE code = '{code}' AND toDate(timestamp) = '{day}'"
        )
    };
    sql(copy(second, "2024-01-09", "a", "2024-01-09 00:00:00"));
    sql(copy(second, "2024-01-12", "b", "2024-01-13 00:00:00"));
    Tables::of(&scene.name).run(&format!("UPDATE stock_info SET list_date = '2024-01-04' WHERE code = '{third}'"));
    let none: [&str; 0] = [];
    let expected = [
        json!({"code": first, "missing": ["2024-01-05", "2024-01-08", "2024-01-10"], "partial": none, "doubled": none,
            "non_trading": none, "outside_listing": none}),
        json!({"code": second, "missing": none, "partial": none, "doubled": ["2024-01-09"],
            "non_trading": ["2024-01-13"], "outside_listing": none}),
        json!({"code": third, "missing": none, "partial": none, "doubled": none, "non_trading": none,
            "outside_listing": ["2024-01-02", "2024-01-03"]}),
    ];
    assert_eq!(found(&scene), expected);
    let (code, text, _) = gaps(&scene, &["--start", "2024-01-01"]);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("2024-01-05..2024-01-08, 2024-01-10"), "{text}");
    assert!(text.contains("3 securities, 3 with gaps: 3 days missing, 1 day doubled"), "{text}");

    // The rows before the list date match the source, so a repair cannot remove them. The rest is repaired.
    let some = [first.as_str(), second.as_str()].join(",");
    let (code, text, said) = gaps(&scene, &["--start", "2024-01-01", "--codes", &some, "--fill", "--wait"]);
    assert_eq!(code, Some(0), "{text} {said}");
    let id = said.rsplit(' ').next().unwrap().trim();
    assert_eq!(gaps(&scene, &["--start", "2024-01-01", "--codes", &some]).0, Some(0));
    scene.assert_exact(&codes);
    let job = wait_for("the report of the job", TIMEOUT, || {
        scene.notifications().into_iter().find(|message| message["data"]["job"]["id"] == id)
    });
    assert_eq!(job["data"]["job"]["sender"], "data-worker gaps");
    let figures = (&job["data"]["records_written"], &job["data"]["records_replaced"]);
    assert_eq!(figures, (&json!(3), &json!(2)), "three rows were missing, two were surplus");
}

#[test]
fn fill_looks_again_and_names_what_is_still_missing() {
    let (mut scene, codes) = scene("gapsagain", 2);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, FULL_MONTH);
    scene.wait_until_committed();
    // The source has no row of this day, so no repair can store it.
    let day: NaiveDate = "2024-01-16".parse().unwrap();
    let rows = scene.source.rows(&codes[0]).into_iter().filter(|row| row.date != day).collect();
    scene.source.set_rows(&codes[0], rows);
    scene.database.query(&format!("DELETE FROM bar WHERE code = '{}' AND toDate(timestamp) > '2024-01-15'", codes[0]));
    let (code, text, said) = gaps(&scene, &["--start", "2024-01-01", "--fill", "--wait"]);
    assert_eq!(code, Some(3), "{text} {said}");
    assert!(text.contains("2024-01-16..2024-01-31"), "the first look: {text}");
    assert!(text.contains("done: 11 fetched, 11 written, 0 unchanged, 0 skipped"), "{text} {said}");
    let again = text.rsplit("after the repair").next().unwrap();
    assert!(again.contains("1 day missing") && again.contains("2024-01-16\n"), "{text}");
}

#[test]
fn minutes_that_are_missing_are_found_filled_and_gone() {
    let (mut scene, codes) = scene("gapsminutes", 2);
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, FULL_MONTH);
    scene.send_snapshots(&codes, &format!(r#"{FULL_MONTH},"frequency":"5m""#));
    scene.wait_until_committed();
    let all = scene.database.bars();
    assert_eq!(all.len(), 2 * 22 * (1 + 48));
    let minutes = |more: &[&str]| gaps(&scene, &[&["--start", "2024-01-01", "--frequency", "5m"], more].concat());
    assert_eq!(minutes(&[]).0, Some(0), "no gaps");

    let [first, second] = [&codes[0], &codes[1]];
    let of = |code: &str, what: &str| format!("code = '{code}' AND frequency = 3 AND {what}");
    let days = of(first, "toDate(timestamp) IN ('2024-01-05', '2024-01-08')");
    let afternoon = of(first, "timestamp > '2024-01-10 13:00:00' AND timestamp < '2024-01-11 00:00:00'");
    let (minute, other) =
        (of(second, "timestamp = '2024-01-09 09:35:00'"), of(second, "timestamp = '2024-01-11 15:00:00'"));
    scene.database.query(&format!(
        "INSERT INTO bar SELECT code, open, high, low, close, volume, amount, frequency, 'a', meta, `desc`, timestamp, \
         source FROM bar WHERE {minute}"
    ));
    for missing in [&days, &afternoon, &other] {
        scene.database.query(&format!("DELETE FROM bar WHERE {missing}"));
    }
    // A missing daily bar does not count as a gap in minutes.
    scene.database.query(&format!(
        "DELETE FROM bar WHERE code = '{first}' AND frequency = 1 AND toDate(timestamp) = '2024-01-15'"
    ));
    let none: [&str; 0] = [];
    let expected = [
        json!({"code": first, "missing": ["2024-01-05", "2024-01-08"], "partial": ["2024-01-10"], "doubled": none,
            "non_trading": none, "outside_listing": none}),
        json!({"code": second, "missing": none, "partial": ["2024-01-11"], "doubled": ["2024-01-09"], "non_trading": none,
            "outside_listing": none}),
    ];
    let (code, text, _) = minutes(&["--json"]);
    let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, found.as_slice()), (Some(3), expected.as_slice()));

    let (code, text, said) = minutes(&["--fill", "--wait"]);
    assert_eq!(code, Some(0), "{text} {said}");
    assert_eq!(minutes(&[]).0, Some(0));
    let day = gaps(&scene, &["--start", "2024-01-01"]);
    assert_eq!((day.0, day.1.contains("1 with gaps: 1 day missing")), (Some(3), true), "{}", day.1);
    assert_eq!(gaps(&scene, &["--start", "2024-01-01", "--fill", "--wait"]).0, Some(0));
    let stored = scene.database.bars();
    assert_eq!(stored.len(), all.len());
    assert!(stored == all, "{:?}", stored.iter().zip(&all).find(|(a, b)| a != b));
}

#[test]
fn gap_search_leaves_out_suspended_days() {
    let (mut scene, codes) = scene("gapsuspended", 3);
    let days = trading_days("2024-01-02".parse().unwrap(), "2024-01-31".parse().unwrap());
    let [short, long, missing] = [&codes[0], &codes[1], &codes[2]];
    // The last code is suspended for half an hour only, so the vendor has its bar.
    let of = [(short, 4..6, ""), (long, 5..15, ""), (missing, 7..8, "09:30-10:00")];
    for (code, range, timing) in of.clone() {
        days[range].iter().for_each(|day| scene.source.suspend(code, *day, timing));
    }
    let _worker = scene.start("n1");
    scene.send_snapshots(&codes, FULL_MONTH);
    scene.wait_until_committed();
    for (code, range, _) in of {
        let [first, last] = [&days[range.start], &days[range.end - 1]];
        scene.database.query(&format!(
            "DELETE FROM bar WHERE code = '{code}' AND toDate(timestamp) BETWEEN '{first}' AND '{last}'"
        ));
    }
    let all = ["--start", "2024-01-01"];
    let (code, text, _) = gaps(&scene, &all);
    assert_eq!((code, text.contains("3 securities, 3 with gaps: 13 days missing")), (Some(3), true), "{text}");
    let except = ["--start", "2024-01-01", "--except-suspended"];
    let (code, text, said) = gaps(&scene, &except);
    assert_eq!((code, text.contains("3 securities, 1 with gaps: 1 day missing")), (Some(3), true), "{text} {said}");
    assert!(text.contains(&format!("{missing}  missing")), "{text}");
    scene.set("sources.bars", "[eastmoney]");
    let (code, _, said) = gaps(&scene, &except);
    assert_eq!((code, said.contains("no source in sources.bars reports suspensions")), (Some(1), true), "{said}");
}

#[test]
fn failed_gap_search_has_its_own_exit_codes() {
    let (scene, codes) = scene("gapless", 1);
    let (code, _, said) = gaps(&scene, &["--codes", "coffee"]);
    assert_eq!((code, said.contains("is not a stock code")), (Some(2), true), "{said}");
    Tables::of(&scene.name).run("DELETE FROM stock_info");
    let (code, _, said) = gaps(&scene, &[]);
    assert_eq!((code, said.contains("stock_info")), (Some(1), true), "{said}");
    assert_eq!(gaps(&scene, &["--codes", &codes[0]]).0, Some(0), "an unknown first day has no gaps");
    assert_eq!(gaps(&scene, &["--codes", &codes[0], "--start", "2024-01-15"]).0, Some(3), "a named start counts");
    scene.database.query("DROP TABLE bar");
    let (code, _, said) = gaps(&scene, &["--codes", &codes[0]]);
    assert_eq!((code, said.contains("the table does not exist")), (Some(1), true), "{said}");
}
