// Upstream: command, command_router, data_worker, domain, message, operator_order
// Downstream: code
// Role: Reasons for rejecting a command.

use chrono::NaiveDate;

use crate::domain::{CodeError, MAX_CODES};

/// The reason why a command is invalid. The text is written to the dead-letter record for the operator.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// The bytes are not JSON.
    #[error("the message is not JSON: {reason}; it starts with {start:?}")]
    NotJson {
        /// The parser's error with line and column.
        reason: String,
        /// The first bytes as text.
        start: String,
    },
    /// The JSON is neither an object nor an object inside a string.
    #[error("the message is a JSON {found}, expected an object")]
    NotAnObject {
        /// The JSON type found.
        found: &'static str,
    },
    /// A required field is absent or of the wrong type.
    #[error("field `{field}` is {found}, expected {expected}")]
    BadField {
        /// The path of the field.
        field: &'static str,
        /// The value found, shortened.
        found: String,
        /// The expected value.
        expected: &'static str,
    },
    /// An invalid stock code.
    #[error("field `{field}`: {error}")]
    BadCode {
        /// The path of the field.
        field: &'static str,
        /// The parse error.
        error: CodeError,
    },
    /// The command names too many codes.
    #[error("field `params.codes` names {found} codes, at most {MAX_CODES} are allowed; send several commands")]
    TooManyCodes {
        /// The number of codes.
        found: usize,
    },
    /// The date range ends before it starts.
    #[error("the range is empty: start_date {start} is after end_date {end}")]
    EmptyRange {
        /// `params.start_date`.
        start: NaiveDate,
        /// `params.end_date`.
        end: NaiveDate,
    },
    /// An unknown command name.
    #[error("unknown command `{name}`")]
    Unknown {
        /// The name.
        name: String,
    },
}
