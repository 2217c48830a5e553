// Upstream: command, command_router, domain, message, operator_order
// Downstream: code
// Role: Why a command is refused.

use chrono::NaiveDate;

use crate::domain::{CodeError, MAX_CODES};

/// Why a command cannot be carried out. The text goes into the dead-letter record for an operator to read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommandError {
    /// The bytes are no JSON.
    #[error("the message is not JSON: {reason}; it starts with {start:?}")]
    NotJson {
        /// The parser's reason with line and column.
        reason: String,
        /// The first bytes as text.
        start: String,
    },
    /// JSON, but neither an object nor an object inside a string.
    #[error("the message is a JSON {found}, expected an object")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// A required field is absent or of the wrong type.
    #[error("field `{field}` is {found}, expected {expected}")]
    BadField {
        /// The field's path.
        field: &'static str,
        /// What stands there, shortened.
        found: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// A code that is none.
    #[error("field `{field}`: {error}")]
    BadCode {
        /// The field's path.
        field: &'static str,
        /// What is wrong with it.
        error: CodeError,
    },
    /// More codes than one command may name.
    #[error("field `params.codes` names {found} codes, at most {MAX_CODES} are allowed; send several commands")]
    TooManyCodes {
        /// How many.
        found: usize,
    },
    /// The range ends before it starts.
    #[error("the range is empty: start_date {start} is after end_date {end}")]
    EmptyRange {
        /// `params.start_date`.
        start: NaiveDate,
        /// `params.end_date`.
        end: NaiveDate,
    },
    /// A command nobody knows.
    #[error("unknown command `{name}`")]
    Unknown {
        /// Its name.
        name: String,
    },
}
