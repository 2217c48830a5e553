// Upstream: tests::it, tushare_other, tushare_server
// Downstream: tushare_data
// Role: Tushare's protocol without its transport: call parameters, the interface `daily`, the response format.

use std::collections::HashMap;
use std::fmt::Write as _;

use chrono::{Datelike, NaiveDate};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::tushare_data::{DailyRow, Dataset};

/// The vendor's text for an invalid token.
pub const BAD_TOKEN_TEXT: &str = "您的token不对，请确认。";

/// The default columns of `daily`.
const DAILY_COLUMNS: [&str; 11] =
    ["ts_code", "trade_date", "open", "high", "low", "close", "pre_close", "change", "pct_chg", "vol", "amount"];

/// The format of `trade_date`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LabelForm {
    /// `"20240102"`, as the vendor documents it.
    #[default]
    Text,
    /// `20240102`.
    Number,
    /// `"2024-01-02"`.
    Dashed,
    /// `"2024-01-01T16:00:00Z"`: Shanghai's midnight in UTC.
    Zoned,
    /// `"2024-01-02 15:00:00"`: the market close.
    Close,
    /// Unix seconds of Shanghai's midnight.
    EpochSeconds,
}

impl LabelForm {
    fn push_json(self, text: &mut String, day: NaiveDate) {
        let number = |day: NaiveDate| day.year() * 10_000 + day.month() as i32 * 100 + day.day() as i32;
        let before = day.pred_opt().unwrap_or(day);
        // Does not use chrono's formatting, which takes longer than the rest of a row.
        let _never_fails = match self {
            Self::Text => write!(text, "\"{}\"", number(day)),
            Self::Number => write!(text, "{}", number(day)),
            Self::Dashed => write!(text, "\"{day}\""),
            Self::Zoned => write!(text, "\"{before}T16:00:00Z\""),
            Self::Close => write!(text, "\"{day} 15:00:00\""),
            Self::EpochSeconds => {
                let midnight = day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp();
                write!(text, "{}", midnight - 8 * 3_600)
            }
        };
    }
}

/// A row's cells, as [`DailyRow::cells`] returns them.
type Cells<'r> = [&'r str; DailyRow::CELLS];

/// A received call; unknown parameters are ignored, as the vendor does.
#[derive(Debug, Deserialize)]
pub struct Call {
    /// The name of the interface.
    pub api_name: String,
    /// The account's token.
    #[serde(default)]
    pub token: Option<String>,
    #[serde(default)]
    params: Option<Map<String, Value>>,
    #[serde(default)]
    fields: Option<String>,
}

impl Call {
    /// A parameter as text; null and empty count as absent.
    pub fn param(&self, name: &str) -> Option<String> {
        match self.params.as_ref()?.get(name)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// The requested codes; empty means all.
    pub fn codes(&self) -> Vec<String> {
        let list = self.param("ts_code").unwrap_or_default();
        list.split(',').map(str::trim).filter(|code| !code.is_empty()).map(str::to_owned).collect()
    }

    /// The same call for the first of its codes alone.
    pub fn of_first_code(mut self) -> Self {
        let first = self.codes().into_iter().next();
        if let (Some(first), Some(params)) = (first, self.params.as_mut()) {
            params.insert("ts_code".to_owned(), first.into());
        }
        self
    }

    /// The requested days, first and last inclusive, in either date format.
    pub fn days(&self) -> (NaiveDate, NaiveDate) {
        let day = |name: &str| {
            let text: String = self.param(name)?.chars().filter(char::is_ascii_digit).take(8).collect();
            NaiveDate::parse_from_str(&text, "%Y%m%d").ok()
        };
        match day("trade_date") {
            Some(day) => (day, day),
            None => (day("start_date").unwrap_or(NaiveDate::MIN), day("end_date").unwrap_or(NaiveDate::MAX)),
        }
    }

    /// Offset and limit of the page; the limit is at most `cap`.
    pub fn page(&self, cap: usize) -> (usize, usize) {
        let number = |name: &str| self.param(name)?.parse::<usize>().ok();
        (number("offset").unwrap_or(0), number("limit").unwrap_or(cap).min(cap))
    }

    /// The requested columns that exist, or `default`.
    pub fn columns<'c>(&self, default: &[&'c str], extra: &[&'c str]) -> Vec<&'c str> {
        let asked = self.fields.as_deref().unwrap_or_default();
        if asked.trim().is_empty() {
            return default.to_vec();
        }
        let find = |name: &str| default.iter().chain(extra).find(|column| **column == name).copied();
        asked.split(',').filter_map(|name| find(name.trim())).collect()
    }
}

/// An error response, which the vendor sends with HTTP 200.
pub fn refusal(code: i64, text: &str) -> String {
    json!({"request_id": "kit", "code": code, "msg": text, "message": text, "data": null}).to_string()
}

/// A response with rows; `items` is their JSON without the outer brackets.
pub fn answer(columns: &[&str], items: &str, has_more: bool) -> String {
    let fields = Value::from(columns);
    format!(
        r#"{{"request_id":"kit","code":0,"data":{{"fields":{fields},"items":[{items}],"has_more":{has_more},"count":-1}},"msg":""}}"#
    )
}

/// Responses of `daily`. Every security's rows are rendered once; a response is a slice of them.
#[derive(Debug, Default)]
pub struct DailyAnswers {
    rendered: HashMap<String, HashMap<(String, LabelForm), Rendered>>,
}

/// All rows of a security as response text, newest first.
#[derive(Debug)]
struct Rendered {
    text: String,
    /// The start of each row, and the end of the last one.
    starts: Vec<usize>,
}

impl DailyAnswers {
    /// The vendor's maximum number of rows per response.
    pub const MAX_ROWS: usize = 6_000;

