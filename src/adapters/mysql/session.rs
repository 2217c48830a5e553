// Upstream: departed, stock_info, store, sync_record, trade_day
// Downstream: error
// Role: Runs statements on a connection, each with the timeout of one statement.

use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{Executor, MySql, MySqlConnection, QueryBuilder};

use crate::adapters::mysql::error::MySqlError;

/// Maximum number of rows in one statement: about 150 KB of text, about one hundredth of the default maximum packet
/// size. Row by row, a slow connection would need minutes for a list.
pub const ROWS_PER_STATEMENT: usize = 500;

/// A connection whose statements end within a timeout. There is no timeout for all of them together: as long as the
/// server answers each, there is progress. After an error the connection must be dropped.
pub struct Session<'c> {
    /// The connection.
    pub connection: &'c mut MySqlConnection,
    /// The timeout of one statement.
    pub timeout: Duration,
}

impl Session<'_> {
    /// Runs a statement without parameters. Unlike the others it is not prepared, which some statements cannot be.
    pub async fn text(&mut self, statement: &str) -> Result<(), MySqlError> {
        within(self.timeout, (&mut *self.connection).execute(statement)).await.map(drop)
    }

    /// Runs a statement that returns no rows.
    pub async fn execute(&mut self, query: Query<'_, MySql, MySqlArguments>) -> Result<(), MySqlError> {
        within(self.timeout, query.execute(&mut *self.connection)).await.map(drop)
    }

    /// Reads the rows of a query.
    pub async fn rows(&mut self, query: Query<'_, MySql, MySqlArguments>) -> Result<Vec<MySqlRow>, MySqlError> {
        within(self.timeout, query.fetch_all(&mut *self.connection)).await
    }

    /// Deletes the rows with these uuids.
    pub async fn delete(&mut self, table: &str, uuids: &[String]) -> Result<(), MySqlError> {
        for uuids in uuids.chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new(format!("DELETE FROM {table} WHERE uuid IN ("));
            push_list(&mut query, uuids);
            self.execute(query.build()).await?;
        }
        Ok(())
    }
}

/// Adds uuids and the closing bracket of their list.
pub fn push_list<'u>(query: &mut QueryBuilder<'u, MySql>, uuids: impl IntoIterator<Item = &'u String>) {
    let mut list = query.separated(", ");
    for uuid in uuids {
        list.push_bind(uuid);
    }
    list.push_unseparated(")");
}

/// Ends work that takes longer than the timeout.
pub async fn within<T>(timeout: Duration, work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, MySqlError> {
    tokio::time::timeout(timeout, work).await.map_err(|_| MySqlError::NoAnswer(timeout))?.map_err(MySqlError::from)
}
