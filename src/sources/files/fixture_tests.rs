// Upstream: cargo
// Downstream: actors, config, source
// Role: Tests of Parquet files as pandas, polars and pyarrow write them: every kind of data, value by value.

use std::path::Path;

use actors::domain::{
    Code, DateRange, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Field, Frequency,
};
use actors::ports::{BarRequest, MarketSource, SourceErrorKind};
use rust_decimal::Decimal;
use tempfile::TempDir;

use super::FilesSource;
use crate::config::FilesSection;

/// A folder with fixtures under the names of tables.
fn folder(tables: &[(&str, &str)]) -> (TempDir, FilesSource) {
    let folder = tempfile::tempdir().unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet");
    for (fixture, table) in tables {
        let from = fixtures.join(format!("{fixture}.parquet"));
        std::fs::copy(from, folder.path().join(format!("{table}.parquet"))).unwrap();
    }
    let section = FilesSection { folder: folder.path().to_owned(), ..FilesSection::default() };
    let source = FilesSource::new(&section).unwrap();
    (folder, source)
}

fn code() -> Code {
    "000001.SZ".parse().unwrap()
}

fn january() -> DateRange {
    DateRange { start: "2024-01-01".parse().unwrap(), end: "2024-01-31".parse().unwrap() }
}

fn request(frequency: Frequency) -> BarRequest {
    BarRequest { code: code(), frequency, range: january() }
}

fn number(text: &str) -> Field<Decimal> {
    if text.is_empty() { Field::Missing } else { Field::Value(text.parse().unwrap()) }
}

fn bar(time: &str, values: [&str; 6]) -> FetchedBar {
    let [open, high, low, close, volume, amount] = values.map(number);
    FetchedBar { timestamp: Field::Value(time.parse().unwrap()), open, high, low, close, volume, amount }
}

/// The three days that each of three files contains.
fn days() -> [FetchedBar; 3] {
    [
        bar("2024-01-02T00:00:00", ["9.39", "9.42", "9.21", "9.21", "1158277.15", "1075742.25245"]),
        bar("2024-01-03T00:00:00", ["9.19", "9.22", "9.15", "9.2", "733610.05", "673673.61354"]),
        bar("2024-01-04T00:00:00", ["9.19", "9.19", "9.08", "9.11", "864192.80", "787452.70075"]),
    ]
}

#[tokio::test]
async fn reads_the_same_days_from_three_tools() {
    for fixture in ["pandas_days", "polars_days", "pyarrow_days"] {
        let (_folder, source) = folder(&[(fixture, "000001.SZ.daily")]);
        let mut expected = days();
        if fixture == "pyarrow_days" {
            expected[2].low = Field::Missing;
        }
        assert_eq!(source.bars(&request(Frequency::Day)).await.unwrap(), expected, "{fixture}");
    }
}

#[tokio::test]
async fn minutes_ticks_and_factors_have_their_values() {
    let (_folder, source) = folder(&[
        ("pyarrow_minutes", "000001.SZ.1m"),
        ("pandas_ticks", "000001.SZ.ticks"),
        ("polars_factors", "000001.SZ.factors"),
    ]);
    let minutes = [
        bar("2024-01-02T09:31:00", ["9.39", "9.4", "9.38", "9.4", "12", "11.28"]),
        bar("2024-01-02T09:32:00", ["9.4", "9.42", "9.39", "9.41", "34", "31.9775"]),
    ];
    assert_eq!(source.bars(&request(Frequency::Minute1)).await.unwrap(), minutes);
    let tick = |time: &str, price, volume, direction| FetchedTick {
        timestamp: Field::Value(format!("2024-01-02T{time}").parse().unwrap()),
        price: number(price),
        volume: number(volume),
        direction: number(direction),
    };
    let ticks =
        [tick("09:30:03", "9.39", "120", "0"), tick("09:30:03", "9.38", "30", "1"), tick("14:59:57", "9.21", "7", "2")];
    assert_eq!(source.ticks(code(), "2024-01-02".parse().unwrap()).await.unwrap(), ticks);
    let factor = |day: &str, factor| FetchedFactor {
        timestamp: Field::Value(format!("{day}T00:00:00").parse().unwrap()),
        factor: number(factor),
    };
    let factors = [factor("2024-01-02", "116.719"), factor("2024-01-03", "117.1")];
    assert_eq!(source.factors(code(), january()).await.unwrap(), factors);
}

#[tokio::test]
async fn both_lists_have_their_values() {
    let (_folder, source) = folder(&[("polars_stocks", "stocks"), ("pandas_trade_days", "trade_days")]);
    let text = |text: &str| Field::Value(text.to_owned());
    let day = |text: &str| Field::Value(format!("{text}T00:00:00").parse().unwrap());
    let stock = |code, name, listed| FetchedStock {
        code: text(code),
        name: text(name),
        industry: text("银行"),
        list_date: day(listed),
        delist_date: Field::Missing,
    };
    let stocks = [stock("000001.SZ", "平安银行", "1991-04-03"), stock("600000.SH", "浦发银行", "1999-11-10")];
    assert_eq!(source.stocks().await.unwrap(), stocks);
    let trade_day = |date, is_open| FetchedTradeDay { date: day(date), is_open: number(is_open) };
    assert_eq!(source.trade_days().await.unwrap(), [trade_day("2024-01-01", "0"), trade_day("2024-01-02", "1")]);
}

#[tokio::test]
async fn prefers_parquet_and_names_damaged_files() {
    let (folder, source) = folder(&[("polars_days", "000001.SZ.daily")]);
    let path = folder.path().join("000001.SZ.daily.csv");
    std::fs::write(path, "date,open,high,low,close,volume,amount\n20240102,1,1,1,1,1,1\n").unwrap();
    assert_eq!(source.bars(&request(Frequency::Day)).await.unwrap(), days());
    assert_eq!(source.probe().await.unwrap().facts, ["files of daily bars: 2"]);
    for (content, part) in [(&b"<html>not found</html>"[..], "does not end like a Parquet file"), (b"", "too short")] {
        std::fs::write(folder.path().join("000001.SZ.daily.parquet"), content).unwrap();
        let error = source.bars(&request(Frequency::Day)).await.unwrap_err();
        assert!(matches!(error.kind, SourceErrorKind::BadAnswer(_)), "{error}");
        assert!(error.to_string().contains("000001.SZ.daily.parquet: it "), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}
