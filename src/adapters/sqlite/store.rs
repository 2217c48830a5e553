// Upstream: many
// Downstream: actors
// Role: Opens the SQLite file and implements the bar port on it.

use std::collections::HashMap;
use std::path::Path;

use actors::domain::{Code, DateRange, DayTotal, Frequency, Price, PriceFormat};
use actors::ports::{BarBatch, BarStore, IdentifiedBar, KeySpan, StoreError, StoreErrorClass, StoredBar};
use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};

/// The tables with Ginkgo's columns. A replacement inserts the new row before it deletes the old one, so a key may have
/// two rows for a moment. So the uuid is part of the primary key. It also makes a repeated insert of a row a no-op.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS bar (
        code TEXT NOT NULL, open TEXT NOT NULL, high TEXT NOT NULL, low TEXT NOT NULL, close TEXT NOT NULL,
        volume INTEGER NOT NULL, amount TEXT NOT NULL, frequency INTEGER NOT NULL, uuid TEXT NOT NULL,
        timestamp TEXT NOT NULL, source INTEGER NOT NULL,
        PRIMARY KEY (code, frequency, timestamp, uuid)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS stock_info (
        code TEXT NOT NULL PRIMARY KEY, code_name TEXT NOT NULL DEFAULT '', industry TEXT NOT NULL DEFAULT '',
        list_date TEXT NOT NULL DEFAULT '', delist_date TEXT NOT NULL DEFAULT '');
    CREATE TABLE IF NOT EXISTS stock_departure (
        code TEXT NOT NULL PRIMARY KEY, absent_since TEXT, is_del INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS data_sync_record (
        sync_type TEXT NOT NULL, code TEXT NOT NULL, status TEXT NOT NULL, completed_at TEXT NOT NULL,
        duration_ms INTEGER NOT NULL, records_processed INTEGER NOT NULL, records_added INTEGER NOT NULL,
        records_updated INTEGER NOT NULL, records_failed INTEGER NOT NULL, error_message TEXT, sync_strategy TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS tick (
        code TEXT NOT NULL, timestamp TEXT NOT NULL, price TEXT NOT NULL, volume INTEGER NOT NULL,
        direction INTEGER NOT NULL, uuid TEXT NOT NULL, source INTEGER NOT NULL, PRIMARY KEY (code, uuid)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS trade_day (timestamp TEXT NOT NULL PRIMARY KEY, is_open INTEGER NOT NULL);";

/// The text format of timestamps; it sorts chronologically.
pub const TIME: &str = "%Y-%m-%d %H:%M:%S";

/// All tables in one SQLite file.
pub struct SqliteStore {
    /// The connection pool.
    pub pool: SqlitePool,
    file: String,
}

/// A summary of the stored bars of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeSummary {
    /// The code.
    pub code: String,
    /// Number of rows.
    pub num_rows: i64,
    /// The timestamp of the first row.
    pub first: String,
    /// The timestamp of the last row.
    pub last: String,
}

impl SqliteStore {
    /// Opens the file; creates it if it does not exist.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        let options =
            SqliteConnectOptions::new().filename(file).create_if_missing(true).journal_mode(SqliteJournalMode::Wal);
        let name = file.display().to_string();
        // SQLite has one writer at a time; the second connection allows concurrent reads.
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await;
        let pool = pool.map_err(|error| error_of(&name, "open", &error))?;
        Ok(Self { pool, file: name })
    }

    /// Adds codes to the stock list.
    pub async fn list_codes(&self, codes: &[Code]) -> Result<(), StoreError> {
        for code in codes {
            let insert = sqlx::query("INSERT OR IGNORE INTO stock_info (code) VALUES (?)").bind(code.as_str());
            insert.execute(&self.pool).await.map_err(|error| self.error("add a code", &error))?;
        }
        Ok(())
    }

    /// Summaries of the stored bars, by code.
    pub async fn summary(&self) -> Result<Vec<CodeSummary>, StoreError> {
        let sql = "SELECT code, count(*) AS num_rows, min(timestamp) AS first, max(timestamp) AS last \
                   FROM bar GROUP BY code ORDER BY code";
        let rows: Vec<(String, i64, String, String)> =
            sqlx::query_as(sql).fetch_all(&self.pool).await.map_err(|error| self.error("summarise", &error))?;
        let summary = |(code, num_rows, first, last)| CodeSummary { code, num_rows, first, last };
        Ok(rows.into_iter().map(summary).collect())
    }

    /// Waits for running statements and closes the file. Afterwards it is complete without a separate WAL file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// The error of a look-up that found more than `max_rows` rows.
    pub fn too_many_rows(&self, operation: &str, max_rows: usize) -> StoreError {
        StoreError::too_many_rows(format!("SQLite {}", self.file), operation, max_rows)
    }

    /// An error about this file.
    pub fn error(&self, operation: &str, error: &sqlx::Error) -> StoreError {
        error_of(&self.file, operation, error)
    }
}

fn error_of(file: &str, operation: &str, error: &sqlx::Error) -> StoreError {
    let class = match error {
        sqlx::Error::Database(database) if database.code().as_deref() == Some("5") => StoreErrorClass::Transient,
        sqlx::Error::PoolTimedOut => StoreErrorClass::Transient,
        _ => StoreErrorClass::Refused,
    };
    StoreError { store: format!("SQLite {file}"), operation: operation.to_owned(), class, reason: error.to_string() }
}

/// Parses a timestamp in the format [`TIME`].
pub fn time_of(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, TIME).ok()
}

