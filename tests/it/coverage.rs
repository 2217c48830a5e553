// Upstream: none
// Downstream: kit, main_job
// Role: Tests `coverage`: shares of stored days by board, code and month, of all kinds of data, and the web page.

use std::process::Command;
use std::time::Duration;

use kit::kafka::Record;
use kit::mysql::Tables;
use kit::scene::{Scene, TIMEOUT};
use kit::tushare_data::{Dataset, codes, trading_days};
use kit::wait::wait_until;
use serde_json::{Value, json};

use crate::main_job::PROGRAM;

const CODES: [&str; 4] = ["000001.SZ", "300750.SZ", "600000.SH", "688981.SH"];

/// A scene with a stock list of four boards and an empty table of bars.
fn scene(name: &str) -> Scene {
    let scene = Scene::new(name, PROGRAM, Dataset::empty());
    scene.database.create_bar("bar", "MergeTree ORDER BY (code, timestamp)");
    scene.list_codes(&CODES.map(str::to_owned));
    scene
}

/// SQL for the weekdays from `start` on, of these codes, as columns `code` and `day`.
fn weekdays(codes: &[&str], start: &str, num_days: u32) -> String {
    let codes: Vec<String> = codes.iter().map(|code| format!("'{code}'")).collect();
    format!(
        "(SELECT code, addDays(toDate('{start}'), n) AS day FROM (SELECT arrayJoin([{}]) AS code, \
         arrayJoin(range({num_days})) AS n) WHERE toDayOfWeek(day) < 6)",
        codes.join(",")
    )
}

/// Stores a bar on each weekday. Holidays have one, too: they are not expected and change nothing.
fn store_days(scene: &Scene, codes: &[&str], start: &str, num_days: u32, condition: &str) {
    scene.database.query(&format!(
        "INSERT INTO bar SELECT code, 1, 1, 1, 1, 1, 1, 1, toString(generateUUIDv4()), '', '', toDateTime(day), 7 FROM {} \
         WHERE {condition}",
        weekdays(codes, start, num_days)
    ));
}

/// Runs `data-worker coverage`: exit code, standard output, standard error.
fn coverage(scene: &Scene, arguments: &[&str]) -> (Option<i32>, String, String) {
    let config = scene.write_config("reader");
    let mut program = Command::new(PROGRAM);
    program.args(["coverage", "--config"]).arg(config).args(arguments);
    let output = program.env("GINKGO_DIR", scene.folder()).output().expect("the program runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const TWO_MONTHS: [&str; 4] = ["--start", "2024-01-01", "--end", "20240229"];

/// The name of a row, and numbers of expected, stored and unknown days of each month.
type Row = (String, Vec<[u64; 3]>);

/// The rows of the picture of two months, as name and numbers of expected, stored and unknown days.
fn rows(scene: &Scene, arguments: &[&str]) -> (Option<i32>, Vec<Row>) {
    let (code, text, said) = coverage(scene, &[&TWO_MONTHS[..], &["--json"], arguments].concat());
    let numbers = |month: &Value| ["expected", "stored", "unknown"].map(|name| month[name].as_u64().expect("a number"));
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{text} {said}"));
        let months = row["months"].as_array().expect("months").iter().map(numbers).collect();
        (row["row"].as_str().expect("a name").to_owned(), months)
    };
    (code, text.lines().map(row).collect())
}

fn row(name: &str, months: &[[u64; 3]]) -> Row {
    (name.to_owned(), months.to_vec())
}

#[test]
fn shares_of_bars_come_from_one_query() {
    let scene = scene("coverbars");
    store_days(&scene, &CODES, "2024-01-01", 60, "1");
    let selects = || scene.database.statements()["select"];
    let before = selects();
    let (code, text, said) = coverage(&scene, &TWO_MONTHS);
    assert_eq!((code, said.as_str()), (Some(0), ""), "{text}");
    assert_eq!(selects() - before, 1, "one query for all boards");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("\nSTAR      ██             100%\n"), "{text}");

    scene
        .database
        .query("DELETE FROM bar WHERE code = '688981.SH' AND toDate(timestamp) IN ('2024-01-08', '2024-01-09')");
    scene.database.query("DELETE FROM bar WHERE code = '600000.SH' AND timestamp >= '2024-02-01'");
    Tables::of(&scene.name).run("UPDATE stock_info SET list_date = '2024-01-31' WHERE code = '300750.SZ'");
    let whole = [[22, 22, 0], [15, 15, 0]];
    let expected = [
        row("SH main", &[[22, 22, 0], [15, 0, 0]]),
        row("STAR", &[[22, 20, 0], [15, 15, 0]]),
        row("SZ main", &whole),
        row("ChiNext", &[[1, 1, 0], [15, 15, 0]]),
    ];
    assert_eq!(rows(&scene, &[]), (Some(3), expected.to_vec()));
    let by_code = rows(&scene, &["--codes", "000001.SZ,688981.SH"]).1;
    assert_eq!(by_code, [row("000001.SZ", &whole), row("688981.SH", &[[22, 20, 0], [15, 15, 0]])]);
    let (code, text, _) = coverage(&scene, &TWO_MONTHS);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("\nSH main   █!"), "{text}");
    assert!(text.contains("17 days of 127 missing or incomplete, of 2 securities"), "{text}");
}

