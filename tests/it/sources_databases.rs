// Upstream: none
// Downstream: actors, data_worker, kit, user_database
// Role: Tests each kind of database as a source: a user's own tables, columns, units, times, and errors.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::{Code, DateRange, FetchedBar, Field, Frequency, SourceId};
use actors::ports::{BarRequest, DataKind, MarketSource, MarketSources, SourceErrorKind};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use data_worker::config::{
    AmountUnit, MappingSection, MinuteLabel, SourceName, SourcesSection, TimeFormat, TimeZone, VolumeUnit,
};
use data_worker::sources::shared::budget::QuotaState;
use data_worker::sources::{ConfiguredSources, probe};
use kit::clickhouse::PrivateClickHouse;
use kit::services::{free_port, unique};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::user_database::{Key, Type, UserDatabase, block_on};

const ALL: [SourceName; 4] = [SourceName::ClickHouse, SourceName::MySql, SourceName::MongoDb, SourceName::Redis];

fn code() -> Code {
    "000001.SZ".parse().unwrap()
}

fn day(at: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 1, 2 + at).unwrap()
}

fn days(first: u32, last: u32) -> DateRange {
    DateRange { start: day(first), end: day(last) }
}

fn midnight(at: u32) -> NaiveDateTime {
    day(at).and_time(NaiveTime::MIN)
}

fn minute(at: u32, hour: u32, minute: u32) -> NaiveDateTime {
    day(at).and_hms_opt(hour, minute, 0).unwrap()
}

fn decimal(number: i64, places: u32) -> Field<Decimal> {
    Field::Value(Decimal::new(number, places))
}

fn request(frequency: Frequency, range: DateRange) -> BarRequest {
    BarRequest { code: code(), frequency, range }
}

fn source(section: &SourcesSection) -> Arc<dyn MarketSource> {
    ConfiguredSources::build(section, &QuotaState::default()).unwrap().of(DataKind::Bars).remove(0)
}

/// The time format of a user's database; each vendor uses another one.
fn format_of(vendor: SourceName) -> (TimeFormat, TimeZone, Type) {
    match vendor {
        SourceName::ClickHouse => (TimeFormat::Digits, TimeZone::Shanghai, Type::Whole),
        SourceName::MySql => (TimeFormat::Seconds, TimeZone::Shanghai, Type::Whole),
        SourceName::MongoDb => (TimeFormat::Datetime, TimeZone::Utc, Type::Time),
        _ => (TimeFormat::Milliseconds, TimeZone::Shanghai, Type::Whole),
    }
}

