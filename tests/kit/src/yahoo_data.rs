// Upstream: yahoo_server
// Downstream: tushare_data, tushare_other
// Role: Yahoo's chart responses over a data set: parallel arrays, labelled with start times, adjusted for splits.

use std::collections::BTreeMap;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::{Map, Value, json};

use crate::tushare_data::Dataset;
use crate::tushare_other::minute_bars;

/// Splits by code and first day at the new price, as numerator and denominator.
pub type Splits = BTreeMap<String, BTreeMap<NaiveDate, (u32, u32)>>;

/// The parallel arrays of a response.
#[derive(Default)]
struct Arrays {
    timestamp: Vec<i64>,
    /// Open, high, low, close, volume.
    values: [Vec<Value>; 5],
    adjclose: Vec<Value>,
}

/// A parsed request.
pub struct Ask<'a> {
    /// The Yahoo symbol, such as `600000.SS`.
    pub symbol: &'a str,
    /// The security code, such as `600000.SH`.
    pub code: &'a str,
    /// The interval, such as `1d` or `5m`.
    pub interval: &'a str,
    /// Start and exclusive end in Unix seconds.
    pub period: (i64, i64),
    /// Whether only the last candle is requested.
    pub last_alone: bool,
}

/// Converts a Shanghai wall-clock time to Unix seconds.
pub fn epoch(time: NaiveDateTime) -> i64 {
    time.and_utc().timestamp() - 8 * 3_600
}

fn open_of(day: NaiveDate) -> i64 {
    epoch(day.and_time(NaiveTime::MIN)) + (9 * 60 + 30) * 60
}

/// The response for a known security.
pub fn chart(dataset: &Dataset, splits: &Splits, ask: &Ask<'_>) -> Value {
    let no_splits = BTreeMap::new();
    let splits = splits.get(ask.code).unwrap_or(&no_splits);
    let mut arrays = Arrays::default();
    match ask.interval.strip_suffix('m').and_then(|minutes| minutes.parse::<usize>().ok()) {
        None => days(dataset, splits, ask, &mut arrays),
        Some(minutes) => minute_candles(dataset, ask, minutes, &mut arrays),
    }
    if ask.last_alone {
        let keep = arrays.timestamp.len().saturating_sub(1);
        arrays.timestamp.drain(..keep);
        arrays.values.iter_mut().for_each(|values| drop(values.drain(..keep)));
        arrays.adjclose.drain(..keep.min(arrays.adjclose.len()));
    }
    let [open, high, low, close, volume] = arrays.values;
    let mut indicators = json!({"quote": [{"open": open, "high": high, "low": low, "close": close, "volume": volume}]});
    if ask.interval == "1d" {
        indicators["adjclose"] = json!([{"adjclose": arrays.adjclose}]);
    }
    let mut series = json!({"meta": meta(dataset, ask), "indicators": indicators});
    if arrays.timestamp.is_empty() {
        series["indicators"] = json!({"quote": [{}]});
    } else {
        series["timestamp"] = json!(arrays.timestamp);
    }
    let events = events(dataset, splits, ask);
    if !events.is_empty() {
        series["events"] = Value::Object(events);
    }
    json!({"chart": {"result": [series], "error": null}})
}

fn days(dataset: &Dataset, splits: &BTreeMap<NaiveDate, (u32, u32)>, ask: &Ask<'_>, arrays: &mut Arrays) {
    for row in dataset.rows(ask.code) {
        let start = open_of(row.date);
        if !(ask.period.0..ask.period.1).contains(&start) {
            continue;
        }
        let later = splits.range(row.date..).filter(|(day, _)| **day > row.date);
        let ratio: f64 =
            later.map(|(_, (numerator, denominator))| f64::from(*numerator) / f64::from(*denominator)).product();
        let [open, high, low, close, _, vol, _] = row.cells();
        arrays.timestamp.push(start);
        // The vendor keeps prices in single precision.
        let price =
            |cell: &str| cell.parse::<f64>().map_or(Value::Null, |price| json!(f64::from((price / ratio) as f32)));
        for (values, cell) in arrays.values.iter_mut().zip([open, high, low, close]) {
            values.push(price(cell));
        }
        let volume =
            vol.parse::<f64>().map_or(Value::Null, |lots| json!(((lots * 100.0).round() * ratio).round() as i64));
        arrays.values[4].push(volume);
        let dividends = dataset.factor(ask.code, row.date) / 1.05;
        arrays.adjclose.push(close.parse::<f64>().map_or(Value::Null, |close| json!(close / ratio * dividends)));
    }
}

