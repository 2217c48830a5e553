// Upstream: clickhouse, database, mongodb, mysql, redis, rows
// Downstream: actors, sources::shared
// Role: What goes wrong at a database: table, column and value, and what kind of a source's failure that is.

use std::time::Duration;

use actors::ports::SourceErrorKind;

use crate::sources::shared::excerpt::excerpt;

/// A failed request to a database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// No connection, or it broke.
    #[error("{0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The server failed, or is too busy.
    #[error("{0}")]
    Server(String),
    /// Another user or password is needed.
    #[error("{0}")]
    Login(String),
    /// The user may not read there.
    #[error("{0}")]
    Access(String),
    /// The table is not there.
    #[error("there is no {what} `{table}`; name another one in shape.tables")]
    NoTable {
        /// What such a thing is called there.
        what: &'static str,
        /// Its name.
        table: String,
    },
    /// The server refused the request.
    #[error("table `{table}`: {reason}")]
    Refused {
        /// The table's name.
        table: String,
        /// The server's words.
        reason: String,
    },
    /// A key of another type.
    #[error("key `{key}` holds a {found}, but a {expected} is expected")]
    OtherType {
        /// The key.
        key: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// More rows than are allowed.
    #[error(
        "table `{table}` has more than {most} rows for one request; raise shape.rows_per_request, or check its columns"
    )]
    TooManyRows {
        /// The table's name.
        table: String,
        /// What is allowed.
        most: u64,
    },
    /// More text than is allowed.
    #[error("table `{table}` gives more than {most} bytes for one request")]
    TooManyBytes {
        /// The table's name.
        table: String,
        /// What is allowed.
        most: usize,
    },
    /// A row that cannot be read.
    #[error("table `{table}`: row {row}: {reason}: {value}")]
    BadRow {
        /// The table's name.
        table: String,
        /// Counted from 1.
        row: u64,
        /// What is wrong.
        reason: String,
        /// Its beginning.
        value: String,
    },
}

impl DatabaseError {
    /// A row that cannot be read.
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