fn written(vendor: SourceName, moment: NaiveDateTime, of_day: bool) -> Value {
    let seconds = (moment - TimeDelta::hours(8)).and_utc().timestamp();
    match format_of(vendor).0 {
        TimeFormat::Datetime => json!(moment.to_string()),
        TimeFormat::Digits => {
            let form = if of_day { "%Y%m%d" } else { "%Y%m%d%H%M%S" };
            json!(moment.format(form).to_string().parse::<i64>().unwrap())
        }
        TimeFormat::Seconds => json!(seconds),
        TimeFormat::Milliseconds => json!(seconds * 1_000),
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// The columns of a collection whose names all differ from Ginkgo's.
const OWN_COLUMNS: &[&str] = &[
    "bars.time=t",
    "bars.open=o",
    "bars.high=h",
    "bars.low=l",
    "bars.close=开盘价",
    "bars.volume=v",
    "bars.amount=turn-over",
    "bars.frequency=",
    "minute_bars.time=t",
    "minute_bars.open=o",
    "minute_bars.high=h",
    "minute_bars.low=l",
    "minute_bars.close=开盘价",
    "minute_bars.volume=v",
    "minute_bars.amount=turn-over",
    "minute_bars.code=",
    "minute_bars.frequency=",
    "ticks.time=t",
    "ticks.price=p",
    "ticks.volume=v",
    "ticks.direction=side",
    "factors.time=t",
    "factors.factor=f",
    "stocks.name=n",
    "stocks.industry=",
    "stocks.list_date=since",
    "stocks.delist_date=",
    "stocks.market=",
    "stocks.deleted=",
    "trade_days.time=t",
    "trade_days.is_open=open",
    "trade_days.market=",
    "trade_days.deleted=",
];
/// The column mappings for codes, which are part of the key in Redis.
const OWN_CODES: &[&str] = &["bars.code=symbol", "ticks.code=symbol", "factors.code=symbol", "stocks.code=symbol"];
const OWN_KEYS: &[&str] = &[
    "bars=d:{prefix}{digits}",
    "minute_bars=m:{code}:{frequency}",
    "ticks=trades:{digits}:{date}",
    "factors=adj:{code}",
    "stocks=names",
    "trade_days=cal",
];
const OWN_TABLES: &[&str] = &[
    "bars=quotes",
    "minute_bars=min{frequency}_{prefix}{digits}",
    "ticks=trades",
    "factors=adj",
    "stocks=names",
    "trade_days=cal",
];

fn own_shape(vendor: SourceName) -> MappingSection {
    let (time_format, time_zone, _) = format_of(vendor);
    let (tables, codes) = if vendor == SourceName::Redis { (OWN_KEYS, &[][..]) } else { (OWN_TABLES, OWN_CODES) };
    MappingSection {
        tables: texts(tables),
        columns: texts(&[OWN_COLUMNS, codes].concat()),
        code: "{prefix}{digits}".into(),
        time_format,
        time_zone,
        minute_label: MinuteLabel::Start,
        volume_unit: VolumeUnit::Shares,
        amount_unit: AmountUnit::Yuan,
        ..MappingSection::default()
    }
}

/// Writes five days of one security, with another security in the same tables.
fn fill_own(database: &UserDatabase) {
    fill_bars(database);
    fill_ticks(database);
    fill_factors_and_lists(database);
}

fn fill_bars(database: &UserDatabase) {
    let vendor = database.vendor;
    let bar = [
        ("symbol", Type::Text),
        ("t", format_of(vendor).2),
        ("o", Type::Decimal),
        ("h", Type::Decimal),
        ("l", Type::Decimal),
        ("开盘价", Type::Decimal),
        ("v", Type::Whole),
        ("turn-over", Type::Decimal),
    ];
    let row = |symbol: &str, at: Value, more: u32| {
        vec![
            json!(symbol),
            at,
            json!(9.39),
            json!(9.42),
            json!(9.21),
            json!(9.25),
            json!(1_234_567 + more),
            json!(11_420_000.25),
        ]
    };
    let mut rows: Vec<_> = (0..5).map(|at| row("sz000001", written(vendor, midnight(at), true), at)).collect();
    if vendor != SourceName::Redis {
        rows.push(row("sh600000", written(vendor, midnight(1), true), 0));
    }
    database.put("quotes", &Key::SortedSet("d:sz000001", 1), &bar, &rows);
    let rows: Vec<_> = (0..5)
        .flat_map(|at| [minute(at, 9, 30), minute(at, 14, 55)])
        .map(|start| row("", written(vendor, start, false), 0))
        .collect();
    database.put("min5m_sz000001", &Key::SortedSet("m:000001.SZ:5m", 1), &bar, &rows);
}

fn fill_ticks(database: &UserDatabase) {
    let vendor = database.vendor;
    let time = format_of(vendor).2;
    let tick = [("symbol", Type::Text), ("t", time), ("p", Type::Decimal), ("v", Type::Whole), ("side", Type::Whole)];
    let trade = |symbol: &str, at: u32| {
        vec![json!(symbol), written(vendor, minute(at, 9, 31), false), json!(9.4), json!(300), json!(1)]
    };
    let key = format!("trades:000001:{}", day(1).format("%Y%m%d"));
    let rows = if vendor == SourceName::Redis {
        vec![trade("sz000001", 1), trade("sz000001", 1)]
    } else {
        vec![
            trade("sz000001", 0),
            trade("sz000001", 1),
            trade("sz000001", 1),
            trade("sh600000", 1),
            trade("sz000001", 2),
        ]
    };
    database.put("trades", &Key::List(&key), &tick, &rows);
}

fn fill_factors_and_lists(database: &UserDatabase) {
    let vendor = database.vendor;
    let time = format_of(vendor).2;
    let factor = [("symbol", Type::Text), ("t", time), ("f", Type::Factor)];
    let rows: Vec<_> =
        (0..5).map(|at| vec![json!("sz000001"), written(vendor, midnight(at), true), json!(116.719)]).collect();
    database.put("adj", &Key::SortedSet("adj:000001.SZ", 1), &factor, &rows);
    let stock = [("symbol", Type::Text), ("n", Type::Text), ("since", time)];
    let since = written(vendor, midnight(0), true);
    let rows =
        [vec![json!("sz000001"), json!("平安银行"), since.clone()], vec![json!("sh600000"), json!("浦发银行"), since]];
    database.put("names", &Key::Hash("names", 0), &stock, &rows);
    let rows: Vec<_> = (0..5).map(|at| vec![written(vendor, midnight(at), true), json!(u32::from(at < 4))]).collect();
    database.put("cal", &Key::SortedSet("cal", 0), &[("t", time), ("open", Type::Whole)], &rows);
}

/// The expected bar in Ginkgo's units.
fn own_bar(timestamp: NaiveDateTime, more: u32) -> FetchedBar {
    FetchedBar {
        timestamp: Field::Value(timestamp),
        open: decimal(939, 2),
        high: decimal(942, 2),
        low: decimal(921, 2),
        close: decimal(925, 2),
        volume: decimal(1_234_567 + i64::from(more), 2),
        amount: decimal(1_142_000_025, 5),
    }
}

fn sorted(mut bars: Vec<FetchedBar>) -> Vec<FetchedBar> {
    bars.sort_by_key(|bar| match bar.timestamp {
        Field::Value(time) => time,
        _ => NaiveDateTime::MIN,
    });
    bars
}

#[test]
fn reads_own_collection_with_mapped_names_and_units() {
    for vendor in ALL {
        let database = UserDatabase::create(vendor, &unique("own"));
        fill_own(&database);
        block_on(read_own(vendor, &database.section(own_shape(vendor))));
    }
}

async fn read_own(vendor: SourceName, section: &SourcesSection) {
    let source = source(section);
    assert_eq!((source.name(), source.id()), (vendor.as_str(), SourceId::DATABASE));
    let bars = sorted(source.bars(&request(Frequency::Day, days(1, 3))).await.unwrap());
    assert_eq!(bars, [1, 2, 3].map(|at| own_bar(midnight(at), at)), "{vendor:?}");
    let bars = sorted(source.bars(&request(Frequency::Minute5, days(1, 2))).await.unwrap());
    let ends = [minute(1, 9, 35), minute(1, 15, 0), minute(2, 9, 35), minute(2, 15, 0)];
    assert_eq!(bars, ends.map(|end| own_bar(end, 0)), "{vendor:?}");
    let ticks = source.ticks(code(), day(1)).await.unwrap();
    assert_eq!(ticks.len(), 2, "{vendor:?}: two equal trades stay two");
    let tick = &ticks[0];
    assert_eq!((&tick.timestamp, &tick.price), (&Field::Value(minute(1, 9, 31)), &decimal(94, 1)));
    assert_eq!((&tick.volume, &tick.direction), (&decimal(300, 2), &decimal(1, 0)));
    let factors = source.factors(code(), days(0, 4)).await.unwrap();
    assert_eq!(factors.len(), 5);
    assert!(factors.iter().all(|row| row.factor == decimal(116_719, 3)), "{vendor:?} {factors:?}");
    let mut stocks = source.stocks().await.unwrap();
    stocks.sort_by_key(|stock| format!("{:?}", stock.code));
    assert_eq!(stocks.len(), 2);
    assert_eq!(
        (&stocks[1].code, &stocks[1].name),
        (&Field::Value("sz000001".into()), &Field::Value("平安银行".into()))
    );
    assert_eq!((&stocks[1].list_date, &stocks[1].industry), (&Field::Value(midnight(0)), &Field::Missing));
    let calendar = source.trade_days().await.unwrap();
    let num_open = calendar.iter().filter(|row| row.is_open == decimal(1, 0)).count();
    assert_eq!((calendar.len(), num_open), (5, 4), "{vendor:?}");

    // One request returns all securities of a day if one table holds them.
    let has_days = source.abilities(DataKind::Bars).rows_per_day_call.is_some();
    assert_eq!(has_days, vendor != SourceName::Redis);
    if has_days {
        let mut of_day = source.day_bars(day(1)).await.unwrap();
        of_day.sort_by_key(|(code, _)| *code);
        let expected = [(code(), own_bar(midnight(1), 1)), ("600000.SH".parse().unwrap(), own_bar(midnight(1), 0))];
        assert_eq!(of_day, expected, "{vendor:?}");
    }
    let answer = probe(section, vendor).await.unwrap();
    assert_eq!(answer.faults, [""; 0], "{vendor:?}");
    assert_eq!(answer.facts.len(), DataKind::ALL.len());
}

#[test]
fn too_many_rows_are_an_error_and_not_a_part_of_them() {
    for vendor in ALL {
        let database = UserDatabase::create(vendor, &unique("many"));
        fill_own(&database);
        let few = |rows_per_request| database.section(MappingSection { rows_per_request, ..own_shape(vendor) });
        let error = block_on(async { source(&few(4)).factors(code(), days(0, 4)).await.unwrap_err() });
        let is_clear = matches!(&error.kind, SourceErrorKind::BadAnswer(text) if text.contains("more than 4 rows"));
        assert!(is_clear && error.to_string().contains("adj"), "{vendor:?}: {error}");
        let exactly = block_on(async { source(&few(5)).factors(code(), days(0, 4)).await.unwrap() });
        assert_eq!(exactly.len(), 5);
        let error = block_on(async { source(&few(1)).stocks().await.unwrap_err() });
        assert!(error.to_string().contains("more than 1 rows"), "{vendor:?}: {error}");
    }
}

#[test]
fn passes_unreadable_values_to_the_validator() {
    for vendor in ALL {
        let database = UserDatabase::create(vendor, &unique("odd"));
        let bar = [
            ("code", Type::Text),
            ("timestamp", Type::Text),
            ("open", Type::Text),
            ("high", Type::Text),
            ("low", Type::Text),
            ("close", Type::Text),
            ("volume", Type::Text),
            ("amount", Type::Text),
            ("frequency", Type::Whole),
        ];
        let huge = "9".repeat(60_000);
        let row = vec![
            json!("000001.SZ"),
            json!("2024-01-02"),
            Value::Null,
            json!("abc"),
            json!(""),
            json!("1e300"),
            json!(huge),
            json!("NaN"),
            json!(1),
        ];
        database.put("bar", &Key::SortedSet("ginkgo:bars:000001.SZ:1d", 1), &bar, &[row]);
        let section = database.section(MappingSection::default());
        let bars = block_on(async { source(&section).bars(&request(Frequency::Day, days(0, 1))).await.unwrap() });
        let expected = FetchedBar {
            timestamp: Field::Value(midnight(0)),
            open: Field::Missing,
            high: Field::unreadable("abc"),
            low: Field::Missing,
            close: Field::unreadable("1e300"),
            volume: Field::unreadable(&huge),
            amount: Field::Missing,
        };
        assert_eq!(bars, [expected], "{vendor:?}");
    }
}

#[test]
fn a_table_or_column_that_is_not_there_is_named() {
    for vendor in ALL {
        let database = UserDatabase::create(vendor, &unique("lacks"));
        let few = [("code", Type::Text), ("timestamp", Type::Time), ("frequency", Type::Whole)];
        let row = vec![json!("000001.SZ"), json!("2024-01-02 00:00:00"), json!(1)];
        database.put("bar", &Key::SortedSet("ginkgo:bars:000001.SZ:1d", 1), &few, &[row]);
        let section = database.section(MappingSection::default());
        let (bars, factors) = block_on(async {
            let source = source(&section);
            (source.bars(&request(Frequency::Day, days(0, 1))).await, source.factors(code(), days(0, 1)).await)
        });
        let error = factors.unwrap_err();
        let text = error.to_string();
        let named = if vendor == SourceName::Redis { "ginkgo:factors:000001.SZ" } else { "adjustfactor" };
        assert!(matches!(error.kind, SourceErrorKind::BadRequest(_)) && text.contains(named), "{vendor:?}: {text}");
        assert!(text.contains("there is no ") && text.contains("shape.tables"), "{vendor:?}: {text}");
        assert!(
            text.contains(&format!(
                "source {}: adjustment factors of 000001.SZ 2024-01-02..2024-01-03",
                vendor.as_str()
            )),
            "{text}"
        );
        match bars {
            // Documents may lack fields: missing values are reported per row.
            Ok(bars) => assert_eq!((bars.len(), &bars[0].open), (1, &Field::Missing), "{vendor:?}"),
            Err(error) => {
                assert!(error.to_string().contains("open") && !error.kind.is_transient(), "{vendor:?}: {error}");
            }
        }
        assert_eq!(
            matches!(vendor, SourceName::MongoDb | SourceName::Redis),
            block_on(source(&section).bars(&request(Frequency::Day, days(0, 1)))).is_ok()
        );
        let answer = block_on(probe(&section, vendor)).unwrap();
        let faults = answer.faults.join("\n");
        let mapping = format!("sources.{}.shape", vendor.as_str());
        assert!(
            faults.contains("daily bars: ") && faults.contains("has no column ") && faults.contains("it has "),
            "{faults}"
        );
        assert!(
            faults.contains("open, high, low, close, volume, amount") && faults.contains(&format!("{mapping}.columns")),
            "{faults}"
        );
        assert!(faults.contains("calendar: there is no ") && faults.contains(&format!("{mapping}.tables")), "{faults}");
    }
}

#[test]
fn unreachable_or_silent_database_is_transient() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for vendor in ALL {
        for port in [free_port(), silent.local_addr().unwrap().port()] {
            let mut section = SourcesSection { bars: vec![vendor], ..SourcesSection::default() };
            let host = || "127.0.0.1".to_owned();
            (section.clickhouse.host, section.clickhouse.port, section.clickhouse.timeout_ms) = (host(), port, 700);
            (section.mysql.host, section.mysql.port, section.mysql.timeout_ms) = (host(), port, 700);
            (section.mongodb.host, section.mongodb.port, section.mongodb.timeout_ms) = (host(), port, 700);
            (section.redis.host, section.redis.port, section.redis.timeout_ms) = (host(), port, 700);
            let begun = std::time::Instant::now();
            let error =
                block_on(async { source(&section).bars(&request(Frequency::Day, days(0, 1))).await.unwrap_err() });
            assert!(error.kind.is_transient() && begun.elapsed() < Duration::from_secs(5), "{vendor:?}: {error}");
            assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
        }
    }
}

#[test]
fn a_wrong_password_is_refused_and_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let engine = PrivateClickHouse::start_as(folder.path(), 0, Some(("reader", "right-pw")));
    for vendor in ALL {
        let database = UserDatabase::create(vendor, &unique("login"));
        let mut section = database.section(MappingSection::default());
        if vendor == SourceName::Redis {
            database.redis(&["CONFIG", "SET", "requirepass", "right-pw"]);
        }
        let wrong = || Some("wrong-pw".to_owned().into());
        (section.clickhouse.port, section.clickhouse.user, section.clickhouse.database) =
            (engine.port, "reader".into(), "default".into());
        (section.clickhouse.host, section.clickhouse.password) = ("127.0.0.1".into(), wrong());
        (section.mysql.password, section.mongodb.password, section.redis.password) = (wrong(), wrong(), wrong());
        let error = block_on(async { source(&section).bars(&request(Frequency::Day, days(0, 1))).await.unwrap_err() });
        let text = format!("{error} {error:?} {section:?}");
        assert!(matches!(error.kind, SourceErrorKind::Unauthorized(_)), "{vendor:?}: {text}");
        assert!(!text.contains("-pw"), "{text}");
        let reason = block_on(probe(&section, vendor)).unwrap_err();
        assert!(reason.contains("login refused") && !reason.contains("-pw"), "{vendor:?}: {reason}");
    }
}

#[test]
fn reports_wrong_redis_types_and_invalid_json() {
    let database = UserDatabase::create(SourceName::Redis, "");
    let section = database.section(MappingSection::default());
    let bars = || block_on(async { source(&section).bars(&request(Frequency::Day, days(0, 1))).await.unwrap_err() });
    let key = "ginkgo:bars:000001.SZ:1d";
    database.redis(&["SET", key, "x"]);
    assert!(bars().to_string().contains("holds a string, but a zset is expected"), "{}", bars());
    database.redis(&["DEL", key]);
    database.redis(&["ZADD", key, "1704124800", "<html>"]);
    assert!(
        matches!(bars().kind, SourceErrorKind::BadAnswer(text) if text.contains("row 1") && text.contains("<html>"))
    );
    let ticks = block_on(async { source(&section).ticks(code(), day(0)).await.unwrap() });
    assert_eq!(ticks, [], "a day without trades has no key");
}