async fn insert_row(row: &IdentifiedBar, transaction: &mut sqlx::SqliteConnection) -> Result<(), sqlx::Error> {
    let IdentifiedBar { bar, uuid } = row;
    sqlx::query("INSERT OR IGNORE INTO bar VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(bar.code.as_str())
        .bind(bar.open.to_string())
        .bind(bar.high.to_string())
        .bind(bar.low.to_string())
        .bind(bar.close.to_string())
        .bind(bar.volume)
        .bind(bar.amount.to_string())
        .bind(bar.frequency.as_ginkgo())
        .bind(uuid)
        .bind(bar.timestamp.format(TIME).to_string())
        .bind(bar.source.number())
        .execute(transaction)
        .await?;
    Ok(())
}

#[async_trait]
impl BarStore for SqliteStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        sqlx::raw_sql(SCHEMA).execute(&self.pool).await.map_err(|error| self.error("create the tables", &error))?;
        Ok(())
    }

    fn price_format(&self) -> PriceFormat {
        // Columns of text.
        PriceFormat::FINEST
    }

    fn deduplicates_retries(&self) -> bool {
        true // by the primary key
    }

    async fn latest(&self, frequency: Frequency) -> Result<HashMap<Code, NaiveDateTime>, StoreError> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT code, max(timestamp) FROM bar WHERE frequency = ? GROUP BY code")
                .bind(frequency.as_ginkgo())
                .fetch_all(&self.pool)
                .await
                .map_err(|error| self.error("read the newest timestamps", &error))?;
        Ok(rows.into_iter().filter_map(|(code, time)| Some((code.parse().ok()?, time_of(&time)?))).collect())
    }

    async fn last_closes(&self, since: NaiveDate) -> Result<HashMap<Code, (NaiveDate, Price)>, StoreError> {
        // With max(), SQLite takes the other columns from the row that has the maximum.
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT code, max(timestamp), close FROM bar WHERE frequency = ? AND timestamp >= ? GROUP BY code",
        )
        .bind(Frequency::Day.as_ginkgo())
        .bind(since.to_string())
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.error("read the last closes", &error))?;
        let read = |(code, time, close): (String, String, String)| {
            let close = Price::from_decimal(close.parse().ok()?)?;
            Some((code.parse().ok()?, (time_of(&time)?.date(), close)))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    async fn day_totals(&self, code: Code, range: DateRange) -> Result<Vec<DayTotal>, StoreError> {
        let rows: Vec<(String, String, String, String, i64)> = sqlx::query_as(
            "SELECT timestamp, high, low, close, volume FROM bar \
             WHERE code = ? AND frequency = ? AND timestamp BETWEEN ? AND ? GROUP BY timestamp ORDER BY timestamp",
        )
        .bind(code.as_str())
        .bind(Frequency::Day.as_ginkgo())
        .bind(range.start.to_string())
        .bind(format!("{} 23:59:59", range.end))
        .fetch_all(&self.pool)
        .await
        .map_err(|error| self.error("read daily bars", &error))?;
        let price = |text: String| Price::from_decimal(text.parse().ok()?);
        let read = |(time, high, low, close, volume): (String, String, String, String, i64)| {
            let day = time_of(&time)?.date();
            Some(DayTotal { day, high: price(high)?, low: price(low)?, close: price(close)?, volume })
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    async fn stored(
        &self,
        frequency: Frequency,
        spans: &[KeySpan],
        max_rows: usize,
    ) -> Result<Vec<StoredBar>, StoreError> {
        let mut stored = Vec::new();
        for span in spans {
            let rows: Vec<(String, String)> = sqlx::query_as(
                "SELECT timestamp, uuid FROM bar WHERE code = ? AND frequency = ? AND timestamp BETWEEN ? AND ?",
            )
            .bind(span.code.as_str())
            .bind(frequency.as_ginkgo())
            .bind(span.from.map_or(String::new(), |time| time.format(TIME).to_string()))
            .bind(span.to.map_or("9999".to_owned(), |time| time.format(TIME).to_string()))
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.error("look up stored bars", &error))?;
            let known = rows
                .into_iter()
                .filter_map(|(time, uuid)| Some(StoredBar { code: span.code, timestamp: time_of(&time)?, uuid }));
            stored.extend(known);
            if stored.len() > max_rows {
                return Err(self.too_many_rows("look up stored bars", max_rows));
            }
        }
        Ok(stored)
    }

    async fn insert(&self, batch: &BarBatch) -> Result<(), StoreError> {
        let operation = format!("insert {} rows", batch.rows.len());
        let failed = |error: sqlx::Error| self.error(&operation, &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for row in batch.rows.iter() {
            insert_row(row, &mut transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn remove(&self, frequency: Frequency, rows: &[StoredBar]) -> Result<(), StoreError> {
        let operation = format!("remove {} replaced rows", rows.len());
        let failed = |error: sqlx::Error| self.error(&operation, &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for row in rows {
            sqlx::query("DELETE FROM bar WHERE code = ? AND frequency = ? AND timestamp = ? AND uuid = ?")
                .bind(row.code.as_str())
                .bind(frequency.as_ginkgo())
                .bind(row.timestamp.format(TIME).to_string())
                .bind(&row.uuid)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}