#[test]
fn days_that_are_unknown_are_not_complete() {
    let scene = scene("coverunknown");
    store_days(&scene, &CODES, "2024-01-01", 60, "code != '300750.SZ' OR day >= '2024-02-01'");
    Tables::of(&scene.name).run("UPDATE stock_info SET list_date = '1970-01-01' WHERE code = '300750.SZ'");
    let (code, found) = rows(&scene, &["--codes", "300750.SZ,600001.SH"]);
    let expected = [row("300750.SZ", &[[0, 0, 22], [15, 15, 0]]), row("600001.SH", &[[0, 0, 22], [0, 0, 15]])];
    assert_eq!((code, found), (Some(1), expected.to_vec()));
    let (_, text, said) = coverage(&scene, &[&TWO_MONTHS[..], &["--codes", "300750.SZ,600001.SH"]].concat());
    assert!(text.contains("\n300750.SZ ?█") && text.contains("\n600001.SH ??"), "{text}");
    assert!(!text.contains("100%") && said.starts_with("2 securities of which the stock list"), "{text} {said}");

    Tables::of(&scene.name).run("DELETE FROM stock_info");
    let (code, text, said) = coverage(&scene, &TWO_MONTHS);
    assert_eq!((code, text.as_str(), said.contains("stock_info")), (Some(1), "", true), "{said}");
    scene.database.query("DROP TABLE bar");
    let (code, _, said) = coverage(&scene, &["--codes", "000001.SZ"]);
    assert_eq!((code, said.contains("the table does not exist")), (Some(1), true), "{said}");
    let (code, _, said) = coverage(&scene, &["--kind", "ticks", "--frequency", "5m"]);
    assert_eq!((code, said.as_str()), (Some(2), "--frequency is for bars only\n"));
}

