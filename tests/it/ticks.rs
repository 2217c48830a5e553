// Upstream: none
// Downstream: http, kit, main_job
// Role: Tests ticks on the real engine: a table per security, increments within a day, replacements, backfills.

use std::fmt::Write as _;
use std::path::PathBuf;

use chrono::NaiveDate;
use kit::exposition::Page;
use kit::http::get;
use kit::mysql::Tables;
use kit::scene::{PARTITIONS, Scene, TIMEOUT};
use kit::tushare_data::{Dataset, last_closed_day, last_trading_days, shanghai_today};
use kit::wait::wait_until;

use crate::http::address;
use crate::main_job::PROGRAM;

const CODE: &str = "000001.SZ";
const PER_DAY: usize = 240;

fn command(params: &str) -> Vec<u8> {
    format!(r#"{{"command":"tick","timestamp":"2026-08-10T21:15:00.5","params":{{"code":"{CODE}"{params}}},"source":"task_timer"}}"#)
        .into_bytes()
}

/// A day's trades as CSV: two equal ones in each minute of the morning.
fn lines(day: NaiveDate, num_ticks: usize) -> String {
    let mut text = String::new();
    for n in 0..num_ticks {
        let minute = 570 + n / 2;
        writeln!(
            text,
            "{day} {:02}:{:02},{}.{:02},{},{}",
            minute / 60,
            minute % 60,
            10 + n / 100,
            n / 2 % 100,
            5,
            n / 2 % 3
        )
        .unwrap();
    }
    text
}

struct Market {
    scene: Scene,
    folder: PathBuf,
}

impl Market {
    fn new(name: &str) -> Self {
        Self::with(Scene::new(name, PROGRAM, Dataset::empty()))
    }

    fn with(mut scene: Scene) -> Self {
        let folder = scene.folder().join("ticks");
        std::fs::create_dir(&folder).unwrap();
        scene.set("sources.ticks", "[files]").set("sources.files.folder", folder.display());
        Self { scene, folder }
    }

    fn has(&self, text: &str) {
        let whole = format!("time,price,volume,direction\n{text}");
        std::fs::write(self.folder.join(format!("{CODE}.ticks.csv")), whole).unwrap();
    }

    fn send(&mut self, params: &str) {
        self.scene.send(&[command(params)]);
        self.scene.wait_until_committed();
    }

    /// Number of physical rows per day.
    fn stored(&self) -> Vec<(NaiveDate, usize)> {
        let sql = "SELECT toDate(timestamp), count() FROM `000001_SZ_Tick` GROUP BY 1 ORDER BY 1";
        let text = self.scene.database.try_query(sql).unwrap_or_default();
        let row = |line: &str| {
            let (day, count) = line.split_once('\t').unwrap();
            (day.parse().unwrap(), count.parse().unwrap())
        };
        text.lines().map(row).collect()
    }
}

fn days(count: usize) -> Vec<NaiveDate> {
    let today = shanghai_today();
    last_trading_days(today.pred_opt().unwrap(), count)
}

#[test]
fn tick_increment_starts_a_week_back_and_continues() {
    let mut market = Market::new("ticks");
    let days = days(12);
    let (half, whole) = (lines(days[11], 100), lines(days[11], PER_DAY));
    let before: String = days[..11].iter().map(|day| lines(*day, PER_DAY)).collect();
    market.has(&(before.clone() + &half));
    let _worker = market.scene.start("n1");
    market.send("");
    let week = chrono::Utc::now().date_naive() - chrono::Days::new(7);
    let stored = market.stored();
    assert!(stored.iter().all(|(day, _)| *day >= week), "{stored:?}");
    assert_eq!(stored.last(), Some(&(days[11], 100)));
    let page = Page::parse(&get(&address(&market.scene, "n1"), "/metrics").body);
    let num_stored = stored.iter().map(|(_, count)| *count as f64).sum::<f64>();
    assert!((page.value("data_worker_insert_rows_sum", &[]) - num_stored).abs() < 0.5, "{:#?}", page.series);
    assert!(stored[..stored.len() - 1].iter().all(|(_, count)| *count == PER_DAY), "{stored:?}");
    let shape = market.scene.database.query("SELECT DISTINCT code, source, length(uuid), meta FROM `000001_SZ_Tick`");
    assert_eq!(shape.trim(), "000001.SZ\t0\t32\t{}");
    let first = market.scene.database.query(&format!(
        "SELECT toString(price), volume, direction, formatDateTime(timestamp, '%H:%i') FROM `000001_SZ_Tick` \
         WHERE toDate(timestamp) = '{}' LIMIT 3",
        days[11]
    ));
    assert_eq!(first.lines().collect::<Vec<_>>(), ["10\t5\t0\t09:30", "10\t5\t0\t09:30", "10.01\t5\t1\t09:31"]);

    // The day continues: only new ticks are written. A repeat changes nothing.
    market.has(&(before + &whole));
    for _ in 0..2 {
        let statements = market.scene.database.statements();
        market.send("");
        assert_eq!(market.stored().last(), Some(&(days[11], PER_DAY)));
        assert_eq!(market.scene.database.statements()["delete"], statements["delete"]);
    }
    assert_eq!(market.scene.dead_letters().len(), 0);
}

#[test]
fn full_backfill_skips_stored_days_unless_overwrite() {
    let mut market = Market::new("backfill");
    let days = days(60);
    // No ticks for the oldest 20 days, and a gap of four days in between.
    let traded: Vec<NaiveDate> =
        days.iter().enumerate().filter(|(n, _)| *n >= 20 && !(40..44).contains(n)).map(|(_, day)| *day).collect();
    market.has(&traded.iter().map(|day| lines(*day, PER_DAY)).collect::<String>());
    market.scene.set("fetch.tick_stop_after_empty_days", 6);
    let _worker = market.scene.start("n1");
    market.send(r#","full":true"#);
    let expected: Vec<(NaiveDate, usize)> = traded.iter().map(|day| (*day, PER_DAY)).collect();
    assert_eq!(market.stored(), expected, "the gap is shorter than the limit of empty days");

    // The vendor now has other ticks, and fewer for one day: only `overwrite` accepts that.
    let changed: String =
        traded.iter().enumerate().map(|(n, day)| lines(*day, if n == 3 { 80 } else { PER_DAY + 20 })).collect();
    market.has(&changed);
    market.send(r#","full":true"#);
    assert_eq!(market.stored(), expected, "stored days are not fetched again");
    let watched = market.scene.database.clone();
    let least = expected.iter().map(|(_, count)| count).sum::<usize>() - PER_DAY + 80;
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let watcher = std::thread::spawn(move || {
        let (mut looks, mut gaps) = (0, 0);
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let found: usize = watched.query("SELECT count() FROM `000001_SZ_Tick`").trim().parse().unwrap();
            gaps += usize::from(found < least);
            looks += 1;
        }
        (looks, gaps)
    });
    market.send(r#","full":true,"overwrite":true"#);
    stop.send(()).unwrap();
    let (looks, gaps) = watcher.join().unwrap();
    assert!(looks > 0 && gaps == 0, "{gaps} of {looks} reads found ticks missing");
    let expected: Vec<(NaiveDate, usize)> =
        traded.iter().enumerate().map(|(n, day)| (*day, if n == 3 { 80 } else { PER_DAY + 20 })).collect();
    assert_eq!(market.stored(), expected);
}

#[test]
fn backfill_stops_at_the_list_date() {
    let mut market = Market::new("listdate");
    let days = days(40);
    let tables = Tables::create_as_ginkgo(&market.scene.name);
    tables.add_stock(CODE, "name", &days[15].to_string(), "2100-01-01");
    // Trades before the list date belong to another security that had the code.
    market.has(&days.iter().map(|day| lines(*day, PER_DAY)).collect::<String>());
    let _worker = market.scene.start("n1");
    market.send(r#","full":true"#);
    assert_eq!(market.stored(), days[15..].iter().map(|day| (*day, PER_DAY)).collect::<Vec<_>>());
    assert_eq!(market.scene.dead_letters().len(), 0);
}

#[test]
fn replaces_python_ticks_without_duplicates_after_kill() {
    let mut market = Market::new("pythonticks");
    let days = days(2);
    market.has(&(lines(days[0], PER_DAY) + &lines(days[1], PER_DAY)));
    // The Python worker's table: no deduplication window, random uuids.
    market.scene.database.query(
        "CREATE TABLE `000001_SZ_Tick` (code String, price Decimal(16,2), volume Int32, direction Int8, uuid String, \
         meta String, `desc` String, timestamp DateTime, source Int8) ENGINE = MergeTree ORDER BY timestamp",
    );
    market.scene.database.query(&format!(
        "INSERT INTO `000001_SZ_Tick` SELECT '{CODE}', 10, 5, 0, replace(toString(generateUUIDv4()), '-', ''), '{{}}', '', \
         toDateTime('{} 09:30:00') + intDiv(number, 2) * 60, 8 FROM numbers(200)",
        days[1]
    ));
    market.scene.send(&[command(""), command(r#","days":2"#), command("")]);
    let mut first = market.scene.start("n1");
    kit::wait::wait_until("the first ticks", kit::scene::TIMEOUT, || {
        market.stored().iter().any(|(_, count)| *count > 200)
    });
    first.kill();
    let _second = market.scene.start("n2");
    market.scene.wait_until_committed();
    market.send("");
    assert_eq!(market.stored().last(), Some(&(days[1], PER_DAY)));
    assert!(market.stored().iter().all(|(_, count)| *count == PER_DAY), "{:?}", market.stored());
}

#[test]
fn concurrent_commands_store_each_tick_once() {
    let mut market = Market::new("sameticks");
    let days = days(3);
    market.has(&days.iter().map(|day| lines(*day, PER_DAY)).collect::<String>());
    // Ginkgo's own table, which keeps repeated inserts.
    market.scene.database.query(
        "CREATE TABLE `000001_SZ_Tick` (code String, price Decimal(16,2), volume Int32, direction Int8, uuid String, \
         meta String, `desc` String, timestamp DateTime, source Int8) ENGINE = MergeTree ORDER BY timestamp",
    );
    let commands: Vec<Vec<u8>> = (0..24).map(|n| command(if n % 2 == 0 { r#","days":3"# } else { "" })).collect();
    market.scene.send(&commands);
    let _worker = market.scene.start("n1");
    market.scene.wait_until_committed();
    let expected: Vec<(NaiveDate, usize)> = days.iter().map(|day| (*day, PER_DAY)).collect();
    assert_eq!(market.stored(), expected);

    // Duplicates, as two concurrent workers may write them: the next fetch of that day removes them.
    market.scene.database.query(&format!(
        "INSERT INTO `000001_SZ_Tick` SELECT * FROM `000001_SZ_Tick` WHERE timestamp >= '{} 00:00:00'",
        days[2]
    ));
    assert_eq!(market.stored()[2].1, 2 * PER_DAY);
    market.send("");
    assert_eq!(market.stored(), expected);
}

#[test]
fn two_workers_leave_one_whole_answer_of_each_day() {
    let mut market = Market::new("twoticks");
    let days = days(3);
    let whole: String = days.iter().map(|day| lines(*day, PER_DAY)).collect();
    market.has(&whole);
    let _first = market.scene.start("n1");
    // A worker of another group reads the same commands, and its vendor has other prices.
    let other = market.scene.folder().join("other");
    std::fs::create_dir(&other).unwrap();
    let changed = whole.replace(",10.", ",20.").replace(",11.", ",21.").replace(",12.", ",22.");
    std::fs::write(other.join(format!("{CODE}.ticks.csv")), format!("time,price,volume,direction\n{changed}")).unwrap();
    let group = format!("{}.second", market.scene.name);
    let folder = other.display().to_string();
    let environment = [
        ("GINKGO_DATA_WORKER__KAFKA__GROUP_ID", group.as_str()),
        ("GINKGO_DATA_WORKER__SOURCES__FILES__FOLDER", folder.as_str()),
    ];
    let _second = market.scene.start_with("n2", &environment);
    let expected: Vec<(NaiveDate, usize)> = days.iter().map(|day| (*day, PER_DAY)).collect();
    // From a day on: before its close a trading day counts as one of the last days, too.
    let again = format!(r#","start_date":"{}","overwrite":true"#, days[0]);
    for _ in 0..10 {
        market.send(&again);
        wait_until("the second worker is done", TIMEOUT, || {
            market.scene.broker.committed(&group, &market.scene.topic(), PARTITIONS) == market.scene.sent()
        });
        assert_eq!(market.stored(), expected);
        // Each day is one of the two answers.
        let mixed = "SELECT toDate(timestamp) FROM `000001_SZ_Tick` GROUP BY 1 \
                     HAVING uniqExact(price >= 20) > 1 OR uniqExact(uuid) <> count()";
        assert_eq!(market.scene.database.query(mixed).trim(), "", "days with rows of both");
    }
}

#[test]
fn invalid_tick_removes_nothing_and_missing_file_fails() {
    let mut market = Market::new("badticks");
    let day = days(1)[0];
    market.has(&lines(day, PER_DAY));
    let _worker = market.scene.start("n1");
    market.send("");
    market.has(&(lines(day, 50) + &format!("{day} 10:00,-1,5,0\n{day} 10:00,10,5,3\n")));
    market.send(&format!(r#","start_date":"{day}","overwrite":true"#));
    let stored: usize = market.stored().iter().filter(|(stored, _)| *stored == day).map(|(_, count)| count).sum();
    assert_eq!(stored, PER_DAY, "the stored ticks stay");
    market.scene.send(&[br#"{"command":"tick","params":{"code":"600000.SH"}}"#.to_vec()]);
    market.scene.wait_until_committed();
    let letters = market.scene.dead_letters();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].headers["dlq.reason"].contains("600000.SH.ticks.csv"), "{:?}", letters[0].headers);
}

#[test]
fn catches_up_after_pause_and_recreates_dropped_table() {
    let mut market = Market::new("pause_of_ticks");
    let days = days(45);
    let all: String = days.iter().map(|day| lines(*day, 10)).collect();
    market.has(&lines(days[0], 10));
    let _worker = market.scene.start("n1");
    market.send(&format!(r#","start_date":"{0}","end_date":"{0}""#, days[0]));
    market.has(&all);
    market.send("");
    let whole: Vec<(NaiveDate, usize)> = days.iter().map(|day| (*day, 10)).collect();
    assert_eq!(market.stored(), whole);

    market.scene.database.query("DROP TABLE `000001_SZ_Tick`");
    market.send(&format!(r#","start_date":"{}""#, days[0]));
    assert_eq!(market.stored(), whole);
}

#[test]
fn next_worker_finishes_tick_replacement() {
    let mut market = Market::new("half_replaced");
    let days = days(1);
    market.has(&lines(days[0], 10));
    let mut first = market.scene.start("n1");
    market.send(&format!(r#","start_date":"{0}","end_date":"{0}""#, days[0]));
    let python = "SELECT code, price, volume, direction, replaceAll(toString(generateUUIDv4()), '-', '') AS uuid, meta, `desc`, timestamp, source";
    // As the Python worker stored them: the same ticks with random uuids.
    market.scene.database.query("CREATE TABLE old AS `000001_SZ_Tick`");
    market.scene.database.query(&format!("INSERT INTO old {python} FROM `000001_SZ_Tick`"));
    market.scene.database.query("TRUNCATE TABLE `000001_SZ_Tick`");
    market.scene.database.query("INSERT INTO `000001_SZ_Tick` SELECT * FROM old");
    market.scene.database.fault("kind=delete&mode=refuse&code=241&text=Memory+limit+exceeded", 1_000);
    market.scene.send(&[command("")]);
    wait_until("the new rows next to the old ones", TIMEOUT, || market.stored() == [(days[0], 20)]);
    first.kill();
    market.scene.database.fault("kind=delete&mode=refuse", 0);
    let _second = market.scene.start("n1");
    market.scene.wait_until_committed();
    assert_eq!(market.stored(), [(days[0], 10)]);
}

#[test]
fn a_table_of_ticks_with_wrong_columns_stops_no_other_work() {
    let days = last_trading_days(last_closed_day(), 3);
    let codes: Vec<String> = (1..=20).map(|number| format!("{number:06}.SZ")).collect();
    let mut market = Market::with(Scene::new("badtable", PROGRAM, Dataset::generated(&codes, &days)));
    market.has(&lines(days[0], PER_DAY));
    let create = "CREATE TABLE `000001_SZ_Tick` (code String, price Float64) ENGINE = MergeTree ORDER BY code";
    market.scene.database.query(create);
    let _worker = market.scene.start("n1");
    market.scene.wait_for_status("n1", "running");
    market.scene.send(&[command(r#","full":true"#)]);
    market.scene.send_snapshots(&codes, "");
    wait_until("the bars of all codes", TIMEOUT, || market.scene.database.count() == 60);
    wait_until("the dead letter", TIMEOUT, || market.scene.dead_letters().len() == 1);
    let letter = &market.scene.dead_letters()[0];
    assert_eq!(letter.headers["dlq.class"], "write_error");
    assert!(letter.headers["dlq.reason"].contains("000001_SZ_Tick: column price: expected"), "{:?}", letter.headers);
    wait_until("the alert", TIMEOUT, || {
        let alerts = market.scene.notifications_with("alert_type", "write_error");
        alerts.len() == 1 && alerts[0]["data"]["state"] == "raised"
    });

    // The operator repairs the table and replays the command.
    market.scene.database.query("RENAME TABLE `000001_SZ_Tick` TO wrong");
    market.scene.send(&[command(r#","full":true"#)]);
    wait_until("the ticks", TIMEOUT, || market.stored() == [(days[0], PER_DAY)]);
    wait_until("the end of the alert", TIMEOUT, || {
        market.scene.notifications_with("alert_type", "write_error").len() == 2
    });
}