    /// Discards the rendered rows of a security whose rows changed; `None` discards all.
    pub fn forget(&mut self, code: Option<&str>) {
        match code {
            Some(code) => drop(self.rendered.remove(code)),
            None => self.rendered.clear(),
        }
    }

    /// The response to a call.
    pub fn answer(&mut self, dataset: &Dataset, call: &Call, form: LabelForm) -> String {
        let columns = call.columns(&DAILY_COLUMNS, &[]);
        let (first, last) = call.days();
        let (mut skip, mut room) = call.page(Self::MAX_ROWS);
        let mut codes = call.codes();
        if codes.is_empty() {
            codes = dataset.codes().map(str::to_owned).collect();
        }
        let (mut items, mut has_more) = (String::new(), false);
        for code in codes {
            let rows = dataset.rows(&code);
            // Rows are oldest first here and newest first in a response.
            let newest = rows.len() - rows.partition_point(|row| row.date <= last);
            let oldest = rows.len() - rows.partition_point(|row| row.date < first);
            let from = (newest + skip).min(oldest);
            skip -= from - newest.min(from);
            let to = (from + room).min(oldest);
            room -= to - from;
            has_more |= to < oldest;
            if from < to {
                let text = self.rendered(&code, rows, &columns, form).slice(from, to);
                if !items.is_empty() {
                    items.push(',');
                }
                items.push_str(text);
            }
        }
        answer(&columns, &items, has_more)
    }

    fn rendered(&mut self, code: &str, rows: &[DailyRow], columns: &[&str], form: LabelForm) -> &Rendered {
        let of_code = self.rendered.entry(code.to_owned()).or_default();
        of_code.entry((columns.join(","), form)).or_insert_with(|| Rendered::new(code, rows, columns, form))
    }
}

impl Rendered {
    fn new(code: &str, rows: &[DailyRow], columns: &[&str], form: LabelForm) -> Self {
        let (mut text, mut starts) = (String::new(), vec![0]);
        for row in rows.iter().rev() {
            let cells = row.cells();
            let mut separator = '[';
            for column in columns {
                text.push(separator);
                push_cell(&mut text, code, row.date, &cells, column, form);
                separator = ',';
            }
            text.push_str("],");
            starts.push(text.len());
        }
        Self { text, starts }
    }

    fn slice(&self, from: usize, to: usize) -> &str {
        // Leaves out the comma after the last row.
        &self.text[self.starts[from]..self.starts[to] - 1]
    }
}

fn push_cell(text: &mut String, code: &str, date: NaiveDate, cells: &Cells<'_>, column: &str, form: LabelForm) {
    let [open, high, low, close, pre_close, vol, amount] = cells;
    let derived = || Some((close.parse::<f64>().ok()?, pre_close.parse::<f64>().ok()?));
    match column {
        "ts_code" => text.extend(["\"", code, "\""]),
        "trade_date" => form.push_json(text, date),
        "open" => text.push_str(open),
        "high" => text.push_str(high),
        "low" => text.push_str(low),
        "close" => text.push_str(close),
        "pre_close" => text.push_str(pre_close),
        "vol" => text.push_str(vol),
        "amount" => text.push_str(amount),
        _ => match derived() {
            Some((close, pre_close)) if column == "change" => text.push_str(&format!("{:.2}", close - pre_close)),
            Some((close, pre_close)) => text.push_str(&format!("{:.4}", (close / pre_close - 1.0) * 100.0)),
            None => text.push_str("null"),
        },
    }
}
