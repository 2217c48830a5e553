// Upstream: sources::tushare, sources::tushare::answer_tests, sources::tushare::transport
// Downstream: actors::domain::bar, actors::domain::code, sources::labels
// Role: Reads Tushare's answer to `daily`: rows, or why there are none. Pure.

//! The answer is `{"code": 0, "msg": …, "data": {"fields": […], "items": [[…], …], "has_more": bool, "count": n}}`
//! (Tushare documentation, HTTP interface). Columns come in the order of `fields`; a missing value is `null`. Units are
//! Ginkgo's own already: lots of 100 shares and thousand yuan.
//!
//! Numbers are read from the JSON text itself into decimals, so that no digit passes through binary floating point.

use std::fmt;

use actors::domain::{Code, FetchedBar, Field};
use chrono::NaiveDateTime;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::sources::labels;

/// The columns asked for; the request names them, so that a new default column changes nothing.
pub const COLUMNS: [&str; 8] = ["ts_code", "trade_date", "open", "high", "low", "close", "vol", "amount"];

/// The longest piece of an answer an error shows, in characters.
const MAX_EXCERPT: usize = 120;

/// One page of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The rows, in the order of the answer.
    pub bars: Vec<FetchedBar>,
    /// Whether the vendor says that there are more; `false` where it says nothing.
    pub has_more: bool,
}

/// An answer that gives no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The vendor refused, in its own words.
    #[error("code {code}: {message}")]
    Refused {
        /// The business code.
        code: i64,
        /// The vendor's text.
        message: String,
    },
    /// The body is not what the protocol promises.
    #[error("{0}")]
    Unreadable(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    code: &'a RawValue,
    #[serde(default)]
    msg: Option<String>,
    #[serde(default)]
    message: Option<String>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Data<'a> {
    fields: Vec<String>,
    #[serde(borrow)]
    items: &'a RawValue,
    #[serde(default)]
    has_more: Option<bool>,
}

/// Reads the body of an answer about `code`.
pub fn parse(body: &str, code: Code) -> Result<Page, AnswerError> {
    let unreadable = |what: &str, reason: &dyn fmt::Display| {
        AnswerError::Unreadable(format!("{what}: {reason}; the body begins `{}`", excerpt(body)))
    };
    let envelope: Envelope<'_> = serde_json::from_str(body).map_err(|error| unreadable("no answer object", &error))?;
    let number = envelope.code.get().trim_matches('"').parse::<i64>();
    let number = number.map_err(|error| unreadable("`code` is no number", &error))?;
    if number != 0 {
        let message = envelope.msg.filter(|text| !text.is_empty()).or(envelope.message).unwrap_or_default();
        return Err(AnswerError::Refused { code: number, message: excerpt(&message) });
    }
    let data = envelope.data.ok_or_else(|| unreadable("no `data`", &"code is 0"))?;
    let data: Data<'_> = serde_json::from_str(data.get()).map_err(|error| unreadable("`data`", &error))?;
    let columns = Columns::find(&data.fields).map_err(|error| unreadable("`fields`", &error))?;
    let mut items = serde_json::Deserializer::from_str(data.items.get());
    let bars = Rows { columns: &columns, code }.deserialize(&mut items);
    let bars = bars.map_err(|error| unreadable("`items`", &error))?;
    Ok(Page { bars, has_more: data.has_more.unwrap_or(false) })
}

/// The beginning of a text for an error: one line, short.
pub fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Which of [`COLUMNS`] stands at each position of a row.
struct Columns(Vec<Option<usize>>);

impl Columns {
    fn find(fields: &[String]) -> Result<Self, String> {
        let positions = fields.iter().map(|field| COLUMNS.iter().position(|column| column == field));
        let positions: Vec<Option<usize>> = positions.collect();
        for (wanted, name) in COLUMNS.iter().enumerate() {
            match positions.iter().filter(|position| **position == Some(wanted)).count() {
                1 => {}
                0 => return Err(format!("column `{name}` is missing, there are {}", excerpt(&fields.join(",")))),
                _ => return Err(format!("column `{name}` is there twice")),
            }
        }
        Ok(Self(positions))
    }
}

struct Rows<'c> {
    columns: &'c Columns,
    code: Code,
}

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = Vec<FetchedBar>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = Vec<FetchedBar>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut bars = Vec::new();
        while let Some(bar) = rows.next_element_seed(Row { number: bars.len(), rows: &self })? {
            bars.push(bar);
        }
        Ok(bars)
    }
}

struct Row<'c> {
    number: usize,
    rows: &'c Rows<'c>,
}

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = FetchedBar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FetchedBar, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = FetchedBar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} as an array of {} cells", self.number, self.rows.columns.0.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<FetchedBar, A::Error> {
        let mut cells = [""; COLUMNS.len()];
        let mut num_cells = 0;
        while let Some(cell) = row.next_element::<&RawValue>()? {
            // A position beyond the columns is counted, and refused below.
            if let Some(column) = self.rows.columns.0.get(num_cells).copied().flatten()
                && let Some(slot) = cells.get_mut(column)
            {
                *slot = cell.get();
            }
            num_cells += 1;
        }
        let num_columns = self.rows.columns.0.len();
        if num_cells != num_columns {
            let text = format!("row {} has {num_cells} cells for {num_columns} columns", self.number);
            return Err(A::Error::custom(text));
        }
        let [ts_code, trade_date, open, high, low, close, vol, amount] = cells;
        if !names(ts_code, self.rows.code) {
            let (found, asked) = (excerpt(ts_code), self.rows.code);
            return Err(A::Error::custom(format!("row {} is of {found}, asked was {asked}", self.number)));
        }
        Ok(FetchedBar {
            timestamp: day(trade_date),
            open: number(open),
            high: number(high),
            low: number(low),
            close: number(close),
            volume: number(vol),
            amount: number(amount),
        })
    }
}

/// Whether a cell (its JSON text) names the code.
fn names(cell: &str, code: Code) -> bool {
    with_text(cell, |text| text == code.as_str() || text.parse() == Ok(code)).unwrap_or(false)
}

fn day(cell: &str) -> Field<NaiveDateTime> {
    match cell {
        "null" => Field::Missing,
        _ => with_text(cell, labels::day_of_text).unwrap_or_else(|| labels::day_of_number(cell)),
    }
}

fn number(cell: &str) -> Field<Decimal> {
    match cell.as_bytes().first() {
        Some(b'0'..=b'9' | b'-') => Field::number(cell),
        _ if cell == "null" => Field::Missing,
        _ => with_text(cell, Field::number).unwrap_or_else(|| Field::unreadable(cell)),
    }
}

/// Reads a JSON string, without an allocation unless it has escapes; `None` for any other value.
fn with_text<T>(cell: &str, read: impl FnOnce(&str) -> T) -> Option<T> {
    let inner = cell.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(cell).ok().map(|text| read(&text))
    } else {
        Some(read(inner))
    }
}
