// Upstream: none
// Downstream: kit, main_job
// Role: Tests a folder as the only source: every kind of data from CSV and from Parquet, exact in the stores.

use std::path::Path;

use kit::mysql::Tables;
use kit::scene::Scene;
use kit::tushare_data::Dataset;

use crate::main_job::PROGRAM;

/// For each table: file name, Parquet fixture, and the same rows as CSV.
const TABLES: [(&str, &str, &str); 7] = [
    (
        "000001.SZ.daily",
        "pandas_days",
        "date,open,high,low,close,volume,amount\n\
         20240102,9.39,9.42,9.21,9.21,115827715,1075742252.45\n\
         20240103,9.19,9.22,9.15,9.2,73361005,673673613.54\n\
         20240104,9.19,9.19,9.08,9.11,86419280,787452700.75\n",
    ),
    (
        // The last row lacks a price.
        "600000.SH.daily",
        "pyarrow_days",
        "date,open,high,low,close,volume,amount\n\
         2024-01-02,9.39,9.42,9.21,9.21,115827715,1075742252.45\n\
         2024-01-03,9.19,9.22,9.15,9.2,73361005,673673613.54\n\
         2024-01-04,9.19,9.19,,9.11,86419280,787452700.75\n",
    ),
    (
        "000001.SZ.1m",
        "pyarrow_minutes",
        "time,open,high,low,close,volume,amount\n\
         2024-01-02 09:31:00,9.39,9.4,9.38,9.4,1200,11280\n\
         2024-01-02 09:32:00,9.4,9.42,9.39,9.41,3400,31977.5\n",
    ),
    (
        "000001.SZ.ticks",
        "pandas_ticks",
        "time,price,volume,direction\n\
         2024-01-02 09:30:03,9.39,120,0\n\
         2024-01-02 09:30:03,9.38,30,1\n\
         2024-01-02 14:59:57,9.21,7,2\n",
    ),
    ("000001.SZ.factors", "polars_factors", "date,adj_factor\n20240102,116.719\n20240103,117.1\n"),
    (
        "stocks",
        "polars_stocks",
        "code,name,industry,list_date,delist_date\n\
         000001.SZ,平安银行,银行,19910403,\n\
         600000.SH,浦发银行,银行,19991110,\n",
    ),
    ("trade_days", "pandas_trade_days", "date,is_open\n20240101,0\n20240102,1\n"),
];

fn write(folder: &Path, form: &str) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet");
    for (table, fixture, csv) in TABLES {
        let path = folder.join(format!("{table}.{form}"));
        match form {
            "csv" => std::fs::write(path, csv).unwrap(),
            _ => drop(std::fs::copy(fixtures.join(format!("{fixture}.parquet")), path).unwrap()),
        }
    }
}

#[test]
fn imports_every_kind_from_csv_and_parquet() {
    for form in ["csv", "parquet"] {
        let mut scene = Scene::new(&format!("files_{form}"), PROGRAM, Dataset::empty());
        let tables = Tables::create(&scene.name);
        let folder = scene.folder().join("data");
        std::fs::create_dir(&folder).unwrap();
        write(&folder, form);
        for kind in ["bars", "minute_bars", "ticks", "factors", "stocks", "trade_days"] {
            scene.set(&format!("sources.{kind}"), "[files]");
        }
        scene.set("sources.files.folder", folder.display());
        let _worker = scene.start("n1");
        scene.send(&commands());
        scene.wait_until_committed();
        assert_eq!(scene.dead_letters().len(), 0, "{form}");
        assert_bars(&scene, form);
        assert_ticks_and_factors(&scene, form);
        assert_lists(&tables, form);
    }
}

