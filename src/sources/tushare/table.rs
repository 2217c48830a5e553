// Upstream: sources::tushare, sources::tushare::adj_factor, sources::tushare::daily, sources::tushare::daily_tests, sources::tushare::interface, sources::tushare::stk_mins, sources::tushare::stock_basic, sources::tushare::trade_cal, sources::tushare::transport
// Downstream: none
// Role: Reads the table in any answer of Tushare's: cells as JSON text, or why there are none. Pure.

//! The answer is `{"code": 0, "msg": …, "data": {"fields": […], "items": [[…], …], "has_more": bool, "count": n}}`
//! (Tushare documentation, HTTP interface). Columns come in the order of `fields`; a missing value is `null`.
//!
//! Cells stay JSON text, so that no digit passes through binary floating point.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The longest piece of an answer an error shows, in characters.
const MAX_EXCERPT: usize = 120;

/// One page of rows.
#[derive(Debug, PartialEq, Eq)]
pub struct Table<'a, const N: usize> {
    /// The rows in the order of the answer; each cell is JSON text, in the order of the columns asked for.
    pub rows: Vec<[&'a str; N]>,
    /// Whether the vendor says that there are more; `false` where it says nothing.
    pub has_more: bool,
}

/// One page of what the rows mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<R> {
    /// In the order of the answer.
    pub rows: Vec<R>,
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

/// Reads the body of an answer with these columns among others.
pub fn parse<'a, const N: usize>(body: &'a str, wanted: &[&str; N]) -> Result<Table<'a, N>, AnswerError> {
    let envelope: Envelope<'_> =
        serde_json::from_str(body).map_err(|error| unreadable("no answer object", &error, body))?;
    let number = envelope.code.get().trim_matches('"').parse::<i64>();
    let number = number.map_err(|error| unreadable("`code` is no number", &error, body))?;
    if number != 0 {
        let message = envelope.msg.filter(|text| !text.is_empty()).or(envelope.message).unwrap_or_default();
        return Err(AnswerError::Refused { code: number, message: excerpt(&message) });
    }
    let data = envelope.data.ok_or_else(|| unreadable("no `data`", &"code is 0", body))?;
    let data: Data<'a> = serde_json::from_str(data.get()).map_err(|error| unreadable("`data`", &error, body))?;
    let columns = Columns::find(&data.fields, wanted).map_err(|error| unreadable("`fields`", &error, body))?;
    let mut items = serde_json::Deserializer::from_str(data.items.get());
    let rows = Rows { columns: &columns }.deserialize(&mut items);
    let rows = rows.map_err(|error| unreadable("`items`", &error, body))?;
    Ok(Table { rows, has_more: data.has_more.unwrap_or(false) })
}

/// The body is not what the protocol promises.
pub fn unreadable(what: &str, reason: &dyn fmt::Display, body: &str) -> AnswerError {
    AnswerError::Unreadable(format!("{what}: {reason}; the body begins `{}`", excerpt(body)))
}

/// The beginning of a text for an error: one line, short.
pub fn excerpt(text: &str) -> String {
    text.chars().take(MAX_EXCERPT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Which of the wanted columns stands at each position of a row.
struct Columns<const N: usize>(Vec<Option<usize>>);

impl<const N: usize> Columns<N> {
    fn find(fields: &[String], wanted: &[&str; N]) -> Result<Self, String> {
        let positions = fields.iter().map(|field| wanted.iter().position(|column| column == field));
        let positions: Vec<Option<usize>> = positions.collect();
        for (index, name) in wanted.iter().enumerate() {
            match positions.iter().filter(|position| **position == Some(index)).count() {
                1 => {}
                0 => return Err(format!("column `{name}` is missing, there are {}", excerpt(&fields.join(",")))),
                _ => return Err(format!("column `{name}` is there twice")),
            }
        }
        Ok(Self(positions))
    }
}

struct Rows<'c, const N: usize> {
    columns: &'c Columns<N>,
}

impl<'de, const N: usize> DeserializeSeed<'de> for Rows<'_, N> {
    type Value = Vec<[&'de str; N]>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Rows<'_, N> {
    type Value = Vec<[&'de str; N]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut cells = Vec::new();
        while let Some(row) = rows.next_element_seed(Row { number: cells.len(), columns: self.columns })? {
            cells.push(row);
        }
        Ok(cells)
    }
}

struct Row<'c, const N: usize> {
    number: usize,
    columns: &'c Columns<N>,
}

impl<'de, const N: usize> DeserializeSeed<'de> for Row<'_, N> {
    type Value = [&'de str; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Row<'_, N> {
    type Value = [&'de str; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {} as an array of {} cells", self.number, self.columns.0.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<Self::Value, A::Error> {
        let mut cells = [""; N];
        let mut num_cells = 0;
        while let Some(cell) = row.next_element::<&RawValue>()? {
            // A position beyond the columns is counted, and refused below.
            if let Some(column) = self.columns.0.get(num_cells).copied().flatten()
                && let Some(slot) = cells.get_mut(column)
            {
                *slot = cell.get();
            }
            num_cells += 1;
        }
        let num_columns = self.columns.0.len();
        if num_cells != num_columns {
            let text = format!("row {} has {num_cells} cells for {num_columns} columns", self.number);
            return Err(A::Error::custom(text));
        }
        Ok(cells)
    }
}
