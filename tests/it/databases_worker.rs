// Upstream: reload_servers, secure_sources
// Downstream: actors, data_worker, kit, main_job, user_database
// Role: Tests the worker with another Ginkgo's database of each kind as its only source: every row is exact.

use chrono::NaiveDate;
use data_worker::config::SourceName;
use kit::clickhouse::{Database, StoredBar};
use kit::minute_rows::minute_rows;
use kit::mysql::Tables;
use kit::scene::Scene;
use kit::tdx_server::ticks;
use kit::tushare_data::DailyRow;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Value, json};

use crate::main_job::{Market, PROGRAM, market};
use crate::user_database::{Key, Type, UserDatabase};

pub const BAR: [(&str, Type); 9] = [
    ("code", Type::Text),
    ("timestamp", Type::Time),
    ("open", Type::Decimal),
    ("high", Type::Decimal),
    ("low", Type::Decimal),
    ("close", Type::Decimal),
    ("volume", Type::Whole),
    ("amount", Type::Decimal),
    ("frequency", Type::Whole),
];
const TICK: [(&str, Type); 5] = [
    ("code", Type::Text),
    ("timestamp", Type::Time),
    ("price", Type::Decimal),
    ("volume", Type::Whole),
    ("direction", Type::Whole),
];
const FACTOR: [(&str, Type); 3] = [("code", Type::Text), ("timestamp", Type::Time), ("adjustfactor", Type::Factor)];
const STOCK: [(&str, Type); 7] = [
    ("code", Type::Text),
    ("code_name", Type::Text),
    ("industry", Type::Text),
    ("market", Type::Whole),
    ("list_date", Type::Time),
    ("delist_date", Type::Time),
    ("is_del", Type::Whole),
];
const TRADE_DAY: [(&str, Type); 4] =
    [("market", Type::Whole), ("is_open", Type::Whole), ("timestamp", Type::Time), ("is_del", Type::Whole)];

/// Number of trades per day; some of them are equal.
const TRADES: usize = 150;

fn number(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The five-minute bars of a day as Ginkgo stores them: time and six values.
fn minutes(row: &DailyRow) -> Vec<[String; 7]> {
    let shown = |value: Decimal| {
        value.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero).normalize().to_string()
    };
    let price = |hundredths| shown(Decimal::new(hundredths, 2));
    let bar = |row: &kit::minute_rows::MinuteRow| {
        let amount = shown(Decimal::new(row.amount(), 5));
        let (lots, time) = ((row.shares / 100).to_string(), row.end.to_string());
        [time, price(row.open), price(row.high()), price(row.low()), price(row.close), lots, amount]
    };
    minute_rows(row, 5, false).iter().map(bar).collect()
}

/// The trades of a day: time, price, lots, direction.
fn trades(row: &DailyRow) -> Vec<[String; 4]> {
    let trade = |tick: kit::tdx_server::TickRow| {
        let time = format!("{} {:02}:{:02}:00", row.date, tick.minute / 60, tick.minute % 60);
        let price = Decimal::new(tick.price, 2).normalize().to_string();
        [time, price, tick.lots.to_string(), tick.side.to_string()]
    };
    ticks(row).into_iter().take(TRADES).map(trade).collect()
}

/// The daily bars of a code as Ginkgo stores them.
pub fn daily(scene: &Scene, code: &String) -> Vec<Vec<Value>> {
    let row = |bar: &StoredBar| {
        let mut row = vec![json!(code), json!(bar.timestamp)];
        row.extend(bar.values.iter().map(|text| number(text)));
        row.push(json!(1));
        row
    };
    scene.expected(std::slice::from_ref(code)).iter().map(row).collect()
}

fn factor(at: usize) -> &'static str {
    if at < 5 { "2" } else { "2.5" }
}

/// The data that another Ginkgo has collected.
struct Collected {
    codes: Vec<String>,
    /// The daily rows of the first code.
    days: Vec<DailyRow>,
}

