// Upstream: clist, klines, source
// Downstream: actors, sources::shared
// Role: What EastMoney's answers have in common: the envelope, missing values, its refusals. Pure.

//! The answer is `{"rc": 0, …, "data": {…}}`; `data` is null where there is nothing, with an `rc` that is not documented.
//! A number that is not known is `-`.

use actors::domain::Field;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sources::shared::excerpt::excerpt;

/// An answer that gives no rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The vendor has nothing of the kind.
    #[error("it answers without data (rc {0})")]
    Nothing(String),
    /// The body is not what the protocol promises.
    #[error("{0}")]
    Unreadable(String),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    rc: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The data in an answer.
pub fn data<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, AnswerError> {
    let Envelope { rc, data } =
        serde_json::from_str(body).map_err(|error| unreadable(&format!("no answer object: {error}"), body))?;
    let nothing = || AnswerError::Nothing(rc.map_or("missing".to_owned(), |rc| excerpt(rc.get())));
    serde_json::from_str(data.ok_or_else(nothing)?.get()).map_err(|error| unreadable(&format!("`data`: {error}"), body))
}

/// The body is not what the protocol promises.
pub fn unreadable(reason: &str, body: &str) -> AnswerError {
    AnswerError::Unreadable(format!("{reason}; the body begins `{}`", excerpt(body)))
}

/// A number as text.
pub fn number(text: &str) -> Field<Decimal> {
    if text.trim() == "-" { Field::Missing } else { Field::number(text) }
}
