// Upstream: baostock_server
// Downstream: tushare_data, tushare_other
// Role: Answers BaoStock's queries from a data set, as rows of text in the vendor's format.

use std::collections::BTreeSet;

use chrono::NaiveDate;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::tushare_data::{DailyRow, Dataset};
use crate::tushare_other::minute_bars;

/// An error answer: code and text.
pub type Refusal = (&'static str, &'static str);

/// The result of a query: columns and rows.
pub struct Found {
    /// The column names, joined as the vendor joins them.
    pub columns: String,
    /// The rows.
    pub rows: Vec<Vec<String>>,
}

const NO_CODE: Refusal = ("10004011", "证券代码不正确");
const BAD_PARAMETER: Refusal = ("10004006", "参数错误");
/// The columns of a daily bar in the answer with all shares of a day.
const DAY_COLUMNS: &str =
    "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg,isST";

/// Answers a query by its message kind and parameters (without method, user and page).
pub fn answer(dataset: &Dataset, kind: &str, params: &[&str]) -> Result<Found, Refusal> {
    match (kind, params) {
        ("95", [code, fields, start, end, frequency, adjust]) => {
            let range = range(start, end)?;
            k_data(dataset, &code_of(dataset, code)?, fields, range, frequency, adjust)
        }
        ("98", [day]) => {
            let day = date(day)?;
            let rows = dataset.codes().flat_map(|code| day_rows(dataset, code, DAY_COLUMNS, (day, day), "3"));
            Ok(Found { columns: DAY_COLUMNS.to_owned(), rows: rows.collect() })
        }
        ("33", [start, end]) => Ok(calendar(dataset, range(start, end)?)),
        ("35", [day]) => Ok(all_stock(dataset, date(day)?)),
        ("15", [code, start, end]) => Ok(events(dataset, &code_of(dataset, code)?, range(start, end)?)),
        ("45", [code, _name]) => Ok(stock_basic(dataset, code)),
        _ => Err(("10004020", "错误的消息类型")),
    }
}

fn date(text: &str) -> Result<NaiveDate, Refusal> {
    text.parse().map_err(|_| BAD_PARAMETER)
}

fn range(start: &str, end: &str) -> Result<(NaiveDate, NaiveDate), Refusal> {
    Ok((date(start)?, date(end)?))
}

/// Converts `sh.600000` to `600000.SH`.
fn code_of(dataset: &Dataset, code: &str) -> Result<String, Refusal> {
    let (exchange, digits) = code.split_once('.').ok_or(NO_CODE)?;
    let code = format!("{digits}.{}", exchange.to_uppercase());
    if dataset.codes().any(|known| known == code) { Ok(code) } else { Err(NO_CODE) }
}

fn written(code: &str) -> String {
    let (digits, exchange) = code.split_once('.').unwrap_or((code, ""));
    format!("{}.{digits}", exchange.to_lowercase())
}

fn k_data(
    dataset: &Dataset,
    code: &str,
    fields: &str,
    range: (NaiveDate, NaiveDate),
    frequency: &str,
    adjust: &str,
) -> Result<Found, Refusal> {
    let rows = match frequency {
        "d" => day_rows(dataset, code, fields, range, adjust).collect(),
        "5" | "15" | "30" | "60" => {
            let step = frequency.parse().map_err(|_| BAD_PARAMETER)?;
            let mut bars = minute_bars(dataset, code, step, range.0, range.1);
            bars.reverse();
            bars.iter().map(|bar| fields.split(',').map(|field| minute_cell(bar, code, field)).collect()).collect()
        }
        _ => return Err(BAD_PARAMETER),
    };
    Ok(Found { columns: fields.to_owned(), rows })
}

fn day_rows<'a>(
    dataset: &'a Dataset,
    code: &'a str,
    fields: &'a str,
    (first, last): (NaiveDate, NaiveDate),
    adjust: &'a str,
) -> impl Iterator<Item = Vec<String>> + 'a {
    let rows = dataset.rows(code).iter().filter(move |row| first <= row.date && row.date <= last);
    rows.map(move |row| {
        let last = dataset.rows(code).last().map_or(row.date, |row| row.date);
        let ratio = match adjust {
            "1" => dataset.factor(code, row.date),
            "2" => dataset.factor(code, row.date) / dataset.factor(code, last),
            _ => 1.0,
        };
        let cell = |field: &str| match field.trim() {
            "isST" => u8::from(dataset.is_special(code)).to_string(),
            field => day_cell(row, code, field, ratio, adjust),
        };
        fields.split(',').map(cell).collect()
    })
}