fn minute_candles(dataset: &Dataset, ask: &Ask<'_>, minutes: usize, arrays: &mut Arrays) {
    let mut bars = minute_bars(dataset, ask.code, minutes, NaiveDate::MIN, NaiveDate::MAX);
    bars.reverse();
    for bar in bars {
        let end = bar["trade_time"].as_str().unwrap_or_default().to_owned();
        let Ok(end) = NaiveDateTime::parse_from_str(&end, "%Y-%m-%d %H:%M:%S") else { continue };
        let start = epoch(end) - minutes as i64 * 60;
        // Yahoo has no row for the opening auction.
        if end.time() == NaiveTime::from_hms_opt(9, 30, 0).unwrap_or_default()
            || !(ask.period.0..ask.period.1).contains(&start)
        {
            continue;
        }
        arrays.timestamp.push(start);
        for (values, name) in arrays.values.iter_mut().zip(["open", "high", "low", "close"]) {
            values.push(bar[name].clone());
        }
        arrays.values[4].push(json!(bar["vol"].as_f64().unwrap_or_default() as i64));
    }
}

fn meta(dataset: &Dataset, ask: &Ask<'_>) -> Value {
    let rows = dataset.rows(ask.code);
    let first = rows.first().map(|row| open_of(row.date)).unwrap_or_default();
    let last = rows.last().map(|row| row.date).unwrap_or_default();
    let session = |day: NaiveDate| json!({"timezone": "CST", "start": open_of(day), "end": open_of(day) + 19_800, "gmtoffset": 28_800});
    let mut meta = json!({
        "currency": "CNY", "symbol": ask.symbol, "exchangeName": if ask.symbol.ends_with("SS") { "SHH" } else { "SHZ" },
        "instrumentType": "EQUITY", "firstTradeDate": first, "regularMarketTime": open_of(last) + 19_800,
        "hasPrePostMarketData": false, "gmtoffset": 28_800, "timezone": "CST", "exchangeTimezoneName": "Asia/Shanghai",
        "regularMarketPrice": 1.0, "priceHint": 2, "dataGranularity": ask.interval, "range": "",
        "currentTradingPeriod": {"pre": session(last), "regular": session(last), "post": session(last)},
        "validRanges": ["1d", "5d", "1mo", "3mo", "6mo", "1y", "2y", "5y", "10y", "ytd", "max"],
    });
    if ask.interval != "1d" {
        meta["tradingPeriods"] = rows.iter().map(|row| json!([session(row.date)])).collect();
    }
    meta
}

/// The events in the requested period: a dividend in the middle of the days, where the data set's factor changes, and
/// the splits.
fn events(dataset: &Dataset, splits: &BTreeMap<NaiveDate, (u32, u32)>, ask: &Ask<'_>) -> Map<String, Value> {
    let rows = dataset.rows(ask.code);
    let asked = |at: &i64| (ask.period.0..ask.period.1).contains(at);
    let mut events = Map::new();
    if let Some(at) = rows.get(rows.len() / 2).map(|row| open_of(row.date)).filter(asked) {
        events.insert("dividends".to_owned(), json!({at.to_string(): {"amount": 0.3, "date": at}}));
    }
    let splits: Map<String, Value> = splits
        .iter()
        .map(|(day, ratio)| (open_of(*day), ratio))
        .filter(|(at, _)| asked(at))
        .map(|(at, (numerator, denominator))| {
            let (numerator, denominator) = (f64::from(*numerator), f64::from(*denominator));
            let text = format!("{numerator}:{denominator}");
            let event = json!({"date": at, "numerator": numerator, "denominator": denominator, "splitRatio": text});
            (at.to_string(), event)
        })
        .collect();
    if !splits.is_empty() {
        events.insert("splits".to_owned(), Value::Object(splits));
    }
    events
}
