// Upstream: none
// Downstream: actors, data_worker, kit, main_job, user_database
// Role: Tests existing ClickHouse tables that the worker cannot write: named at the start and by `config check`.

use std::process::Command;

use actors::ports::{BarStore, FactorStore, StoreErrorClass};
use data_worker::adapters::clickhouse::{ClickHouseBars, ClickHouseFactors};
use data_worker::config::ClickHouseSection;
use kit::clickhouse::Database;
use kit::scene::{Scene, TIMEOUT};
use kit::services::{host_and_port, unique};
use kit::wait::wait_for;

use crate::main_job::{Market, PROGRAM, market};
use crate::user_database::block_on;

const COLUMNS: &str = "code String, open Decimal(16,2), high Decimal(16,2), low Decimal(16,2), close Decimal(16,2), \
                       volume Int32, amount Decimal(16,2), frequency Int8, uuid String, meta String, `desc` String, \
                       timestamp DateTime, source Int8";

const FACTOR_COLUMNS: &str = "code String, foreadjustfactor Decimal(16,6), backadjustfactor Decimal(16,6), \
                              adjustfactor Decimal(16,6), uuid String, meta String, `desc` String, timestamp DateTime, \
                              source Int8";

fn section(database: &Database) -> ClickHouseSection {
    let (host, port) = host_and_port(&database.url);
    ClickHouseSection { host, port, database: database.name.clone(), ..ClickHouseSection::default() }
}

/// What a worker finds out about the table `bar` at its start.
fn checked(database: &Database) -> Result<(), String> {
    let outcome = block_on(ClickHouseBars::new(&section(database)).prepare());
    outcome.map_err(|error| {
        assert_eq!(error.class, StoreErrorClass::Schema, "{error}");
        error.reason
    })
}

#[test]
fn refuses_engines_that_cannot_insert_and_delete() {
    let database = Database::shared(&unique("engines"));
    database.create();
    database.create_bar("other", "MergeTree ORDER BY code");
    let name = &database.name;
    for (engine, create) in [
        ("View", "CREATE VIEW bar AS SELECT * FROM other".to_owned()),
        ("MaterializedView", "CREATE MATERIALIZED VIEW bar TO other AS SELECT * FROM other".to_owned()),
        ("Merge", format!("CREATE TABLE bar AS other ENGINE = Merge('{name}', '^other$')")),
        ("Log", format!("CREATE TABLE bar ({COLUMNS}) ENGINE = Log")),
        ("TinyLog", format!("CREATE TABLE bar ({COLUMNS}) ENGINE = TinyLog")),
        ("Memory", format!("CREATE TABLE bar ({COLUMNS}) ENGINE = Memory")),
        ("Null", format!("CREATE TABLE bar ({COLUMNS}) ENGINE = Null")),
        ("Buffer", format!("CREATE TABLE bar AS other ENGINE = Buffer('{name}', 'other', 1, 1, 1, 1, 1, 1, 1)")),
        (
            "SummingMergeTree",
            format!("CREATE TABLE bar ({COLUMNS}) ENGINE = SummingMergeTree ORDER BY (code, timestamp, frequency)"),
        ),
    ] {
        database.query(&create);
        let reason = checked(&database).expect_err(engine);
        assert!(reason.contains(&format!("table {name}.bar: engine {engine}: ")), "{reason}");
        assert!(reason.contains("needed: MergeTree or ReplacingMergeTree"), "{reason}");
        database.query("DROP TABLE bar");
    }
    for engine in ["MergeTree ORDER BY code", "ReplacingMergeTree ORDER BY (code, timestamp, frequency)"] {
        database.create_bar("bar", engine);
        assert_eq!(checked(&database), Ok(()), "{engine}");
        database.query("DROP TABLE bar");
    }
}

#[test]
fn refuses_columns_that_take_no_values() {
    let database = Database::shared(&unique("columns"));
    database.create();
    let create = |columns: &str| {
        database.query(&format!("CREATE TABLE bar ({columns}) ENGINE = MergeTree ORDER BY (code, timestamp)"));
    };
    for (kind, expression) in [("MATERIALIZED", "'{}'"), ("ALIAS", "code"), ("EPHEMERAL", "")] {
        create(&COLUMNS.replace("meta String", &format!("meta String {kind} {expression}")));
        let reason = checked(&database).expect_err(kind);
        assert!(reason.contains(&format!("column meta: {kind}, so it takes no values")), "{reason}");
        database.query("DROP TABLE bar");
    }
    // A default, and columns of somebody else's, are no obstacle.
    create(&format!("{}, own UInt8 MATERIALIZED 1", COLUMNS.replace("meta String", "meta String DEFAULT '{}'")));
    assert_eq!(checked(&database), Ok(()));
}

#[test]
fn factor_table_of_wrong_engine_is_named() {
    let database = Database::shared(&unique("factors"));
    database.create();
    database.query(&format!("CREATE TABLE adjustfactor ({FACTOR_COLUMNS}) ENGINE = Log"));
    let error = block_on(ClickHouseFactors::new(&section(&database)).prepare()).unwrap_err();
    assert!(error.reason.contains("adjustfactor: engine Log: "), "{error}");
}

#[test]
fn unusable_tables_are_named_before_and_at_the_start() {
    let Market { data, .. } = market(1, 1);
    let scene = Scene::new("unusable", PROGRAM, data);
    scene.list_codes(&[]);
    let database = &scene.database;
    database.query(&format!("CREATE TABLE adjustfactor ({FACTOR_COLUMNS}) ENGINE = Memory"));
    database.query("CREATE TABLE data_quality_report (report_id String) ENGINE = Log");
    database.query("CREATE TABLE `000001_SZ_Tick` (code String) ENGINE = Log");
    let file = scene.write_config("n1");
    let mut check = Command::new(PROGRAM);
    check.args(["config", "check", "--connect"]).arg(&file).env("GINKGO_DIR", scene.folder());
    let found = check.output().unwrap();
    let out = String::from_utf8(found.stdout).unwrap();
    let report = out.lines().find(|line| line.contains("ClickHouse")).unwrap();
    assert_eq!(found.status.code(), Some(1), "{out}");
    assert!(report.starts_with("FAILED"), "{report}");
    for part in [
        "adjustfactor: engine Memory: ",
        "data_quality_report: engine Log: ",
        "table of ticks 000001_SZ_Tick: engine Log: ",
        ".bar does not exist yet",
    ] {
        assert!(report.contains(part), "{part}: {report}");
    }

    // The worker does not start; reports and ticks alone would not have kept it from that.
    let mut worker = scene.start("n1");
    assert_eq!(worker.wait(TIMEOUT).code(), Some(1));
    assert!(worker.log_text().contains("adjustfactor: engine Memory: "), "{}", worker.log_text());
    database.query("DROP TABLE adjustfactor");
    let worker = scene.start("n1");
    scene.wait_for_status("n1", "running");
    wait_for("the table of reports in the log", TIMEOUT, || {
        worker.log_text().contains("data_quality_report: engine Log: ").then_some(())
    });
}
