// Upstream: clickhouse, mongodb, mysql, redis, source
// Downstream: errors, pattern, query, rows
// Role: A database as its client sees it: rows of cells, and the tables there are.

use std::future::Future;

use super::errors::DatabaseError;
use super::pattern::Pattern;
use super::query::Query;
use super::rows::Rows;

/// The most text of one request: of 500,000 bars it is about half of that.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// The longest value that is read whole; a longer one is none of a column's kind.
pub(crate) const MAX_TEXT: usize = 200;
/// Names of tables that are looked through: a few times as many as there are securities.
pub(crate) const MAX_TABLES: usize = 20_000;
/// Names that an error lists.
pub(crate) const MAX_NAMES: usize = 12;

/// A database, as its client sees it. Futures are bounded in time by the caller.
pub trait Database: Send + Sync + 'static {
    /// What a table is called there.
    const WHAT: &'static str;
    /// Whether every column that is read must be there, as in SQL.
    const IS_STRICT: bool;

    /// Reads rows.
    fn read(&self, query: &Query, rows: &mut Rows<'_>) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// Looks for a table of a name, or the first one that fits.
    fn find(&self, pattern: &Pattern) -> impl Future<Output = Result<Found, DatabaseError>> + Send;
}

/// What there is in the place of a table.
pub enum Found {
    /// The table with its columns.
    Table {
        /// Its name.
        name: String,
        /// Their names.
        columns: Vec<String>,
    },
    /// One without rows, whose columns nobody knows.
    Empty(String),
    /// None; the names that are there.
    Nothing(Vec<String>),
}
