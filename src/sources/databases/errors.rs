// Upstream: clickhouse, database, mongodb, mysql, redis, rows
// Downstream: actors, sources::shared
// Role: Errors of database requests, and the source error that each one becomes.

use std::time::Duration;

use actors::ports::SourceErrorKind;

use crate::sources::shared::excerpt::excerpt;

/// A failed request to a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// The connection failed or broke.
    #[error("{0}")]
    Unreachable(String),
    /// No answer arrived in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server failed or is overloaded.
    #[error("{0}")]
    Server(String),
    /// The server rejected the user or the password.
    #[error("{0}")]
    Login(String),
    /// The user lacks the permission to read.
    #[error("{0}")]
    Access(String),
    /// The table does not exist.
    #[error("there is no {what} `{table}`; name another one in shape.tables")]
    NoTable {
        /// What this database calls a table.
        what: &'static str,
        /// The table's name.
        table: String,
    },
    /// The server rejected the query.
    #[error("table `{table}`: {reason}")]
    Refused {
        /// The table's name.
        table: String,
        /// The server's message.
        reason: String,
    },
    /// A Redis key has another type than expected.
    #[error("key `{key}` holds a {found}, but a {expected} is expected")]
    OtherType {
        /// The key.
        key: String,
        /// The expected type.
        expected: &'static str,
        /// The actual type.
        found: String,
    },
    /// The query returns more rows than allowed.
    #[error(
        "table `{table}` has more than {most} rows for one request; raise shape.rows_per_request or check its columns"
    )]
    TooManyRows {
        /// The table's name.
        table: String,
        /// The allowed maximum.
        most: u64,
    },
    /// The query returns more text than allowed.
    #[error("table `{table}` returns more than {most} bytes for one request")]
    TooManyBytes {
        /// The table's name.
        table: String,
        /// The allowed maximum.
        most: usize,
    },
    /// A row cannot be parsed.
    #[error("table `{table}`: row {row}: {reason}: {value}")]
    BadRow {
        /// The table's name.
        table: String,
        /// The row's number, counted from 1.
        row: u64,
        /// Why it cannot be parsed.
        reason: String,
        /// The beginning of the row.
        value: String,
    },
}

impl DatabaseError {
    /// A row cannot be parsed.
    pub fn bad_row(table: &str, row: u64, reason: impl ToString, value: &str) -> Self {
        Self::BadRow { table: table.to_owned(), row, reason: excerpt(&reason.to_string()), value: excerpt(value) }
    }
}

impl From<DatabaseError> for SourceErrorKind {
    fn from(error: DatabaseError) -> Self {
        use DatabaseError as Error;
        match error {
            Error::Unreachable(text) => Self::Unreachable(text),
            Error::Timeout(time) => Self::Timeout(time),
            Error::Server(text) => Self::Server(text),
            Error::Login(text) => Self::Unauthorized(text),
            Error::Access(text) => Self::Forbidden(text),
            Error::NoTable { .. } | Error::Refused { .. } => Self::BadRequest(error.to_string()),
            Error::OtherType { .. } | Error::TooManyRows { .. } | Error::TooManyBytes { .. } | Error::BadRow { .. } => {
                Self::BadAnswer(error.to_string())
            }
        }
    }
}
