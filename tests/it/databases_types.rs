// Upstream: none
// Downstream: actors, data_worker, kit, main_job, user_database
// Role: Tests time columns of every type, `config check --connect` on databases, and servers that come back.

use std::process::Command;
use std::sync::Arc;

use actors::domain::{DateRange, Field, Frequency};
use actors::ports::{BarRequest, DataKind, MarketSource, MarketSources, SourceErrorKind};
use data_worker::config::{MappingSection, MongoDates, SourceName, SourcesSection, TimeFormat, TimeZone};
use data_worker::sources::ConfiguredSources;
use data_worker::sources::shared::budget::QuotaState;
use kit::clickhouse::{Database, PrivateClickHouse};
use kit::mysql::Tables;
use kit::redis::PrivateRedis;
use kit::scene::Scene;
use kit::services::{host_and_port, unique};
use kit::tushare_data::Dataset;
use serde_json::json;

use crate::main_job::PROGRAM;
use crate::user_database::{Key, Type, UserDatabase, block_on};

fn source(section: &SourcesSection) -> Arc<dyn MarketSource> {
    ConfiguredSources::build(section, &QuotaState::default()).unwrap().of(DataKind::Bars).remove(0)
}

fn request(frequency: Frequency) -> BarRequest {
    let day = |text: &str| text.parse().unwrap();
    let range = DateRange { start: day("2024-01-03"), end: day("2024-01-04") };
    BarRequest { code: "000001.SZ".parse().unwrap(), frequency, range }
}

