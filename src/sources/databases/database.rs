// Upstream: clickhouse, mongodb, mysql, redis, source
// Downstream: errors, pattern, query, rows
// Role: The interface of a database client: reads rows of text cells and finds tables.

use std::future::Future;

use super::errors::DatabaseError;
use super::pattern::Pattern;
use super::query::Query;
use super::rows::Rows;

/// Maximum amount of text in one request. 500,000 bars take about half of it.
pub(crate) const MAX_BYTES: usize = 64 << 20;
/// Maximum length of a value that is read whole. No valid value of any column is longer.
pub(crate) const MAX_TEXT: usize = 200;
/// Maximum number of table names to search: a few times the number of securities.
pub(crate) const MAX_TABLES: usize = 20_000;
/// Maximum number of names that an error lists.
pub(crate) const MAX_NAMES: usize = 12;

/// A database client. The caller limits the time of its futures.
pub trait Database: Send + Sync + 'static {
    /// What this database calls a table.
    const WHAT: &'static str;
    /// Whether every mapped column must exist, as in SQL.
    const IS_STRICT: bool;

    /// Reads the rows of a query.
    fn read(&self, query: &Query, rows: &mut Rows<'_>) -> impl Future<Output = Result<(), DatabaseError>> + Send;

    /// Finds the table with the pattern's name, or the first table that fits the pattern.
    fn find(&self, pattern: &Pattern) -> impl Future<Output = Result<Found, DatabaseError>> + Send;
}

/// The result of searching for a table.
pub enum Found {
    /// A table and its columns.
    Table {
        /// The table's name.
        name: String,
        /// The names of its columns.
        columns: Vec<String>,
    },
    /// A table without rows, whose columns are unknown.
    Empty(String),
    /// No table fits. Holds the names of the existing tables.
    Nothing(Vec<String>),
}
