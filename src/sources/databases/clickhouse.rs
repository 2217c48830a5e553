// Upstream: source, sources
// Downstream: many
// Role: Reads market data from a user's ClickHouse.

use ::clickhouse::Client;
use ::clickhouse::error::Error;
use actors::ports::StoreErrorClass;
use secrecy::ExposeSecret;

use super::database::{Database, Found, MAX_BYTES, MAX_TABLES};
use super::errors::DatabaseError;
use super::json;
use super::pattern::Pattern;
use super::query::{Query, Wanted};
use super::rows::Rows;
use crate::adapters::clickhouse::connector::source_client;
use crate::adapters::clickhouse::errors::{Effect, classify, text_of};
use crate::adapters::tls::advice::with_advice;
use crate::config::ClickHouseSourceSection;
use crate::sources::shared::excerpt::excerpt;

/// A client of a user's ClickHouse.
pub struct ClickHouseDatabase {
    client: Client,
    database: String,
}

impl ClickHouseDatabase {
    /// Creates the client. It connects on first use.
    pub fn new(section: &ClickHouseSourceSection) -> Self {
        let mut client = source_client(section)
            .with_user(&section.user)
            .with_database(&section.database)
            .with_compression(::clickhouse::Compression::None)
            // `final` hides replaced rows that are not merged away yet.
            .with_setting("final", "1")
            .with_setting("output_format_json_quote_decimals", "1")
            .with_setting("output_format_json_quote_denormals", "0")
            // Without this, an answer with half of the rows could look complete.
            .with_setting("wait_end_of_query", "1");
        if let Some(password) = &section.password {
            client = client.with_password(password.expose_secret());
        }
        Self { client, database: section.database.clone() }
    }
}

impl Database for ClickHouseDatabase {
    const WHAT: &'static str = "table";
    const IS_STRICT: bool = true;

    async fn read(&self, query: &Query, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
        let (sql, values) = query.sql(|name| format!("`{name}`"));
        let mut request = self.client.query(&sql);
        for value in &values {
            request = match value {
                Wanted::Text(text) => request.bind(text),
                Wanted::Number(number) => request.bind(number),
            };
        }
        let failed = |error: Error| meaning(&error, &query.table);
        let mut cursor = request.fetch_bytes("JSONCompactEachRow").map_err(failed)?;
        let mut rest: Vec<u8> = Vec::new();
        while let Some(chunk) = cursor.next().await.map_err(failed)? {
            let mut lines = chunk.split(|byte| *byte == b'\n');
            rest.extend_from_slice(lines.next().unwrap_or_default());
            for begin in lines {
                take(&rest, &query.table, rows)?;
                rest.clear();
                rest.extend_from_slice(begin);
            }
            if rest.len() > MAX_BYTES {
                return Err(DatabaseError::TooManyBytes { table: query.table.clone(), most: MAX_BYTES });
            }
        }
        take(&rest, &query.table, rows)
    }

    async fn find(&self, pattern: &Pattern) -> Result<Found, DatabaseError> {
        let failed = |error: Error| meaning(&error, "system.columns");
        let tables: Vec<String> = self
            .client
            .query("SELECT name FROM system.tables WHERE database = ? ORDER BY name LIMIT ?")
            .bind(&self.database)
            .bind(MAX_TABLES as u64)
            .fetch_all()
            .await
            .map_err(failed)?;
        let Some(table) = tables.iter().find(|name| pattern.may_be(name)) else { return Ok(Found::Nothing(tables)) };
        let columns = self
            .client
            .query("SELECT name FROM system.columns WHERE database = ? AND table = ? ORDER BY position")
            .bind(&self.database)
            .bind(table)
            .fetch_all()
            .await
            .map_err(failed)?;
        Ok(Found::Table { name: table.clone(), columns })
    }
}

/// Takes one line as a row. The last line is empty.
fn take(line: &[u8], table: &str, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
    if line.is_empty() {
        return Ok(());
    }
    let bad = |reason: String, line: &[u8]| {
        DatabaseError::bad_row(table, rows.num_rows() + 1, reason, &String::from_utf8_lossy(line))
    };
    let text = std::str::from_utf8(line).map_err(|error| bad(error.to_string(), line))?;
    let cells = json::array(text).map_err(|error| bad(error.to_string(), line))?;
    rows.push(&cells)
}

/// Maps a client error to a database error.
fn meaning(error: &Error, table: &str) -> DatabaseError {
    let reason = excerpt(&with_advice("sources.clickhouse", text_of(error)));
    if matches!(error, Error::Network(_) | Error::NotEnoughData) {
        return DatabaseError::Unreachable(reason);
    }
    // A user with `readonly = 1` may change no setting, not even `final`.
    if reason.contains("Code: 164.") {
        return DatabaseError::Access(format!("{reason}; the user needs readonly = 2"));
    }
    match classify(error, Effect::None) {
        StoreErrorClass::Access if reason.contains("Not enough privileges") => DatabaseError::Access(reason),
        StoreErrorClass::Access => DatabaseError::Login(reason),
        StoreErrorClass::Schema if reason.contains("Code: 60.") => {
            DatabaseError::NoTable { what: ClickHouseDatabase::WHAT, table: table.to_owned() }
        }
        StoreErrorClass::Transient | StoreErrorClass::OutcomeUnknown => DatabaseError::Server(reason),
        _ => DatabaseError::Refused { table: table.to_owned(), reason },
    }
}
