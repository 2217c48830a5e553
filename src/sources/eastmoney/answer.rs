// Upstream: clist, klines, source
// Downstream: actors, sources::shared
// Role: Parses the envelope of EastMoney's answers: missing values and refusals. Pure.

//! The answer is `{"rc": 0, …, "data": {…}}`. Without data, `data` is null and `rc` has an undocumented value. An
//! unknown number is `-`.

use actors::domain::Field;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::sources::shared::excerpt::excerpt;

/// An answer without rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The vendor has no such data.
    #[error("the answer has no data (rc {0})")]
    Nothing(String),
    /// The body violates the protocol.
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

/// Parses the data of an answer.
pub fn data<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, AnswerError> {
    let Envelope { rc, data } = serde_json::from_str(body)
        .map_err(|error| unreadable(&format!("the body is no answer object: {error}"), body))?;
    let nothing = || AnswerError::Nothing(rc.map_or("missing".to_owned(), |rc| excerpt(rc.get())));
    serde_json::from_str(data.ok_or_else(nothing)?.get()).map_err(|error| unreadable(&format!("`data`: {error}"), body))
}

/// The body violates the protocol.
pub fn unreadable(reason: &str, body: &str) -> AnswerError {
    AnswerError::Unreadable(format!("{reason}; the body begins with `{}`", excerpt(body)))
}

/// Parses a number.
pub fn number(text: &str) -> Field<Decimal> {
    if text.trim() == "-" { Field::Missing } else { Field::number(text) }
}