#[test]
fn minutes_factors_and_ticks_have_shares() {
    let scene = scene("coverkinds");
    let sql = |text: String| drop(scene.database.query(&text));
    // 48 bars of five minutes, of which one is stored twice; on 2024-01-15 one is missing.
    sql(format!(
        "INSERT INTO bar SELECT code, 1, 1, 1, 1, 1, 1, 3, toString(generateUUIDv4()), '', '', \
         toDateTime(day) + 34200 + 300 * minute, 7 FROM (SELECT code, day, arrayJoin(arrayPushBack(range(48), 0)) AS minute \
         FROM {}) WHERE NOT (day = '2024-01-15' AND minute = 47)",
        weekdays(&["000001.SZ", "300750.SZ"], "2024-01-01", 31)
    ));
    let codes = ["--codes", "000001.SZ,300750.SZ"];
    let minutes = [&codes[..], &["--frequency", "5m"]].concat();
    let expected = |january: [u64; 3], february| ["000001.SZ", "300750.SZ"].map(|code| row(code, &[january, february]));
    assert_eq!(rows(&scene, &minutes).1, expected([22, 21, 0], [15, 0, 0]));
    let (_, text, _) = coverage(&scene, &[&TWO_MONTHS[..], &minutes].concat());
    assert!(text.contains("5m bars, 2024-01-01 to 2024-02-29: 56.7% in 2 securities"), "{text}");

    let ticks = [&codes[..], &["--kind", "ticks"]].concat();
    assert_eq!(rows(&scene, &ticks).1, expected([22, 0, 0], [15, 0, 0]), "there is no table of ticks");
    for code in ["000001_SZ", "300750_SZ"] {
        sql(format!(
            "CREATE TABLE {code}_Tick (code String, price Decimal(16,2), volume Int32, direction Int8, uuid String, \
             meta String, `desc` String, timestamp DateTime, source Int8) ENGINE = MergeTree ORDER BY timestamp"
        ));
        sql(format!(
            "INSERT INTO {code}_Tick SELECT code, 1, 1, 1, '', '', '', toDateTime(day) + 34200, 7 FROM {}",
            weekdays(&[&code.replace('_', ".")], "2024-01-01", 31)
        ));
    }
    assert_eq!(rows(&scene, &ticks).1, expected([22, 22, 0], [15, 0, 0]));

    scene.database.create_factors();
    sql(format!(
        "INSERT INTO adjustfactor SELECT code, 1, 1, 1, '', '', '', toDateTime(day), 7 FROM {}",
        weekdays(&["000001.SZ", "300750.SZ"], "2024-02-01", 29)
    ));
    assert_eq!(rows(&scene, &[&codes[..], &["--kind", "factors"]].concat()).1, expected([22, 0, 0], [15, 15, 0]));
}

#[test]
fn suspended_days_are_not_expected() {
    let scene = scene("coversuspended");
    store_days(&scene, &CODES, "2024-01-01", 60, "code != '600000.SH' OR day NOT IN ('2024-01-08', '2024-01-09')");
    scene.source.suspend("600000.SH", "2024-01-08".parse().unwrap(), "");
    let of = ["--codes", "600000.SH"];
    assert_eq!(rows(&scene, &of).1, [row("600000.SH", &[[22, 20, 0], [15, 15, 0]])]);
    let except = [&of[..], &["--except-suspended"]].concat();
    assert_eq!(rows(&scene, &except).1, [row("600000.SH", &[[21, 20, 0], [15, 15, 0]])]);
}