/// Formats one cell. Non-numeric cells are sent unchanged. A volume of `0` marks a suspended day.
fn day_cell(row: &DailyRow, code: &str, field: &str, ratio: f64, adjust: &str) -> String {
    let [open, high, low, close, pre_close, vol, amount] = row.cells();
    let is_suspended = vol == "0";
    let price = |cell: &str| match cell.parse::<Decimal>() {
        Ok(price) if ratio == 1.0 => format!("{price:.10}"),
        Ok(_) => format!("{:.10}", cell.parse::<f64>().unwrap_or(0.0) * ratio),
        Err(_) => bare(cell),
    };
    let times = |cell: &str, factor: i64, places: usize| match cell.parse::<Decimal>() {
        _ if is_suspended => String::new(),
        Ok(number) => format!("{:.places$}", number * Decimal::from(factor)),
        Err(_) => bare(cell),
    };
    match field {
        "date" => row.date.to_string(),
        "code" => written(code),
        "open" => price(open),
        "high" => price(high),
        "low" => price(low),
        "close" => price(close),
        "preclose" => price(pre_close),
        "volume" => times(vol, 100, 0),
        "amount" => times(amount, 1_000, 4),
        "adjustflag" => adjust.to_owned(),
        "turn" => "0.500000".to_owned(),
        "tradestatus" => if is_suspended { "0" } else { "1" }.to_owned(),
        "pctChg" => {
            let number = |cell: &str| cell.parse::<f64>().unwrap_or(f64::NAN);
            format!("{:.6}", (number(close) / number(pre_close) - 1.0) * 100.0)
        }
        _ => String::new(),
    }
}

/// Strips the quotes of a JSON text; `null` becomes an empty cell.
fn bare(cell: &str) -> String {
    if cell == "null" { String::new() } else { cell.trim_matches('"').to_owned() }
}

fn minute_cell(bar: &Value, code: &str, field: &str) -> String {
    let time = bar["trade_time"].as_str().unwrap_or_default();
    let number = |name: &str| bar[name].as_f64().unwrap_or_default();
    match field.trim() {
        "date" => time.get(..10).unwrap_or_default().to_owned(),
        "time" => format!("{}000", time.replace(['-', ' ', ':'], "")),
        "code" => written(code),
        "open" | "high" | "low" | "close" => format!("{:.10}", number(field)),
        "volume" => format!("{:.0}", number("vol")),
        "amount" => format!("{:.4}", number("amount")),
        "adjustflag" => "3".to_owned(),
        _ => String::new(),
    }
}

/// All days on which any security has a bar.
fn open_days(dataset: &Dataset) -> BTreeSet<NaiveDate> {
    dataset.codes().flat_map(|code| dataset.rows(code)).map(|row| row.date).collect()
}

/// The blank between the two column names is the vendor's.
fn calendar(dataset: &Dataset, (first, last): (NaiveDate, NaiveDate)) -> Found {
    let open = open_days(dataset);
    let bounds = open.first().zip(open.last());
    let days = bounds.into_iter().flat_map(|(oldest, newest)| {
        let (first, last) = (first.max(*oldest), last.min(*newest));
        first.iter_days().take_while(move |day| *day <= last)
    });
    let rows = days.map(|day| vec![day.to_string(), u8::from(open.contains(&day)).to_string()]);
    Found { columns: "calendar_date, is_trading_day".to_owned(), rows: rows.collect() }
}

fn name_of(code: &str) -> String {
    format!("股票{}", code.split('.').next().unwrap_or_default())
}

fn all_stock(dataset: &Dataset, day: NaiveDate) -> Found {
    let is_open = open_days(dataset).contains(&day);
    let codes = dataset.codes().filter(|_| is_open);
    let rows = codes.map(|code| vec![written(code), "1".to_owned(), name_of(code)]).collect();
    Found { columns: "code,tradeStatus,code_name".to_owned(), rows }
}

/// One row for each day on which a security's factor changes.
fn events(dataset: &Dataset, code: &str, (first, last): (NaiveDate, NaiveDate)) -> Found {
    let newest = dataset.rows(code).last().map(|row| dataset.factor(code, row.date)).unwrap_or(1.0);
    let mut before = 1.0;
    let mut rows = Vec::new();
    for row in dataset.rows(code) {
        let factor = dataset.factor(code, row.date);
        if factor != before && first <= row.date && row.date <= last {
            let [fore, back] = [factor / newest, factor].map(|number| format!("{number:.6}"));
            rows.push(vec![written(code), row.date.to_string(), fore, back.clone(), back]);
        }
        before = factor;
    }
    Found { columns: "code,dividOperateDate,foreAdjustFactor,backAdjustFactor,adjustFactor".to_owned(), rows }
}

/// The data set's shares, one index and one delisted share.
fn stock_basic(dataset: &Dataset, code: &str) -> Found {
    let share = |code: &str| [&written(code), &name_of(code), "2000-01-01", "", "1", "1"].map(str::to_owned).to_vec();
    let mut rows: Vec<Vec<String>> = dataset.codes().map(share).collect();
    rows.push(["sh.000001", "上证综合指数", "1991-07-15", "", "2", "1"].map(str::to_owned).to_vec());
    rows.push(["sh.600001", "邯郸钢铁", "1998-01-22", "2009-12-29", "1", "0"].map(str::to_owned).to_vec());
    rows.retain(|row| code.is_empty() || row[0] == code);
    Found { columns: "code,code_name,ipoDate,outDate,type,status".to_owned(), rows }
}