/// One command per table.
fn commands() -> [Vec<u8>; 7] {
    let days = r#""start_date":"20240101","end_date":"20240105""#;
    let commands = [
        format!(r#"{{"command":"bar_snapshot","params":{{"code":"000001.SZ",{days}}}}}"#),
        format!(r#"{{"command":"bar_snapshot","params":{{"code":"600000.SH",{days}}}}}"#),
        format!(r#"{{"command":"bar_snapshot","params":{{"code":"000001.SZ","frequency":"1m",{days}}}}}"#),
        format!(r#"{{"command":"tick","params":{{"code":"000001.SZ",{days}}}}}"#),
        r#"{"command":"adjustfactor","params":{"code":"000001.SZ"}}"#.to_owned(),
        r#"{"command":"stockinfo","params":{}}"#.to_owned(),
        r#"{"command":"trade_day","params":{}}"#.to_owned(),
    ];
    commands.map(String::into_bytes)
}

fn lines(scene: &Scene, sql: &str) -> Vec<String> {
    scene.database.query(sql).lines().map(str::to_owned).collect()
}

fn assert_bars(scene: &Scene, form: &str) {
    let values = "toString(timestamp), toString(open), toString(high), toString(low), toString(close), \
                  toString(volume), toString(amount), source";
    let bars = |code: &str, frequency: u8| {
        lines(
            scene,
            &format!("SELECT {values} FROM bar WHERE code = '{code}' AND frequency = {frequency} ORDER BY timestamp"),
        )
    };
    let all = [
        "2024-01-02 00:00:00\t9.39\t9.42\t9.21\t9.21\t1158277\t1075742.25\t0",
        "2024-01-03 00:00:00\t9.19\t9.22\t9.15\t9.2\t733610\t673673.61\t0",
        "2024-01-04 00:00:00\t9.19\t9.19\t9.08\t9.11\t864192\t787452.7\t0",
    ];
    assert_eq!(bars("000001.SZ", 1), all, "{form}");
    assert_eq!(bars("600000.SH", 1), all[..2], "{form}: the third row lacks a price");
    let minutes = [
        "2024-01-02 09:31:00\t9.39\t9.4\t9.38\t9.4\t12\t11.28\t0",
        "2024-01-02 09:32:00\t9.4\t9.42\t9.39\t9.41\t34\t31.98\t0",
    ];
    assert_eq!(bars("000001.SZ", 2), minutes, "{form}");
    assert_eq!(lines(scene, "SELECT count() FROM bar"), ["7"], "{form}");
}

fn assert_ticks_and_factors(scene: &Scene, form: &str) {
    let ticks = "SELECT toString(timestamp), toString(price), volume, direction, source FROM `000001_SZ_Tick` \
                 ORDER BY timestamp, direction";
    let expected = [
        "2024-01-02 09:30:03\t9.39\t120\t0\t0",
        "2024-01-02 09:30:03\t9.38\t30\t1\t0",
        "2024-01-02 14:59:57\t9.21\t7\t2\t0",
    ];
    assert_eq!(lines(scene, ticks), expected, "{form}");
    let factors = "SELECT code, toDate(timestamp), toString(adjustfactor), source FROM adjustfactor ORDER BY timestamp";
    assert_eq!(
        lines(scene, factors),
        ["000001.SZ\t2024-01-02\t116.719\t0", "000001.SZ\t2024-01-03\t117.1\t0"],
        "{form}"
    );
}

fn assert_lists(tables: &Tables, form: &str) {
    let stocks = tables.rows("SELECT code, code_name, industry, list_date, delist_date FROM stock_info ORDER BY code");
    let stock = |code: &str, name: &str, listed: &str| {
        [code, name, "银行", &format!("{listed} 00:00:00"), "2100-01-01 00:00:00"].map(str::to_owned)
    };
    let expected = [stock("000001.SZ", "平安银行", "1991-04-03"), stock("600000.SH", "浦发银行", "1999-11-10")];
    assert_eq!(stocks, expected, "{form}");
    let calendar = tables.rows("SELECT timestamp, is_open FROM trade_day ORDER BY timestamp");
    assert_eq!(calendar, [["2024-01-01 00:00:00", "0"], ["2024-01-02 00:00:00", "1"]], "{form}");
}
