// Upstream: eastmoney_server
// Downstream: minute_rows, tushare_data
// Role: Response bodies of the EastMoney server: the data set's bars and securities in the vendor's formats.

use std::collections::HashMap;

use chrono::NaiveDate;
use serde_json::{Value, json};

use crate::minute_rows::{MinuteRow, hundredths, minute_rows};
use crate::tushare_data::{DailyRow, Dataset};

type Params = HashMap<String, String>;

/// The access key; without it `kline` returns no data.
const UT: &str = "7eea3edcaed734bea9cbfc24409ed989";

/// The fields of a listed security in the vendor's order, which ignores the requested order.
const FIELDS: [u16; 33] = [
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 26, 62, 100, 115, 128, 140,
    141, 136, 152,
];

fn param<'p>(params: &'p Params, name: &str) -> &'p str {
    params.get(name).map_or("", String::as_str)
}

fn envelope(rc: i64, data: &Value) -> String {
    json!({"rc": rc, "rt": 17, "svr": 181_669_437, "lt": 1, "full": 0, "dlmkts": "", "data": data}).to_string()
}

/// The security of a `secid` such as `1.600000`.
fn security<'d>(dataset: &'d Dataset, params: &Params) -> Option<(&'d str, &'d [DailyRow])> {
    let (market, digits) = param(params, "secid").split_once('.')?;
    let code = dataset
        .codes()
        .find(|code| code.starts_with(digits) && code.ends_with(".SH") == (market == "1") && digits.len() == 6)?;
    Some((code, dataset.rows(code)))
}

/// A row's numbers: open, high, low, close, previous close in hundredths of a yuan; volume in whole lots; amount in
/// yuan.
fn numbers(row: &DailyRow) -> ([i64; 5], i64, f64) {
    let [open, high, low, close, before, lots, amount] = row.cells().map(|cell| cell.parse::<f64>().unwrap_or(0.0));
    let prices = [open, high, low, close, before].map(|price| (price * 100.0).round() as i64);
    (prices, lots.trunc() as i64, amount * 1_000.0)
}

/// The response of `kline`. `fqt` 1 and 2 adjust prices by the data set's factors.
pub fn klines(dataset: &Dataset, params: &Params, minute_days: usize) -> String {
    if param(params, "ut") != UT {
        return envelope(102, &Value::Null);
    }
    let Some((code, rows)) = security(dataset, params) else { return envelope(100, &Value::Null) };
    let (first, last) = (param(params, "beg"), param(params, "end"));
    let is_asked = |row: &&DailyRow| {
        let day = row.date.format("%Y%m%d").to_string();
        first <= day.as_str() && day.as_str() <= last
    };
    let klines: Vec<String> = match param(params, "klt").parse::<usize>() {
        Ok(step @ (5 | 15 | 30 | 60)) => {
            let known = rows.iter().skip(rows.len().saturating_sub(minute_days)).filter(is_asked);
            known.flat_map(|row| minute_rows(row, step, false)).map(|bar| kline(&bar)).collect()
        }
        _ => {
            let newest = rows.last().map_or(1.0, |row| dataset.factor(code, row.date));
            let factor = |day: NaiveDate| match param(params, "fqt") {
                "1" => dataset.factor(code, day) / newest,
                "2" => dataset.factor(code, day),
                _ => 1.0,
            };
            rows.iter().filter(is_asked).map(|row| daily_kline(row, factor(row.date))).collect()
        }
    };
    let market = u8::from(code.ends_with(".SH"));
    let data = json!({
        "code": &code[..6], "market": market, "name": name(code), "decimal": 2, "dktotal": rows.len(), "preKPrice": 1.0,
        "klines": klines,
    });
    envelope(0, &data)
}

fn daily_kline(row: &DailyRow, factor: f64) -> String {
    let (prices, lots, yuan) = numbers(row);
    let [open, high, low, close, before] = prices.map(|price| (price as f64 * factor).round() as i64);
    let percent = |part: i64| format!("{:.2}", part as f64 / before as f64 * 100.0);
    let [o, c, h, l] = [open, close, high, low].map(hundredths);
    let (span, gain, change) = (percent(high - low), percent(close - before), hundredths(close - before));
    format!("{},{o},{c},{h},{l},{lots},{yuan:.2},{span},{gain},{change},0.50", row.date)
}

