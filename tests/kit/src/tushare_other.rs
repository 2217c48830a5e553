// Upstream: baostock_data, tushare_server, yahoo_data
// Downstream: minute_rows, tushare_data, tushare_protocol
// Role: Tushare's interfaces besides `daily`: factors, calendar, securities, suspensions, minutes.

//! Covers what the vendor's client and `pro_bar` request, over the data set's days. Each security has one ex-right
//! event in the middle of its days unless a test sets factors.

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};
use serde_json::{Value, json};

use crate::minute_rows::{MinuteRow, minute_rows};
use crate::tushare_data::{Dataset, ListedStock};
use crate::tushare_protocol::{Call, answer};

/// The response body, or the code and text of an error.
pub fn answer_to(dataset: &Dataset, call: &Call) -> Result<String, (i64, &'static str)> {
    match call.api_name.as_str() {
        "adj_factor" => Ok(page(call, 6_000, &["ts_code", "trade_date", "adj_factor"], &[], factors(dataset, call))),
        "trade_cal" => {
            let columns = ["exchange", "cal_date", "is_open", "pretrade_date"];
            Ok(page(call, 12_000, &columns, &[], calendar(dataset, call)))
        }
        "stock_basic" => {
            let extra = ["exchange", "list_status", "delist_date", "fullname", "curr_type"];
            Ok(page(call, 6_000, &STOCK_COLUMNS, &extra, stocks(dataset, call)))
        }
        "suspend_d" => {
            let columns = ["ts_code", "trade_date", "suspend_timing", "suspend_type"];
            Ok(page(call, 5_000, &columns, &[], suspensions(dataset, call)))
        }
        "stk_mins" => match (call.codes().first(), minutes_per_bar(call)) {
            (Some(code), Some(step)) => {
                let columns = ["ts_code", "trade_time", "close", "open", "high", "low", "vol", "amount"];
                Ok(page(call, 8_000, &columns, &[], minutes(dataset, call, code, step)))
            }
            _ => Err((-2001, "必填参数")),
        },
        _ => Err((-1, "请指定正确的接口名")),
    }
}

const STOCK_COLUMNS: [&str; 10] =
    ["ts_code", "symbol", "name", "area", "industry", "cnspell", "market", "list_date", "act_name", "act_ent_type"];

/// The response with the requested page and columns of `rows`.
fn page(call: &Call, cap: usize, default: &[&str], extra: &[&str], rows: Vec<Value>) -> String {
    let columns = call.columns(default, extra);
    let (offset, limit) = call.page(cap);
    let has_more = rows.len() > offset + limit;
    let cells = |row: &Value| Value::from_iter(columns.iter().map(|column| row[*column].clone())).to_string();
    let items: Vec<String> = rows.iter().skip(offset).take(limit).map(cells).collect();
    answer(&columns, &items.join(","), has_more)
}

fn ymd(day: NaiveDate) -> String {
    day.format("%Y%m%d").to_string()
}

/// All days on which any security has a bar.
fn open_days(dataset: &Dataset) -> BTreeSet<NaiveDate> {
    dataset.codes().flat_map(|code| dataset.rows(code)).map(|row| row.date).collect()
}

fn factors(dataset: &Dataset, call: &Call) -> Vec<Value> {
    let (first, last) = call.days();
    let mut rows = Vec::new();
    let asked_for = call.codes();
    let codes = if asked_for.is_empty() { dataset.codes().map(ToString::to_string).collect() } else { asked_for };
    for code in codes {
        let asked = dataset.rows(&code).iter().rev().filter(|row| first <= row.date && row.date <= last);
        rows.extend(asked.map(|row| {
            let factor = dataset.factor(&code, row.date);
            json!({"ts_code": code, "trade_date": ymd(row.date), "adj_factor": factor})
        }));
    }
    rows
}

