// Upstream: source, sources
// Downstream: many
// Role: Reads market data from a user's MySQL or MariaDB.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use futures_util::TryStreamExt;
use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow};
use sqlx::{ConnectOptions, Row};

use super::database::{Database, Found, MAX_TABLES, MAX_TEXT};
use super::errors::DatabaseError;
use super::pattern::Pattern;
use super::query::{Query, Wanted};
use super::rows::{Cell, Rows};
use crate::adapters::mysql::tls_options::{explain, protect_source};
use crate::config::{MySqlSourceSection, TimeZone};
use crate::sources::shared::excerpt::excerpt;

/// A client of a user's MySQL or MariaDB.
pub struct MySqlDatabase {
    options: MySqlConnectOptions,
    /// Idle connections, at most as many as concurrent requests. The client's own pool is not used: it retries until
    /// its own deadline and then no longer reports the cause.
    idle: Mutex<Vec<MySqlConnection>>,
}

impl MySqlDatabase {
    /// Creates the client. It connects on first use.
    pub fn new(section: &MySqlSourceSection) -> Self {
        // The server returns TIMESTAMP columns in the session's time zone.
        let zone = match section.mapping.time_zone {
            TimeZone::Shanghai => "+08:00",
            TimeZone::Utc => "+00:00",
        };
        let mut options = MySqlConnectOptions::new()
            .host(&section.host)
            .port(section.port)
            .username(&section.user)
            .database(&section.database)
            .timezone(Some(zone.to_owned()))
            .disable_statement_logging();
        if let Some(password) = &section.password {
            options = options.password(password.expose_secret());
        }
        Self { options: protect_source(options, section), idle: Mutex::default() }
    }

    async fn connection(&self) -> Result<MySqlConnection, sqlx::Error> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match idle {
            Some(connection) => Ok(connection),
            None => self.options.connect().await,
        }
    }

    /// Runs `work` on a connection and keeps the connection if it succeeds.
    async fn with<T>(
        &self,
        table: &str,
        work: impl AsyncFnOnce(&mut MySqlConnection) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let mut connection = self.connection().await.map_err(|error| meaning(&error, table))?;
        let outcome = work(&mut connection).await;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        match &outcome {
            Ok(_) => idle.push(connection),
            // A failed server has closed the other connections too.
            Err(DatabaseError::Unreachable(_)) => idle.clear(),
            Err(_) => {}
        }
        outcome
    }
}

impl Database for MySqlDatabase {
    const WHAT: &'static str = "table";
    const IS_STRICT: bool = true;

    async fn read(&self, query: &Query, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
        // As text, every type is exact. LEFT limits the length of a value.
        let (sql, values) = query.sql(|name| format!("LEFT(CAST(`{name}` AS CHAR), {MAX_TEXT})"));
        self.with(&query.table, async |connection| {
            let mut request = sqlx::query(&sql).persistent(false);
            for value in &values {
                request = match value {
                    Wanted::Text(text) => request.bind(text),
                    Wanted::Number(number) => request.bind(number),
                };
            }
            let mut found = request.fetch(connection);
            while let Some(row) = found.try_next().await.map_err(|error| meaning(&error, &query.table))? {
                let cells = cells(&row)
                    .map_err(|error| DatabaseError::bad_row(&query.table, rows.num_rows() + 1, error, ""))?;
                rows.push(&cells)?;
            }
            Ok(())
        })
        .await
    }

    async fn find(&self, pattern: &Pattern) -> Result<Found, DatabaseError> {
        const TABLES: &str = "SELECT CAST(table_name AS CHAR) FROM information_schema.tables \
                              WHERE table_schema = DATABASE() ORDER BY table_name LIMIT ?";
        const COLUMNS: &str = "SELECT CAST(column_name AS CHAR) FROM information_schema.columns \
                               WHERE table_schema = DATABASE() AND table_name = ? ORDER BY ordinal_position";
        self.with("information_schema", async |connection| {
            let failed = |error: sqlx::Error| meaning(&error, "information_schema");
            let reading = sqlx::query_scalar::<_, String>(TABLES).bind(MAX_TABLES as u64).fetch_all(&mut *connection);
            let tables = reading.await.map_err(failed)?;
            let Some(name) = tables.iter().find(|name| pattern.may_be(name)).cloned() else {
                return Ok(Found::Nothing(tables));
            };
            let reading = sqlx::query_scalar::<_, String>(COLUMNS).bind(&name).fetch_all(&mut *connection);
            Ok(Found::Table { columns: reading.await.map_err(failed)?, name })
        })
        .await
    }
}

fn cells(row: &MySqlRow) -> Result<Vec<Cell<'_>>, sqlx::Error> {
    (0..row.len()).map(|at| Ok(row.try_get::<Option<&str>, _>(at)?.map(Cow::Borrowed))).collect()
}

/// Maps a client error to a database error. The states are those of the SQL standard and of MySQL's error reference.
fn meaning(error: &sqlx::Error, table: &str) -> DatabaseError {
    let reason = excerpt(&explain("sources.mysql", error));
    let Some(answer) = error.as_database_error() else {
        return match error {
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) => DatabaseError::Unreachable(reason),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => DatabaseError::bad_row(table, 1, reason, ""),
            _ => DatabaseError::Server(reason),
        };
    };
    let number = answer.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>().map(|error| error.number());
    match (number, answer.code().as_deref()) {
        (Some(1045), _) | (_, Some("28000")) => DatabaseError::Login(reason),
        // No access to a database, a table or a column.
        (Some(1044 | 1142 | 1143), _) => DatabaseError::Access(reason),
        (_, Some("42S02")) => DatabaseError::NoTable { what: MySqlDatabase::WHAT, table: table.to_owned() },
        (_, Some(state)) if state.starts_with("42") || state.starts_with("22") => {
            DatabaseError::Refused { table: table.to_owned(), reason }
        }
        _ => DatabaseError::Server(reason),
    }
}
