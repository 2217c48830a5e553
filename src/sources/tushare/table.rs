// Upstream: many
// Downstream: sources::shared
// Role: Parses the table in any of Tushare's answers into cells of JSON text, or the vendor's error. Pure.

//! The answer is `{"code": 0, "msg": …, "data": {"fields": […], "items": [[…], …], "has_more": bool, "count": n}}`
//! (Tushare documentation, HTTP interface). Columns have the order of `fields`. A missing value is `null`.
//!
//! Cells stay JSON text, so that binary floating point changes no digit.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use crate::sources::shared::excerpt::excerpt;
use crate::sources::shared::json_rows::Columns;

/// One page of rows.
#[derive(Debug, PartialEq, Eq)]
pub struct Table<'a, const N: usize> {
    /// The rows, in the order of the answer. Each cell is JSON text, in the order of the requested columns.
    pub rows: Vec<[&'a str; N]>,
    /// Whether the vendor reports more rows; `false` if it does not say.
    pub has_more: bool,
}

/// One page of converted rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<R> {
    /// The rows, in the order of the answer.
    pub rows: Vec<R>,
    /// Whether the vendor reports more rows; `false` if it does not say.
    pub has_more: bool,
}

/// An answer without rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The vendor refused the call.
    #[error("code {code}: {message}")]
    Refused {
        /// The business code.
        code: i64,
        /// The vendor's text.
        message: String,
    },
    /// The body violates the protocol.
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

/// Parses the body of an answer that has at least these columns.
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
    let rows = columns.rows(data.items.get()).map_err(|error| unreadable("`items`", &error, body))?;
    Ok(Table { rows, has_more: data.has_more.unwrap_or(false) })
}

/// The body violates the protocol.
pub fn unreadable(what: &str, reason: &dyn fmt::Display, body: &str) -> AnswerError {
    AnswerError::Unreadable(format!("{what}: {reason}; the body begins with `{}`", excerpt(body)))
}
