// Upstream: none
// Downstream: kit, main_job
// Role: Tests minute bars on the real engine: every frequency, increments within a day, long histories.

use chrono::{Days, NaiveDate};
use kit::scene::Scene;
use kit::tushare_data::{Dataset, codes, trading_days};

use crate::main_job::{Market, PROGRAM, market};

fn command(code: &str, frequency: &str, params: &str) -> Vec<u8> {
    format!(r#"{{"command":"bar_snapshot","params":{{"code":"{code}","frequency":"{frequency}"{params}}}}}"#)
        .into_bytes()
}

fn count(scene: &Scene, condition: &str) -> String {
    scene
        .database
        .query(&format!("SELECT count(), uniqExact(code, timestamp) FROM bar WHERE {condition}"))
        .trim()
        .to_owned()
}

#[test]
fn stores_every_frequency_in_ginkgo_units() {
    let Market { codes, data, .. } = market(3, 5);
    let mut scene = Scene::new("minutes", PROGRAM, data);
    let _worker = scene.start("n1");
    let frequencies = ["1m", "5m", "15m", "30m", "60m", "1d"];
    let all: Vec<Vec<u8>> =
        codes.iter().flat_map(|code| frequencies.map(|frequency| command(code, frequency, ""))).collect();
    scene.send(&all);
    scene.wait_until_committed();
    // Ginkgo's frequency numbers and the bars per day; one-minute bars include the opening auction's row.
    for (number, a_day) in [(2, 241), (3, 48), (4, 16), (5, 8), (6, 4), (1, 1)] {
        let expected = 3 * 5 * a_day;
        assert_eq!(count(&scene, &format!("frequency = {number}")), format!("{expected}\t{expected}"));
    }
    let hours = scene
        .database
        .query("SELECT DISTINCT formatDateTime(timestamp, '%H:%i') AS t FROM bar WHERE frequency = 6 ORDER BY t");
    assert_eq!(hours.lines().collect::<Vec<_>>(), ["10:30", "11:30", "14:00", "15:00"]);
    // Shares and yuan become lots and thousand yuan: the hours of a day add up to its daily bar.
    let differing = scene.database.query(
        "SELECT count() FROM (SELECT code, toDate(timestamp) AS day, sumIf(volume, frequency = 6) AS hours, \
         anyIf(volume, frequency = 1) AS whole FROM bar GROUP BY code, day HAVING abs(hours - whole) > 4)",
    );
    assert_eq!(differing.trim(), "0");
    assert_eq!(scene.dead_letters().len(), 0);

    scene.send(&all);
    scene.wait_until_committed();
    assert_eq!(count(&scene, "frequency = 2"), "3615\t3615", "repeated commands add no rows");
}

#[test]
fn an_increment_goes_on_where_a_day_was_left() {
    let Market { codes, data, last_day } = market(2, 4);
    let mut scene = Scene::new("goeson", PROGRAM, data);
    for code in &codes {
        let mut rows = scene.source.rows(code);
        rows.pop();
        scene.source.set_rows(code, rows);
    }
    let days: Vec<NaiveDate> = scene.source.rows(&codes[0]).iter().map(|row| row.date).collect();
    let first = scene.start("n1");
    let all: Vec<Vec<u8>> = codes.iter().map(|code| command(code, "5m", "")).collect();
    scene.send(&all);
    scene.wait_until_committed();
    scene.database.query(&format!("DELETE FROM bar WHERE timestamp > '{} 14:00:00'", days[2]));
    let next = trading_days(days[2].succ_opt().unwrap(), last_day)[0];
    scene.source.append_day(next);
    // A new worker has no memory of the rows that the first one wrote.
    drop(first);
    let _other = scene.start("n2");
    scene.send(&all);
    scene.wait_until_committed();
    assert_eq!(count(&scene, "frequency = 3"), format!("{0}\t{0}", 2 * 4 * 48));
    assert_eq!(count(&scene, &format!("timestamp >= '{next} 00:00:00'")), format!("{0}\t{0}", 2 * 48));
}

#[test]
fn long_minute_history_is_split_and_full_replaces_it() {
    let codes = codes(1);
    let last = NaiveDate::from_ymd_opt(2025, 12, 31).unwrap();
    let days = trading_days(last.checked_sub_days(Days::new(3 * 366)).unwrap(), last);
    let mut scene = Scene::new("long", PROGRAM, Dataset::generated(&codes, &days));
    let _worker = scene.start("n1");
    scene.send(&[command(&codes[0], "30m", r#","start_date":"20220601","end_date":"20260131""#)]);
    scene.wait_until_committed();
    let expected = days.len() * 8;
    assert_eq!(count(&scene, "frequency = 5"), format!("{expected}\t{expected}"));
    assert_eq!(scene.source.requests_to("stk_mins"), 2, "two parts of at most 888 trading days");

    scene.database.query("DELETE FROM bar WHERE timestamp < '2024-01-01 00:00:00'");
    scene.database.query(&format!(
        "INSERT INTO bar (code, open, high, low, close, volume, amount, frequency, uuid, meta, `desc`, timestamp, source) \
         VALUES ('{}', 1, 1, 1, 1, 1, 1, 5, 'a wrong one', '{{}}', '', '2024-03-05 10:17:00', 7)",
        codes[0]
    ));
    scene.send(&[command(&codes[0], "30m", r#","full":true"#)]);
    scene.wait_until_committed();
    assert_eq!(count(&scene, "frequency = 5"), format!("{expected}\t{expected}"));
    assert_eq!(count(&scene, "uuid = 'a wrong one'"), "0\t0");
}