/// The timestamps of the bars of 3 and 4 January.
fn times(section: &SourcesSection, frequency: Frequency) -> Vec<String> {
    let bars = block_on(async { source(section).bars(&request(frequency)).await.unwrap() });
    let mut times: Vec<String> = bars
        .iter()
        .map(|bar| match &bar.timestamp {
            Field::Value(time) => time.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    times.sort();
    times
}

/// A column type for times: type, format, zone, and a day and a minute of January, where `@` is the day of the month.
type TimeType = (&'static str, TimeFormat, TimeZone, &'static str, &'static str);

fn every_type_selects_the_same_bars(vendor: SourceName, types: &[TimeType], run: impl Fn(&str, &str)) {
    for (kind, time_format, time_zone, day, minute) in types {
        let database = UserDatabase::create(vendor, &unique("types"));
        let section = database.section(MappingSection {
            tables: vec!["minute_bars=minutes".into()],
            time_format: *time_format,
            time_zone: *time_zone,
            ..MappingSection::default()
        });
        for (table, form, frequency) in [("bar", day, 1), ("minutes", minute, 3)] {
            run(
                database.name(),
                &format!(
                    "CREATE TABLE {table} (code VARCHAR(16), timestamp {kind}, open INT, high INT, low INT, close INT, volume INT, \
                 amount INT, frequency INT){}",
                    if vendor == SourceName::ClickHouse { " ENGINE = MergeTree ORDER BY code" } else { "" }
                ),
            );
            for at in 2..=5 {
                let previous = format!("{:02}", at - 1);
                let time = form.replace('@', &format!("{at:02}")).replace('~', &previous);
                run(
                    database.name(),
                    &format!("INSERT INTO {table} VALUES ('000001.SZ', {time}, 1, 1, 1, 1, 1, 1, {frequency})"),
                );
            }
        }
        let days = times(&section, Frequency::Day);
        assert_eq!(days, ["2024-01-03 00:00:00", "2024-01-04 00:00:00"], "{vendor:?} {kind} {time_zone:?}");
        if !kind.starts_with("Date32") && !matches!(*kind, "Date" | "DATE") {
            let minutes = times(&section, Frequency::Minute5);
            assert_eq!(minutes, ["2024-01-03 09:35:00", "2024-01-04 09:35:00"], "{vendor:?} {kind} {time_zone:?}");
        }
    }
}

#[test]
fn every_type_of_clickhouse_selects_the_same_bars() {
    use TimeFormat::{Datetime, Digits};
    use TimeZone::{Shanghai, Utc};
    let (day, minute) = ("'2024-01-@ 00:00:00'", "'2024-01-@ 09:35:00'");
    // In UTC a Shanghai day begins on the previous day.
    let (utc_day, utc_minute) = ("'2024-01-~ 16:00:00'", "'2024-01-@ 01:35:00'");
    let types = [
        ("DateTime", Datetime, Shanghai, day, minute),
        ("DateTime('Asia/Shanghai')", Datetime, Shanghai, day, minute),
        ("DateTime('UTC')", Datetime, Utc, utc_day, utc_minute),
        ("DateTime64(3)", Datetime, Shanghai, day, minute),
        ("Date", Datetime, Shanghai, "'2024-01-@'", "'2024-01-@'"),
        ("Date32", Datetime, Shanghai, "'2024-01-@'", "'2024-01-@'"),
        ("String", Datetime, Shanghai, "'2024-01-@'", minute),
        ("LowCardinality(String)", Digits, Shanghai, "'202401@'", "'202401@093500'"),
        ("UInt64", Digits, Shanghai, "202401@", "202401@093500"),
    ];
    every_type_selects_the_same_bars(SourceName::ClickHouse, &types, |database, sql| {
        Database::shared(database).query(sql);
    });
}

#[test]
fn every_type_of_mysql_selects_the_same_bars() {
    use TimeFormat::{Datetime, Digits};
    use TimeZone::{Shanghai, Utc};
    let (day, minute) = ("'2024-01-@ 00:00:00'", "'2024-01-@ 09:35:00'");
    let (utc_day, utc_minute) = ("'2024-01-~ 16:00:00'", "'2024-01-@ 01:35:00'");
    let types = [
        ("DATETIME", Datetime, Shanghai, day, minute),
        ("DATETIME(6)", Datetime, Shanghai, day, minute),
        ("DATETIME", Datetime, Utc, utc_day, utc_minute),
        ("DATE", Datetime, Shanghai, "'2024-01-@'", "'2024-01-@'"),
        ("VARCHAR(32)", Datetime, Shanghai, "'2024-01-@'", minute),
        ("VARCHAR(32)", Digits, Shanghai, "'202401@'", "'202401@093500'"),
        ("BIGINT", Digits, Shanghai, "202401@", "202401@093500"),
    ];
    every_type_selects_the_same_bars(SourceName::MySql, &types, |database, sql| Tables::of(database).run(sql));
    // The source reads a TIMESTAMP in the configured zone; the test writes it in the session's zone, UTC.
    for time_zone in [Shanghai, Utc] {
        let types = [("TIMESTAMP", Datetime, time_zone, utc_day, utc_minute)];
        every_type_selects_the_same_bars(SourceName::MySql, &types, |database, sql| {
            Tables::of(database).run(&format!("SET time_zone = '+00:00'; {sql}"));
        });
    }
}

#[test]
fn reads_mongodb_instants_wall_clocks_and_texts() {
    for (kind, time, dates) in [
        (Type::Time, " 09:35:00", MongoDates::Instants),
        (Type::WallClock, " 09:35:00", MongoDates::WallClock),
        (Type::Text, " 09:35:00", MongoDates::Instants),
    ] {
        let database = UserDatabase::create(SourceName::MongoDb, &unique("dates"));
        let columns = [("code", Type::Text), ("timestamp", kind), ("frequency", Type::Whole), ("open", Type::Decimal)];
        let row = |at: u32, time: &str, frequency: i64| {
            vec![json!("000001.SZ"), json!(format!("2024-01-{at:02}{time}")), json!(frequency), json!(9.5)]
        };
        let mut rows: Vec<_> = (2..=5).map(|at| row(at, " 00:00:00", 1)).collect();
        rows.extend((2..=5).map(|at| row(at, time, 3)));
        database.put("bar", &Key::List(""), &columns, &rows);
        let mut section = database.section(MappingSection::default());
        section.mongodb.dates = dates;
        assert_eq!(times(&section, Frequency::Day), ["2024-01-03 00:00:00", "2024-01-04 00:00:00"], "{kind:?}");
        assert_eq!(times(&section, Frequency::Minute5), ["2024-01-03 09:35:00", "2024-01-04 09:35:00"], "{kind:?}");
        // A server without TLS fails a connection that requires it.
        section.mongodb.tls = true;
        section.mongodb.timeout_ms = 700;
        let error = block_on(async { source(&section).bars(&request(Frequency::Day)).await.unwrap_err() });
        assert!(matches!(error.kind, SourceErrorKind::Unreachable(_) | SourceErrorKind::Timeout(_)), "{error}");
    }
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let mut section = SourcesSection { bars: vec![SourceName::Redis], ..SourcesSection::default() };
    let fill = |server: &PrivateRedis| {
        let client = redis::Client::open(server.url()).unwrap();
        let mut zadd = redis::cmd("ZADD");
        zadd.arg("ginkgo:bars:000001.SZ:1d").arg(1_704_211_200).arg(r#"{"timestamp": "2024-01-03", "open": "9.19"}"#);
        zadd.exec(&mut client.get_connection().unwrap()).unwrap();
    };
    let server = PrivateRedis::start();
    fill(&server);
    (section.redis.host, section.redis.port) = host_and_port(&server.url());
    let source = source(&section);
    block_on(async {
        assert_eq!(source.bars(&request(Frequency::Day)).await.unwrap().len(), 1);
        let port = server.kill();
        let error = source.bars(&request(Frequency::Day)).await.unwrap_err();
        assert!(error.kind.is_transient(), "{error}");
        let server = PrivateRedis::start_on(port);
        fill(&server);
        assert_eq!(source.bars(&request(Frequency::Day)).await.unwrap().len(), 1, "at the first attempt");
    });
}

#[test]
fn check_reports_missing_columns_logins_and_keys() {
    let mut scene = Scene::new("check_databases", PROGRAM, Dataset::empty());
    scene.list_codes(&[]);
    let folder = scene.folder().to_owned();
    let engine = PrivateClickHouse::start_as(&folder.join("engine"), 0, Some(("reader", "right-pw")));
    let database = UserDatabase::create(SourceName::MySql, &format!("{}_other", scene.name));
    let bar = [("code", Type::Text), ("day", Type::Time), ("open", Type::Decimal)];
    database.put("bar", &Key::List(""), &bar, &[]);
    for (key, value) in database.settings() {
        scene.set(&format!("sources.mysql.{key}"), format!("\"{value}\""));
    }
    scene.set("sources.bars", "[mysql]").set("sources.ticks", "[clickhouse]").set("sources.trade_days", "[redis]");
    scene.set("sources.minute_bars", "[mysql]").set("sources.factors", "[redis]").set("sources.stocks", "[redis]");
    let (host, port) = host_and_port(&scene.redis_url);
    scene.set("sources.redis.host", host).set("sources.redis.port", port).set("sources.redis.database", 9);
    scene.set("sources.clickhouse.host", "127.0.0.1").set("sources.clickhouse.port", engine.port);
    scene.set("sources.clickhouse.user", "reader").set("sources.clickhouse.password", "wrong-pw");
    let check = |scene: &Scene| {
        let file = scene.write_config("n1");
        let arguments = ["config", "check", "--connect", file.to_str().unwrap()];
        let output =
            Command::new(PROGRAM).args(arguments).current_dir(&folder).env("GINKGO_DIR", &folder).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let (code, out) = check(&scene);
    assert_eq!(code, Some(1), "{out}");
    let report = |name: &str| out.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {out}"));
    let mysql = report("source MySQL");
    assert!(
        mysql.starts_with("FAILED")
            && mysql.contains("daily bars: table `bar` has no column frequency, timestamp, high"),
        "{mysql}"
    );
    assert!(mysql.contains("it has code, day, open; name others in sources.mysql.shape.columns"), "{mysql}");
    assert!(report("source ClickHouse").contains("login refused"), "{out}");
    assert!(report("source Redis").contains("calendar: there is no key `ginkgo:trade_days`"), "{out}");
    assert!(!out.contains("-pw"), "{out}");
    // An invalid mapping is rejected without contacting a server.
    scene.set("sources.mysql.shape.columns", "[\"bars.open=x`; DROP TABLE bar\"]");
    let (code, out) = check(&scene);
    assert_eq!(code, Some(1));
    assert!(out.contains("sources.mysql.shape") && out.contains("may hold letters"), "{out}");
}