impl Collected {
    /// Writes daily bars of all codes and all other data of the first code.
    fn fill(&self, scene: &Scene, database: &UserDatabase) {
        let first = &self.codes[0];
        let key = |code: &String| format!("ginkgo:bars:{code}:1d");
        let mut bars: Vec<_> = self.codes.iter().map(|code| (key(code), daily(scene, code))).collect();
        let minutes = self.days.iter().flat_map(minutes).map(|[time, values @ ..]| {
            let mut row = vec![json!(first), json!(time)];
            row.extend(values.iter().map(|text| number(text)));
            row.push(json!(3));
            row
        });
        bars.push((format!("ginkgo:bars:{first}:5m"), minutes.collect()));
        if database.vendor == SourceName::Redis {
            for (key, rows) in &bars {
                database.put("", &Key::SortedSet(key, 1), &BAR, rows);
            }
        } else {
            let all: Vec<_> = bars.into_iter().flat_map(|(_, rows)| rows).collect();
            database.put("bar", &Key::List(""), &BAR, &all);
        }
        self.fill_ticks(database);
        let factors: Vec<_> = (0..self.days.len())
            .map(|at| vec![json!(first), json!(format!("{} 00:00:00", self.days[at].date)), number(factor(at))])
            .collect();
        database.put("adjustfactor", &Key::SortedSet(&format!("ginkgo:factors:{first}"), 1), &FACTOR, &factors);
        let mut stocks: Vec<_> = self.codes.iter().map(|code| stock(code, 1, 0)).collect();
        stocks.extend([stock("600999.SH", 1, 1), stock("688999.SH", 2, 0)]);
        database.put("stock_info", &Key::Hash("ginkgo:stocks", 0), &STOCK, &stocks);
        let mut calendar: Vec<_> =
            self.calendar().iter().map(|(day, is_open)| trade_day(*day, *is_open, 1, 0)).collect();
        calendar.extend([trade_day(days_ago(40), 1, 1, 1), trade_day(days_ago(41), 1, 2, 0)]);
        database.put("trade_day", &Key::SortedSet("ginkgo:trade_days", 2), &TRADE_DAY, &calendar);
    }

    /// Adds the newest day of all codes.
    fn add_day(&self, scene: &Scene, database: &UserDatabase) {
        for code in &self.codes {
            let newest = daily(scene, code).pop().unwrap();
            database.add("bar", &Key::SortedSet(&format!("ginkgo:bars:{code}:1d"), 1), &BAR, &[newest]);
        }
    }

    fn fill_ticks(&self, database: &UserDatabase) {
        let first = &self.codes[0];
        let rows = |row: &DailyRow| -> Vec<Vec<Value>> {
            let trade = |[time, price, lots, side]: [String; 4]| {
                vec![json!(first), json!(time), number(&price), number(&lots), number(&side)]
            };
            trades(row).into_iter().map(trade).collect()
        };
        if database.vendor == SourceName::Redis {
            for row in &self.days {
                let key = format!("ginkgo:ticks:{first}:{}", row.date.format("%Y%m%d"));
                database.put("", &Key::List(&key), &TICK, &rows(row));
            }
        } else {
            let all: Vec<_> = self.days.iter().flat_map(rows).collect();
            database.put(&format!("{}_Tick", first.replace('.', "_")), &Key::List(""), &TICK, &all);
        }
    }

    /// The days of a month, each with its open flag.
    fn calendar(&self) -> Vec<(NaiveDate, u8)> {
        let is_open = |day: NaiveDate| u8::from(self.days.iter().any(|row| row.date == day));
        (0..30).rev().map(days_ago).map(|day| (day, is_open(day))).collect()
    }
}

fn days_ago(days: u64) -> NaiveDate {
    actors::domain::shanghai_clock::today() - chrono::Days::new(days)
}

fn stock(code: &str, market: i64, is_deleted: i64) -> Vec<Value> {
    let (name, industry) = (format!("股{}", &code[..6]), "银行");
    vec![
        json!(code),
        json!(name),
        json!(industry),
        json!(market),
        json!("1999-11-10 00:00:00"),
        json!("2100-01-01 00:00:00"),
        json!(is_deleted),
    ]
}

fn trade_day(day: NaiveDate, is_open: u8, market: i64, is_deleted: i64) -> Vec<Value> {
    vec![json!(market), json!(is_open), json!(format!("{day} 00:00:00")), json!(is_deleted)]
}