/// A minute bar as eleven fields; those after the amount are constants.
fn kline(bar: &MinuteRow) -> String {
    let [o, c, h, l, amount] = [bar.open, bar.close, bar.high(), bar.low(), bar.amount()].map(hundredths);
    let (time, lots) = (bar.end.format("%Y-%m-%d %H:%M"), bar.shares / 100);
    format!("{time},{o},{c},{h},{l},{lots},{amount},0.10,0.00,0.00,0.01")
}

/// The response of `trends2`: one-minute bars of the last days, with a row for the opening auction. With `zero_opens`
/// those of all days but the newest have an open of 0.
pub fn trends(dataset: &Dataset, params: &Params, minute_days: usize, zero_opens: bool) -> String {
    let Some((code, rows)) = security(dataset, params) else { return envelope(100, &Value::Null) };
    let days = param(params, "ndays").parse::<usize>().unwrap_or(1).min(minute_days);
    let newest = rows.last().map(|row| row.date);
    let known = &rows[rows.len().saturating_sub(days)..];
    let trend = |bar: MinuteRow| {
        let [o, c, h, l, amount] = [bar.open, bar.close, bar.high(), bar.low(), bar.amount()].map(hundredths);
        let (time, lots) = (bar.end.format("%Y-%m-%d %H:%M"), bar.shares / 100);
        let o = if zero_opens && Some(bar.end.date()) != newest { "0.00".to_owned() } else { o };
        format!("{time},{o},{c},{h},{l},{lots},{amount},{c}0")
    };
    let trends: Vec<String> = known.iter().flat_map(|row| minute_rows(row, 1, true)).map(trend).collect();
    let data = json!({
        "code": &code[..6], "market": u8::from(code.ends_with(".SH")), "type": 2, "status": 0, "name": name(code),
        "decimal": 2, "preSettlement": 0.0, "preClose": 1.0, "trendsTotal": trends.len(), "time": 0, "kind": 1,
        "prePrice": 1.0, "trends": trends,
    });
    envelope(0, &data)
}

fn name(code: &str) -> String {
    format!("股票{}", &code[..6])
}

/// The response of `clist`.
pub fn list(dataset: &Dataset, params: &Params, page_size: usize) -> String {
    let codes: Vec<&str> = dataset.codes().collect();
    let asked: Vec<&str> = param(params, "fields").split(',').collect();
    let size = param(params, "pz").parse::<usize>().unwrap_or(20).clamp(1, page_size);
    let page = param(params, "pn").parse::<usize>().unwrap_or(1).max(1);
    let rows: Vec<String> =
        codes.iter().skip((page - 1) * size).take(size).map(|code| listed(dataset, code, &asked)).collect();
    if rows.is_empty() {
        return envelope(0, &Value::Null);
    }
    let (total, rows) = (codes.len(), rows.join(","));
    format!(
        r#"{{"rc":0,"rt":6,"svr":181669437,"lt":1,"full":1,"dlmkts":"","data":{{"total":{total},"diff":[{rows}]}}}}"#
    )
}

/// One security as JSON text: clients rely on the order of the fields.
fn listed(dataset: &Dataset, code: &str, asked: &[&str]) -> String {
    let last = dataset.rows(code).last();
    let ([open, high, low, close, before], lots, yuan) = last.map_or(([100; 5], 0, 0.0), numbers);
    let price = |hundredths: i64| json!(hundredths as f64 / 100.0);
    let value = |field: u16| match field {
        2 => price(close),
        3 => json!(((close - before) as f64 / before as f64 * 10_000.0).round() / 100.0),
        4 => price(close - before),
        5 => json!(lots),
        6 => json!(yuan),
        12 => json!(&code[..6]),
        13 => json!(u8::from(code.ends_with(".SH"))),
        14 => json!(name(code)),
        15 => price(high),
        16 => price(low),
        17 => price(open),
        18 => price(before),
        26 => json!(20_000_101),
        100 => json!("银行"),
        1 | 152 => json!(2),
        128 | 136 | 140 | 141 => json!("-"),
        _ => json!(0.0),
    };
    // A request for field 128 also returns 140 and 141.
    let brought = |field: u16| matches!(field, 140 | 141) && asked.contains(&"f128");
    let wanted = FIELDS.iter().filter(|field| asked.contains(&format!("f{field}").as_str()) || brought(**field));
    let fields: Vec<String> = wanted.map(|field| format!(r#""f{field}":{}"#, value(*field))).collect();
    format!("{{{}}}", fields.join(","))
}
