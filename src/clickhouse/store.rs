// Upstream: benches::pipeline::write_path, clickhouse, service_hub
// Downstream: actors::domain::bar, actors::domain::code, actors::ports, clickhouse::clock, clickhouse::errors, clickhouse::rows, clickhouse::schema, clickhouse::statements, config::sections, probe
// Role: The port to bars in ClickHouse.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use ::clickhouse::error::Error;
use ::clickhouse::{Client, Row};
use actors::domain::{Code, Frequency};
use actors::ports::{BarBatch, BarStore, KeySpan, StoreError, StoreErrorClass, StoredBar};
use async_trait::async_trait;
use chrono::NaiveDateTime;
use secrecy::ExposeSecret;
use serde::Deserialize;

use crate::clickhouse::clock::TableClock;
use crate::clickhouse::errors::{Effect, classify, text_of};
use crate::clickhouse::schema::{COLUMNS, TABLE, create_table, deduplicates, identifier, mismatch};
use crate::clickhouse::{rows, statements};
use crate::config::{ClickHouseSection, Compression};
use crate::probe::Answer;

/// The first ClickHouse whose DELETE is no experiment any more; replaced rows are removed by it.
const OLDEST_VERSION: (u32, u32) = (23, 3);

/// Bars in one ClickHouse database.
pub struct ClickHouseBars {
    /// With the database as the session's, so that the server's own query log names it.
    client: Client,
    /// Without one: a server refuses statements in a database that is not there yet.
    server: Client,
    address: String,
    database: String,
    timeout: Duration,
    insert: String,
    /// Known after [`BarStore::prepare`].
    table: RwLock<Option<TableFacts>>,
}

/// What must be known of the table before anything is read or written.
#[derive(Debug, Clone, Copy)]
struct TableFacts {
    clock: TableClock,
    deduplicates_retries: bool,
}

#[derive(Row, Deserialize)]
struct StoredRow {
    code: String,
    timestamp: u32,
    uuid: String,
}

#[derive(Row, Deserialize)]
struct LatestRow {
    code: String,
    newest: u32,
}

impl ClickHouseBars {
    /// Connects to nothing yet.
    pub fn new(config: &ClickHouseSection) -> Self {
        let compression = match config.compression {
            Compression::None => ::clickhouse::Compression::None,
            Compression::Lz4 => ::clickhouse::Compression::Lz4,
        };
        let mut client = Client::default()
            .with_compression(compression)
            .with_url(format!("http://{}:{}", config.host, config.port))
            .with_user(&config.user)
            // The schema is checked once at the start; the column list of each statement is explicit.
            .with_validation(false);
        if let Some(password) = &config.password {
            client = client.with_password(password.expose_secret());
        }
        let columns: Vec<String> = COLUMNS.iter().map(|(name, _)| identifier(name)).collect();
        let (database, columns) = (identifier(&config.database), columns.join(", "));
        Self {
            client: client.clone().with_database(&config.database),
            server: client,
            address: format!("ClickHouse {}:{}", config.host, config.port),
            database: config.database.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            insert: format!("INSERT INTO {database}.{TABLE} ({columns}) FORMAT RowBinary"),
            table: RwLock::new(None),
        }
    }

    fn error(&self, operation: impl Into<String>, class: StoreErrorClass, reason: impl Into<String>) -> StoreError {
        let store = format!("{} table {}.{TABLE}", self.address, self.database);
        StoreError { store, operation: operation.into(), class, reason: reason.into() }
    }

    /// Bounds a request in time and says what an error of it means.
    async fn bounded<T>(
        &self,
        operation: &str,
        effect: Effect,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, StoreError> {
        let outcome = tokio::time::timeout(self.timeout, request).await.unwrap_or(Err(Error::TimedOut));
        outcome.map_err(|error| {
            let class = classify(&error, effect);
            let reason = match error {
                Error::TimedOut => format!("no answer within {:?}", self.timeout),
                error => text_of(&error),
            };
            self.error(operation, class, reason)
        })
    }

    fn facts(&self, operation: &str) -> Result<TableFacts, StoreError> {
        let facts = *self.table.read().unwrap_or_else(PoisonError::into_inner);
        facts.ok_or_else(|| self.error(operation, StoreErrorClass::Transient, "the table is not checked yet"))
    }

    async fn has_database(&self) -> Result<bool, StoreError> {
        let query = self.server.query("SELECT count() FROM system.databases WHERE name = ?").bind(&self.database);
        let count: u64 = self.bounded("look for the database", Effect::None, query.fetch_one()).await?;
        Ok(count > 0)
    }

    async fn columns(&self) -> Result<Vec<(String, String)>, StoreError> {
        let query = self
            .server
            .query("SELECT name, type FROM system.columns WHERE database = ? AND table = ?")
            .bind(&self.database)
            .bind(TABLE);
        self.bounded("read the columns", Effect::None, query.fetch_all()).await
    }

    async fn engine(&self) -> Result<(String, String), StoreError> {
        let query = self
            .server
            .query("SELECT engine, engine_full FROM system.tables WHERE database = ? AND name = ?")
            .bind(&self.database)
            .bind(TABLE);
        self.bounded("read the engine", Effect::None, query.fetch_one()).await
    }

    async fn server_zone(&self) -> Result<String, StoreError> {
        self.bounded("read the server's zone", Effect::None, self.server.query("SELECT timezone()").fetch_one()).await
    }

    /// Tries the server: its version, and the table as it is there. Creates nothing.
    pub async fn probe(&self) -> Result<Answer, StoreError> {
        let version: String =
            self.bounded("read the version", Effect::None, self.server.query("SELECT version()").fetch_one()).await?;
        let answer = Answer::default().with_version("ClickHouse", &version, OLDEST_VERSION);
        let table = format!("{}.{TABLE}", self.database);
        if self.columns().await?.is_empty() {
            return Ok(answer.with(format!("table {table} is not there yet, the worker creates it at its start")));
        }
        match self.inspect().await {
            Ok(_) => Ok(answer.with(format!("table {table} is as expected"))),
            Err(error) if error.class == StoreErrorClass::Schema => Ok(answer.with_fault(error.reason)),
            Err(error) => Err(error),
        }
    }

    /// Checks the table and learns what must be known of it.
    async fn inspect(&self) -> Result<TableFacts, StoreError> {
        let columns = self.columns().await?;
        if let Some(problems) = mismatch(&format!("{}.{TABLE}", self.database), &columns) {
            return Err(self.error("check the table", StoreErrorClass::Schema, problems));
        }
        let (engine, engine_full) = self.engine().await?;
        let zone = self.server_zone().await?;
        let column_type = columns.iter().find(|(name, _)| name == "timestamp").map_or("", |(_, kind)| kind.as_str());
        let Some(clock) = TableClock::of_column(column_type, &zone) else {
            let reason = format!("zone of {column_type} on a server in {zone} is not known");
            return Err(self.error("check the table", StoreErrorClass::Schema, reason));
        };
        let deduplicates_retries = deduplicates(&engine, &engine_full);
        tracing::info!(database = self.database, engine, ?clock, deduplicates_retries, "table checked");
        Ok(TableFacts { clock, deduplicates_retries })
    }
}

#[async_trait]
impl BarStore for ClickHouseBars {
    async fn prepare(&self) -> Result<(), StoreError> {
        if !self.has_database().await? {
            let statement = format!("CREATE DATABASE IF NOT EXISTS {}", identifier(&self.database));
            let query = self.server.query_raw(&statement).execute();
            self.bounded("create the database", Effect::None, query).await?;
        }
        if self.columns().await?.is_empty() {
            let statement = create_table(&self.database);
            let query = self.client.query_raw(&statement).execute();
            self.bounded("create the table", Effect::None, query).await?;
            self.client.clear_cached_metadata().await;
        }
        let facts = self.inspect().await?;
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = Some(facts);
        Ok(())
    }