/// Runs the worker with one database as its only source.
fn commands_become_exact_rows(vendor: SourceName) {
    let Market { codes, data, last_day } = market(30, 10);
    let name = vendor.as_str();
    let mut scene = Scene::new(&format!("from_{name}"), PROGRAM, data);
    let tables = Tables::create(&scene.name);
    let database = UserDatabase::create(vendor, &format!("{}_other", scene.name));
    let collected = Collected { days: scene.source.rows(&codes[0]), codes: codes.clone() };
    collected.fill(&scene, &database);
    scene.set("sources.bars", format!("[{name}]")).set("fetch.max_in_flight", 4).set("fetch.whole_days_from_tasks", 2);
    for (key, value) in database.settings() {
        scene.set(&format!("sources.{name}.{key}"), format!("\"{value}\""));
    }
    let worker = scene.start("n1");
    let first = &codes[0];
    let start = collected.days[0].date.format("%Y%m%d");
    let command = |text: String| text.into_bytes();
    scene.send_snapshots(&codes, "");
    scene.send(&[
        command(format!(
            r#"{{"command":"bar_snapshot","params":{{"code":"{first}","frequency":"5m","start_date":"{start}"}}}}"#
        )),
        command(format!(r#"{{"command":"tick","params":{{"code":"{first}"}}}}"#)),
        command(format!(r#"{{"command":"adjustfactor","params":{{"code":"{first}"}}}}"#)),
        command(r#"{"command":"stockinfo","params":{}}"#.to_owned()),
        command(r#"{"command":"trade_day","params":{}}"#.to_owned()),
    ]);
    scene.wait_until_committed();
    assert_eq!(scene.dead_letters().len(), 0, "{}", worker.log_text());
    assert_lists(&tables, &collected);
    assert_series(&scene, &collected);
    scene.database.query("DELETE FROM bar WHERE frequency != 1");
    scene.assert_exact(&codes);

    // The increment: if one table holds all securities, one request returns the day of all of them.
    scene.source.append_day(last_day);
    collected.add_day(&scene, &database);
    let num_requests = || match vendor {
        SourceName::ClickHouse => Database::shared(database.name()).statements()["select"],
        _ => 0,
    };
    let before = num_requests();
    // One command, so that its tasks are pending together.
    let all = codes.iter().map(|code| format!("\"{code}\"")).collect::<Vec<_>>().join(",");
    scene.send(&[command(format!(r#"{{"command":"bar_snapshot","params":{{"codes":[{all}]}}}}"#))]);
    scene.wait_until_committed();
    scene.assert_exact(&codes);
    let more = num_requests() - before;
    assert!(more < codes.len() as u64 / 2, "{more} requests for one new day of {} securities", codes.len());
    assert_eq!(scene.database.query("SELECT DISTINCT source FROM bar").trim(), "10");
    if let Some((_, password)) = database.settings().iter().find(|(key, _)| *key == "password") {
        assert!(!worker.log_text().contains(password.as_str()), "the log shows the password");
    }
}

fn assert_lists(tables: &Tables, collected: &Collected) {
    let found = tables.rows(
        "SELECT code, code_name, industry, date(list_date), date(delist_date), source FROM stock_info ORDER BY code",
    );
    let mut codes = collected.codes.clone();
    codes.sort();
    let expected: Vec<Vec<String>> = codes
        .iter()
        .map(|code| {
            vec![
                code.clone(),
                format!("股{}", &code[..6]),
                "银行".into(),
                "1999-11-10".into(),
                "2100-01-01".into(),
                "10".into(),
            ]
        })
        .collect();
    assert_eq!(found, expected);
    let found = tables.rows("SELECT date(timestamp), is_open, source FROM trade_day ORDER BY timestamp");
    let expected: Vec<Vec<String>> = collected
        .calendar()
        .iter()
        .map(|(day, is_open)| vec![day.to_string(), is_open.to_string(), "10".into()])
        .collect();
    assert_eq!(found, expected);
}

fn assert_series(scene: &Scene, collected: &Collected) {
    let lines = |sql: &str| {
        let mut lines: Vec<String> = scene.database.query(sql).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let values =
        "toString(timestamp), toString(open), toString(high), toString(low), toString(close), volume, toString(amount)";
    let found = lines(&format!("SELECT {values} FROM bar WHERE frequency = 3"));
    let expected: Vec<String> = collected.days.iter().flat_map(minutes).map(|cells| cells.join("\t")).collect();
    assert_eq!(found.len(), 10 * 48);
    assert!(found == expected, "minute bars differ: {:?} {:?}", found.first(), expected.first());

    let table = format!("{}_Tick", collected.codes[0].replace('.', "_"));
    let found =
        lines(&format!("SELECT toString(timestamp), toString(price), volume, direction, source FROM `{table}`"));
    let recent = collected.days.iter().filter(|row| row.date >= days_ago(7));
    let mut expected: Vec<String> = recent.flat_map(trades).map(|cells| format!("{}\t10", cells.join("\t"))).collect();
    expected.sort();
    assert!(expected.len() >= 3 * TRADES);
    assert!(
        found == expected,
        "{} trades of {}: {:?} {:?}",
        found.len(),
        expected.len(),
        found.first(),
        expected.first()
    );

    let found = lines("SELECT toDate(timestamp), toString(adjustfactor), source FROM adjustfactor");
    let day = |(at, row): (usize, &DailyRow)| format!("{}\t{}\t10", row.date, factor(at));
    assert_eq!(found, collected.days.iter().enumerate().map(day).collect::<Vec<_>>());
}

#[test]
fn commands_become_exact_rows_with_clickhouse_alone() {
    commands_become_exact_rows(SourceName::ClickHouse);
}

#[test]
fn commands_become_exact_rows_with_mysql_alone() {
    commands_become_exact_rows(SourceName::MySql);
}

#[test]
fn commands_become_exact_rows_with_mongodb_alone() {
    commands_become_exact_rows(SourceName::MongoDb);
}

#[test]
fn commands_become_exact_rows_with_redis_alone() {
    commands_become_exact_rows(SourceName::Redis);
}