fn calendar(dataset: &Dataset, call: &Call) -> Vec<Value> {
    let open = open_days(dataset);
    let (Some(&oldest), Some(&newest)) = (open.first(), open.last()) else { return Vec::new() };
    let (first, last) = call.days();
    let (first, last) = (first.max(oldest), last.min(newest));
    let exchange = call.param("exchange").unwrap_or_else(|| "SSE".to_owned());
    let wanted = call.param("is_open").and_then(|wanted| wanted.parse::<u64>().ok());
    let days = first.iter_days().take_while(|day| *day <= last).map(|day| {
        let before = open.range(..day).next_back().copied().or_else(|| day.checked_sub_days(Days::new(1)));
        let is_open = u8::from(open.contains(&day));
        json!({"exchange": exchange, "cal_date": ymd(day), "is_open": is_open, "pretrade_date": before.map(ymd)})
    });
    let mut rows: Vec<Value> =
        days.filter(|row| wanted.is_none_or(|wanted| row["is_open"].as_u64() == Some(wanted))).collect();
    rows.reverse();
    rows
}

/// The securities of one state; without a state the listed ones.
fn stocks(dataset: &Dataset, call: &Call) -> Vec<Value> {
    let status = call.param("list_status").filter(|status| !status.is_empty()).unwrap_or_else(|| "L".to_owned());
    let row = |(code, listed): (String, ListedStock)| {
        let (symbol, exchange) = code.split_once('.').unwrap_or((&code, ""));
        let exchange = match exchange {
            "SH" => "SSE",
            "SZ" => "SZSE",
            _ => "BSE",
        };
        json!({
            "ts_code": code, "symbol": symbol, "name": listed.name, "area": null, "industry": "银行",
            "market": "主板", "list_date": listed.listed, "delist_date": listed.delisted, "exchange": exchange,
            "list_status": listed.status, "curr_type": "CNY",
        })
    };
    dataset.listings().into_iter().filter(|(_, listed)| listed.status == status).map(row).collect()
}

/// Suspensions and, for each, a resumption on the next day; newest first.
fn suspensions(dataset: &Dataset, call: &Call) -> Vec<Value> {
    let (first, last) = call.days();
    let (codes, kind) = (call.codes(), call.param("suspend_type"));
    let mut rows = Vec::new();
    for (day, code, timing) in dataset.suspensions() {
        let timing = (!timing.is_empty()).then_some(timing);
        for (day, timing, kind) in [(Some(*day), timing, "S"), (day.succ_opt(), None, "R")] {
            rows.extend(day.map(|day| (day, code, timing, kind)));
        }
    }
    rows.retain(|(day, code, _, of)| {
        (first..=last).contains(day)
            && (codes.is_empty() || codes.contains(*code))
            && kind.as_ref().is_none_or(|kind| kind == of)
    });
    rows.sort_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
    let object = |(day, code, timing, kind)| json!({"ts_code": code, "trade_date": ymd(day), "suspend_timing": timing, "suspend_type": kind});
    rows.into_iter().map(object).collect()
}

fn minutes_per_bar(call: &Call) -> Option<usize> {
    let step = call.param("freq")?.to_lowercase().strip_suffix("min")?.parse().ok()?;
    [1, 5, 15, 30, 60].contains(&step).then_some(step)
}

fn minutes(dataset: &Dataset, call: &Call, code: &str, step: usize) -> Vec<Value> {
    let (from, to) = (call.param("start_date").unwrap_or_default(), call.param("end_date"));
    let (first, last) = call.days();
    let mut rows = minute_bars(dataset, code, step, first, last);
    rows.retain(|row| {
        let time = row["trade_time"].as_str().unwrap_or_default();
        from.as_str() <= time && to.as_ref().is_none_or(|to| time <= to.as_str())
    });
    rows
}

/// A security's bars of `step` minutes from day `first` to day `last`, newest first, in shares and yuan, labelled with
/// their end. A day's price is linear from open to close. One-minute bars include a row at 09:30 for the opening
/// auction.
pub fn minute_bars(dataset: &Dataset, code: &str, step: usize, first: NaiveDate, last: NaiveDate) -> Vec<Value> {
    let days = dataset.rows(code).iter().rev().filter(|row| first <= row.date && row.date <= last);
    let bars = days.flat_map(|row| minute_rows(row, step, step == 1).into_iter().rev());
    let yuan = |hundredths: i64| hundredths as f64 / 100.0;
    let row = |bar: MinuteRow| {
        json!({
            "ts_code": code, "trade_time": bar.end.format("%Y-%m-%d %H:%M:%S").to_string(), "open": yuan(bar.open),
            "close": yuan(bar.close), "high": yuan(bar.high()), "low": yuan(bar.low()), "vol": bar.shares as f64,
            "amount": yuan(bar.amount()),
        })
    };
    bars.map(row).collect()
}