    fn deduplicates_retries(&self) -> bool {
        let facts = *self.table.read().unwrap_or_else(PoisonError::into_inner);
        facts.is_some_and(|facts| facts.deduplicates_retries)
    }

    async fn latest(&self, frequency: Frequency) -> Result<HashMap<Code, NaiveDateTime>, StoreError> {
        let operation = "read the newest timestamps";
        let clock = self.facts(operation)?.clock;
        let statement = format!(
            "SELECT code, max(timestamp) FROM {}.{TABLE} WHERE frequency = {} GROUP BY code",
            identifier(&self.database),
            frequency.as_ginkgo()
        );
        let rows: Vec<LatestRow> =
            self.bounded(operation, Effect::None, self.client.query_raw(&statement).fetch_all()).await?;
        // Rows under a code that is none cannot be asked for either.
        let known = rows.into_iter().filter_map(|row| Some((row.code.parse().ok()?, clock.to_wall_clock(row.newest))));
        Ok(known.collect())
    }

    async fn stored(&self, frequency: Frequency, spans: &[KeySpan]) -> Result<Vec<StoredBar>, StoreError> {
        let operation = format!("look up stored bars of {} codes", spans.len());
        let clock = self.facts(&operation)?.clock;
        let lookups = statements::lookups(&self.database, frequency, spans, clock)
            .map_err(|error| self.error(&operation, StoreErrorClass::Refused, error.to_string()))?;
        let mut stored = Vec::new();
        for statement in lookups {
            let query = self.client.query_raw(&statement).fetch_all::<StoredRow>();
            let rows = self.bounded(&operation, Effect::None, query).await?;
            stored.extend(rows.into_iter().filter_map(|row| {
                let timestamp = clock.to_wall_clock(row.timestamp);
                Some(StoredBar { code: row.code.parse().ok()?, timestamp, uuid: row.uuid })
            }));
        }
        Ok(stored)
    }

    async fn insert(&self, batch: &BarBatch) -> Result<(), StoreError> {
        let operation = format!("insert {} rows", batch.rows.len());
        let clock = self.facts(&operation)?.clock;
        // Encoded as a whole and sent at once: a stream that waits between chunks is cut off by some servers.
        let bytes = rows::encode(&batch.rows, clock)
            .map_err(|error| self.error(&operation, StoreErrorClass::Schema, error.to_string()))?;
        let num_rows = batch.rows.len().to_string();
        let mut insert = self
            .client
            .insert_formatted_with(self.insert.as_str())
            .with_setting("async_insert", "0")
            .with_setting("wait_end_of_query", "1")
            // One block, so that the token stands for the whole batch.
            .with_setting("max_insert_block_size", num_rows.as_str())
            .with_setting("min_insert_block_size_rows", num_rows.as_str())
            .with_setting("insert_deduplicate", "1")
            .with_setting("insert_deduplication_token", batch.token.as_str());
        let sending = async {
            insert.send(bytes).await?;
            insert.end().await
        };
        self.bounded(&operation, Effect::Insert, sending).await
    }

    async fn remove(&self, frequency: Frequency, rows: &[StoredBar]) -> Result<(), StoreError> {
        let operation = format!("remove {} replaced rows", rows.len());
        for statement in statements::removals(&self.database, frequency, rows) {
            // Returns when the rows are gone for every reader.
            let query = self.client.query_raw(&statement).with_setting("mutations_sync", "2").execute();
            self.bounded(&operation, Effect::None, query).await?;
        }
        Ok(())
    }
}