/// The data of a page as its script reads it.
fn data_of(page: &str) -> Value {
    let data = page.split_once(r#"id="data">"#).expect("data").1;
    serde_json::from_str(data.split_once("</script>").expect("an end").0).expect("JSON")
}

/// Ten years of 48 securities, with a report of a worker and dead letters. `make test-page` opens the page in a browser.
#[test]
fn page_has_missing_days_letters_and_reports() {
    let (days, of_worker) = (trading_days("2024-01-02".parse().unwrap(), "2024-01-31".parse().unwrap()), codes(2));
    let mut scene = Scene::new("coverpage", PROGRAM, Dataset::generated(&of_worker, &days));
    let boards = [("600", "SH"), ("688", "SH"), ("000", "SZ"), ("300", "SZ"), ("920", "BJ")];
    let listed: Vec<String> =
        boards.iter().flat_map(|(begin, end)| (100..110).map(move |n| format!("{begin}{n}.{end}"))).collect();
    let all: Vec<&str> = listed.iter().map(String::as_str).collect();
    scene.list_codes(&listed);
    let mut worker = scene.start("n1");
    scene.send_snapshots(&of_worker, r#""start_date":"20240102","end_date":"20240131","full":true"#);
    scene.wait_until_committed();
    worker.terminate();
    assert!(worker.wait(TIMEOUT).success(), "{}", worker.log_text());
    let reports = || scene.database.query("SELECT count() FROM data_quality_report WHERE kind = 'interval'");
    wait_until("a report", Duration::from_secs(10), || reports().trim() != "0");
    // Beijing begins late, one year lacks a quarter, single days are missing at random, and one code ends early.
    store_days(
        &scene,
        &all,
        "2016-01-01",
        3_653,
        "NOT (code LIKE '920%' AND day < '2021-11-15') AND NOT (code LIKE '300%' AND toYear(day) = 2019 AND \
         toMonth(day) BETWEEN 4 AND 6 AND cityHash64(code, day) % 10 < 7) AND (cityHash64(day, code) % 400 > 0 OR \
         toYear(day) > 2022) AND NOT (code = '688105.SH' AND day >= '2025-03-10')",
    );
    scene.database.query(
        "INSERT INTO data_quality_report SELECT * EXCEPT n REPLACE (toDateTime('2025-10-01 16:30:00') + 86400 * n AS timestamp, \
         toString(n) AS report_id, n % 7 = 3 AS tasks_failed, n * 7 % 9 AS records_missing) FROM data_quality_report \
         CROSS JOIN (SELECT arrayJoin(range(60)) AS n) AS more WHERE kind = 'interval'",
    );
    let markup = "</script><img src=x onerror=alert(1)>";
    let headers = [
        ("dlq.reason", markup.to_owned()),
        ("dlq.class", "source_error".to_owned()),
        ("dlq.topic", scene.topic()),
        ("dlq.partition", "0".to_owned()),
        ("dlq.offset", "7".to_owned()),
        ("dlq.time", "2025-11-03T08:30:00Z".to_owned()),
    ];
    let payload = json!({"command": "bar_snapshot", "params": {"code": "688105.SH"}, "source": "timer"});
    let headers = headers.map(|(name, value)| (name.to_owned(), value)).into();
    let letter = Record { value: payload.to_string().into_bytes(), key: None, headers };
    scene.broker.send_record(&scene.dead_letter_topic(), &letter);

    let file = scene.folder().join("coverage.html");
    let range = ["--start", "2016-01-01", "--end", "2025-12-31", "--html", file.to_str().unwrap()];
    let (code, text, said) = coverage(&scene, &range);
    assert_eq!(code, Some(3), "{text} {said}");
    assert!(text.contains("coverage.html written"), "{text}");
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(!page.contains("<img") && page.len() < 1_000_000, "{} bytes", page.len());
    let data = data_of(&page);
    let names: Vec<&str> = data["rows"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["SH main", "STAR", "SZ main", "ChiNext", "Beijing"]);
    assert_eq!(
        data["rows"][1]["cells"][111],
        json!([210, 189]),
        "April 2025 of ten codes, of which one ended in March"
    );
    let ended = data["codes"].as_array().unwrap().iter().find(|code| code[0] == "688105.SH").expect("the code");
    assert!(ended[2].as_str().unwrap().ends_with(" 33-3b"), "no day of April to December: {ended}");
    assert_eq!((&data["letters"]["number"], &data["letters"]["rows"][0][5]), (&json!(1), &json!(markup)));
    let days = data["days"]["rows"].as_array().expect("days");
    assert_eq!((days.len(), &days[59]["day"]), (60, &json!("2025-11-29")), "the reports of today are after the range");
    assert_eq!((&days[59]["expected"], &days[59]["missing"]), (&json!(44), &json!(8)));
    if let Some(kept) = std::env::var_os("COVERAGE_PAGE") {
        std::fs::copy(&file, kept).expect("the page is kept");
    }

    let (_, text, said) = coverage(&scene, &["--html", file.to_str().unwrap()]);
    let day = &data_of(&std::fs::read_to_string(&file).unwrap())["days"]["rows"];
    let figures =
        day.as_array().and_then(|days| days.last()).map(|day| (day["written"].clone(), day["tasks_done"].clone()));
    assert_eq!(figures, Some((json!(44), json!(2))), "{text} {said}");
}
