// Upstream: departed, session, stock_info, store, sync_record, trade_day
// Downstream: actors
// Role: Errors of Ginkgo's MySQL database and their classes; the only place that interprets error codes.

use std::time::Duration;

use actors::ports::StoreErrorClass;
use sqlx::mysql::MySqlDatabaseError;

/// An error of a statement, or of the wait for one.
#[derive(Debug, thiserror::Error)]
pub enum MySqlError {
    /// The server or the client rejected the statement.
    #[error("{0}")]
    Statement(#[from] sqlx::Error),
    /// The statement, or the connection, took too long.
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    /// The database does not exist, and the user may not create it.
    #[error(
        "the database {database} does not exist, and the user may not create it ({reason}); create it with CREATE DATABASE \
         `{database}`, or correct mysql.database"
    )]
    NoDatabase {
        /// The database.
        database: String,
        /// Why it cannot be created.
        reason: String,
    },
    /// Another worker holds the lock of the table.
    #[error("another worker has been merging the same table for {0:?}")]
    Locked(Duration),
}

impl MySqlError {
    /// The class, which decides the reaction.
    pub fn class(&self) -> StoreErrorClass {
        match self {
            Self::NoAnswer(_) | Self::Locked(_) => StoreErrorClass::Transient,
            Self::NoDatabase { .. } => StoreErrorClass::Access,
            Self::Statement(error) => match error {
                // A column with another type than Ginkgo's.
                sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnIndexOutOfBounds { .. } => StoreErrorClass::Schema,
                sqlx::Error::Database(database) => match database.try_downcast_ref::<MySqlDatabaseError>() {
                    Some(error) => classify(error.number(), error.code()),
                    None => StoreErrorClass::Transient,
                },
                _ => StoreErrorClass::Transient,
            },
        }
    }

    /// Whether the database does not exist.
    pub fn is_missing_database(&self) -> bool {
        let Self::Statement(sqlx::Error::Database(error)) = self else { return false };
        error.try_downcast_ref::<MySqlDatabaseError>().is_some_and(|error| error.number() == 1049)
    }

    /// Whether the table does not exist.
    pub fn is_missing_table(&self) -> bool {
        let Self::Statement(sqlx::Error::Database(error)) = self else { return false };
        error.code().as_deref() == Some("42S02")
    }
}

/// The class of an error of the server, by its number and its SQLSTATE. For many errors about values MySQL has only the
/// general SQLSTATE HY000.
fn classify(number: u16, state: Option<&str>) -> StoreErrorClass {
    match (number, state.unwrap_or_default()) {
        // Wrong text, cut off, out of range, no date, NULL, no default, mixed collations, wrong row count, duplicate
        // key, violated CHECK.
        (1366 | 1406 | 1264 | 1265 | 1292 | 1048 | 1364 | 1267 | 1270 | 1271 | 1136 | 1062 | 1411 | 3819 | 4025, _)
        // A view, or a table that takes no rows.
        | (1288 | 1347 | 1348 | 1356 | 1368 | 1394 | 1395 | 1471 | 1036 | 1118, _)
        // No such table or column; other values that do not fit.
        | (_, "42S02" | "42S22" | "21S01")
        => StoreErrorClass::Schema,
        (_, state) if state.starts_with("22") => StoreErrorClass::Schema,
        // Access denied for the user or to the database; no such database.
        (_, "28000" | "42000") => StoreErrorClass::Access,
        _ => StoreErrorClass::Transient,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_time_does_not_heal_is_not_transient() {
        for (number, state) in [(1366, "HY000"), (1406, "22001"), (1264, "22003"), (1292, "22007"), (1288, "HY000")] {
            assert_eq!(classify(number, Some(state)), StoreErrorClass::Schema, "{number}");
        }
        assert_eq!(classify(1146, Some("42S02")), StoreErrorClass::Schema);
        assert_eq!(classify(1049, Some("42000")), StoreErrorClass::Access);
        assert_eq!(classify(1045, Some("28000")), StoreErrorClass::Access);
        // Lock wait, deadlock, too many connections, read-only after a failover, disk full.
        for (number, state) in [(1205, "HY000"), (1213, "40001"), (1040, "08004"), (1290, "HY000"), (1114, "HY000")] {
            assert_eq!(classify(number, Some(state)), StoreErrorClass::Transient, "{number}");
        }
        assert_eq!(MySqlError::NoAnswer(Duration::ZERO).class(), StoreErrorClass::Transient);
    }
}
