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
    let Some(data) = data else {
        // An unknown security has another `rc`, so a success without data is an answer that was cut.
        return Err(match rc.map(RawValue::get) {
            Some(code) if code != "0" => AnswerError::Nothing(excerpt(code)),
            _ => unreadable("`data` is null without a refusal", body),
        });
    };
    serde_json::from_str(data.get()).map_err(|error| unreadable(&format!("`data`: {error}"), body))
}

/// The body violates the protocol.
pub fn unreadable(reason: &str, body: &str) -> AnswerError {
    AnswerError::Unreadable(format!("{reason}; the body begins with `{}`", excerpt(body)))
}

/// Parses a number.
pub fn number(text: &str) -> Field<Decimal> {
    if text.trim() == "-" { Field::Missing } else { Field::number(text) }
}
