// Upstream: many
// Downstream: many
// Role: Accesses one ClickHouse table: creates and checks it, inserts and deletes rows, with a timeout per request.

use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use ::clickhouse::Client;
use ::clickhouse::error::Error;
use actors::domain::PriceFormat;
use actors::ports::{StoreError, StoreErrorClass};
use bytes::Bytes;
use secrecy::ExposeSecret;

use crate::adapters::clickhouse::clock::TableClock;
use crate::adapters::clickhouse::connector;
use crate::adapters::clickhouse::decimals::{DecimalColumn, MAX_COLUMNS};
use crate::adapters::clickhouse::errors::{Effect, classify, text_of};
use crate::adapters::clickhouse::schema::{FoundColumn, TableSchema, deduplicates, identifier};
use crate::adapters::probe::Answer;
use crate::config::{ClickHouseSection, Compression, query_settings};

/// The first ClickHouse version whose lightweight DELETE is not experimental; the worker removes replaced rows with it.
const OLDEST_VERSION: (u32, u32) = (23, 3);

/// A table in one database.
pub struct Table {
    /// The client with this database as its default, so that the server's query log contains the name.
    pub client: Client,
    /// The client without a default database: the server rejects requests with one that does not exist yet.
    server: Client,
    address: String,
    /// The name of the database.
    pub database: String,
    timeout: Duration,
    schema: TableSchema,
    insert: String,
    /// Set by [`Table::prepare`] and [`Table::check`].
    facts: RwLock<Option<TableFacts>>,
}

/// Properties of a table that are required for reading and writing.
#[derive(Debug, Clone, Copy)]
pub struct TableFacts {
    /// Converts between wall clock and epoch.
    pub clock: TableClock,
    /// Whether the table deduplicates INSERTs by token.
    pub deduplicates_retries: bool,
    /// The columns of prices and amounts, in the order of the schema.
    pub decimals: [DecimalColumn; MAX_COLUMNS],
}

impl TableFacts {
    /// What the price columns hold.
    pub fn price_format(&self) -> PriceFormat {
        let [prices @ .., amount] = &self.decimals;
        let prices = prices.iter().fold(PriceFormat::FINEST, |format, column| format.min(column.price_format()));
        // Amounts have two decimals, but must have room, too.
        PriceFormat { digits: prices.digits.min(amount.price_format().digits), ..prices }
    }
}

/// What a table is checked for.
#[derive(Debug, Clone, Copy)]
enum Use {
    /// SELECT.
    Reading,
    /// INSERT and DELETE as well.
    Writing,
}

impl Table {
    /// Creates the client; the first request connects.
    pub fn new(config: &ClickHouseSection, schema: TableSchema) -> Self {
        let compression = match config.compression {
            Compression::None => ::clickhouse::Compression::None,
            Compression::Lz4 => ::clickhouse::Compression::Lz4,
        };
        let mut client = connector::client(config)
            .with_compression(compression)
            .with_user(&config.user)
            // The worker checks the schema at startup, and each statement has an explicit column list.
            .with_validation(false);
        if let Some(password) = &config.password {
            client = client.with_password(password.expose_secret());
        }
        for (name, value) in config.settings.iter().filter_map(|entry| query_settings::split(entry)) {
            client = client.with_setting(name, value);
        }
        Self {
            client: client.clone().with_database(&config.database),
            server: client,
            address: format!("ClickHouse {}", config.address()),
            database: config.database.clone(),
            timeout: Duration::from_millis(config.timeout_ms),
            insert: schema.insert(&config.database),
            schema,
            facts: RwLock::new(None),
        }
    }

    /// Another table in the same database that uses the same connections.
    pub fn beside(&self, schema: TableSchema) -> Self {
        Self {
            client: self.client.clone(),
            server: self.server.clone(),
            address: self.address.clone(),
            database: self.database.clone(),
            timeout: self.timeout,
            insert: schema.insert(&self.database),
            schema,
            facts: RwLock::new(None),
        }
    }

    /// Whether the table exists.
    pub async fn is_there(&self) -> Result<bool, StoreError> {
        Ok(!self.columns().await?.is_empty())
    }

    /// The quoted name of the table with its database.
    pub fn full_name(&self) -> String {
        self.schema.full_name(&self.database)
    }

    /// An error about this table.
    pub fn error(&self, operation: impl Into<String>, class: StoreErrorClass, reason: impl Into<String>) -> StoreError {
        StoreError { store: self.store(), operation: operation.into(), class, reason: reason.into() }
    }

    /// The name of the table in errors.
    fn store(&self) -> String {
        format!("{} table {}.{}", self.address, self.database, self.schema.name)
    }

    /// The answers of these queries, at most `max_rows`. Each row is converted as it arrives, so no answer is held
    /// twice.
    pub async fn look_up<R, T>(
        &self,
        operation: &str,
        queries: impl IntoIterator<Item = String>,
        max_rows: usize,
        convert: impl Fn(R) -> Option<T>,
    ) -> Result<Vec<T>, StoreError>
    where
        R: ::clickhouse::RowOwned + ::clickhouse::RowRead,
    {
        let mut found = Vec::new();
        for query in queries {
            let query = self.client.query_raw(&query);
            let reading = async {
                let mut rows = query.fetch::<R>()?;
                while let Some(row) = rows.next().await? {
                    if found.len() >= max_rows {
                        return Ok(true);
                    }
                    found.extend(convert(row));
                }
                Ok(false)
            };
            if self.bounded(operation, Effect::None, reading).await? {
                return Err(StoreError::too_many_rows(self.store(), operation, max_rows));
            }
        }
        Ok(found)
    }

    /// Runs a request with a timeout and classifies its error.
    pub async fn bounded<T>(
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

    /// The facts of the table; an error before the first check.
    pub fn facts(&self, operation: &str) -> Result<TableFacts, StoreError> {
        let facts = *self.facts.read().unwrap_or_else(PoisonError::into_inner);
        facts.ok_or_else(|| self.error(operation, StoreErrorClass::Transient, "the table has not been checked yet"))
    }

    /// Whether the table deduplicates INSERTs by token; false before the first check.
    pub fn deduplicates_retries(&self) -> bool {
        let facts = *self.facts.read().unwrap_or_else(PoisonError::into_inner);
        facts.is_some_and(|facts| facts.deduplicates_retries)
    }

    /// Discards the facts, so that the table is checked again before its next use.
    pub fn forget_facts(&self) {
        *self.facts.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn has_database(&self) -> Result<bool, StoreError> {
        let query = self.server.query("SELECT count() FROM system.databases WHERE name = ?").bind(&self.database);
        let count: u64 = self.bounded("look for the database", Effect::None, query.fetch_one()).await?;
        Ok(count > 0)
    }

    async fn columns(&self) -> Result<Vec<FoundColumn>, StoreError> {
        let query = self
            .server
            .query("SELECT name, type AS kind, default_kind FROM system.columns WHERE database = ? AND table = ?")
            .bind(&self.database)
            .bind(&self.schema.name);
        self.bounded("read the columns", Effect::None, query.fetch_all()).await
    }

    async fn engine(&self) -> Result<(String, String), StoreError> {
        let query = self
            .server
            .query("SELECT engine, engine_full FROM system.tables WHERE database = ? AND name = ?")
            .bind(&self.database)
            .bind(&self.schema.name);
        self.bounded("read the engine", Effect::None, query.fetch_one()).await
    }

    async fn server_zone(&self) -> Result<String, StoreError> {
        self.bounded("read the server's zone", Effect::None, self.server.query("SELECT timezone()").fetch_one()).await
    }

    /// Checks the version of the server and the existing table. Creates nothing.
    pub async fn probe(&self) -> Result<Answer, StoreError> {
        let version: String =
            self.bounded("read the version", Effect::None, self.server.query("SELECT version()").fetch_one()).await?;
        self.probe_table(Answer::default().with_version("ClickHouse", &version, OLDEST_VERSION)).await
    }

    /// Adds to an answer whether the worker can use the existing table.
    pub async fn probe_table(&self, answer: Answer) -> Result<Answer, StoreError> {
        let table = format!("{}.{}", self.database, self.schema.name);
        if self.columns().await?.is_empty() {
            return Ok(answer.with(format!("table {table} does not exist yet; the worker creates it at startup")));
        }
        match self.inspect(Use::Writing).await {
            Ok(_) => Ok(answer.with(format!("table {table} is as expected"))),
            Err(error) if error.class == StoreErrorClass::Schema => Ok(answer.with_fault(error.reason)),
            Err(error) => Err(error),
        }
    }

    /// The tables of this database whose name has this ending, and the engine of each.
    pub async fn engines(&self, ending: &str) -> Result<Vec<(String, String)>, StoreError> {
        let query = self
            .server
            .query("SELECT name, engine FROM system.tables WHERE database = ? AND endsWith(name, ?) ORDER BY name")
            .bind(&self.database)
            .bind(ending);
        self.bounded("read the engines", Effect::None, query.fetch_all()).await
    }

    /// Checks the table and determines its facts.
    async fn inspect(&self, purpose: Use) -> Result<TableFacts, StoreError> {
        let columns = self.columns().await?;
        let (engine, engine_full) = self.engine().await?;
        let obstacle = match purpose {
            Use::Reading => None,
            Use::Writing => self.schema.obstacle(&self.database, &engine, &columns),
        };
        if let Some(problems) = obstacle.or(self.schema.mismatch(&self.database, &columns)) {
            return Err(self.error("check the table", StoreErrorClass::Schema, problems));
        }
        let zone = self.server_zone().await?;
        let column_type = columns.iter().find(|column| column.name == "timestamp").map_or("", |column| &column.kind);
        let Some(clock) = TableClock::of_column(column_type, &zone) else {
            let reason = format!("unknown time zone of column type {column_type} on a server in the zone {zone}");
            return Err(self.error("check the table", StoreErrorClass::Schema, reason));
        };
        let deduplicates_retries = deduplicates(&engine, &engine_full);
        tracing::info!(
            database = self.database,
            table = %self.schema.name,
            engine,
            %clock,
            deduplicates_retries,
            "table checked"
        );
        Ok(TableFacts { clock, deduplicates_retries, decimals: self.schema.decimals(&columns) })
    }

    /// Creates the database and the table if they are missing, and checks whether the table can be written.
    pub async fn prepare(&self) -> Result<(), StoreError> {
        if !self.has_database().await? {
            let statement = format!("CREATE DATABASE IF NOT EXISTS {}", identifier(&self.database));
            let query = self.server.query_raw(&statement).execute();
            self.bounded("create the database", Effect::None, query).await?;
        }
        if self.columns().await?.is_empty() {
            let statement = self.schema.create(&self.database);
            let query = self.client.query_raw(&statement).execute();
            self.bounded("create the table", Effect::None, query).await?;
            self.client.clear_cached_metadata().await;
        }
        self.check_for(Use::Writing).await
    }

    /// Checks whether the table, which must exist, can be read.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.check_for(Use::Reading).await
    }

    async fn check_for(&self, purpose: Use) -> Result<(), StoreError> {
        if !self.is_there().await? {
            let reason = "the table does not exist; a worker creates it at startup";
            return Err(self.error("check the table", StoreErrorClass::Schema, reason));
        }
        let facts = self.inspect(purpose).await?;
        *self.facts.write().unwrap_or_else(PoisonError::into_inner) = Some(facts);
        Ok(())
    }

    /// Inserts encoded rows in one request body: some servers abort a stream that pauses between chunks. `token` is the
    /// deduplication token and must identify exactly these rows.
    pub async fn insert(&self, bytes: Bytes, num_rows: usize, token: &str) -> Result<(), StoreError> {
        let (rows, seconds) = (num_rows.to_string(), self.timeout.as_secs().max(1).to_string());
        let mut insert = self
            .client
            .insert_formatted_with(self.insert.as_str())
            .with_setting("async_insert", "0")
            // An INSERT whose sender is gone must not store rows later than this.
            .with_setting("max_execution_time", seconds.as_str())
            .with_setting("wait_end_of_query", "1")
            // One block, so that the token covers the whole batch.
            .with_setting("max_insert_block_size", rows.as_str())
            .with_setting("min_insert_block_size_rows", rows.as_str())
            .with_setting("insert_deduplicate", "1")
            .with_setting("insert_deduplication_token", token);
        let sending = async {
            insert.send(bytes).await?;
            insert.end().await
        };
        self.bounded(&format!("insert {num_rows} rows"), Effect::Insert, sending).await
    }

    /// Runs DELETE statements and waits until the rows are invisible to all readers.
    pub async fn remove(&self, operation: &str, statements: Vec<String>) -> Result<(), StoreError> {
        for statement in statements {
            let query = self.client.query_raw(&statement).with_setting("mutations_sync", "2").execute();
            self.bounded(operation, Effect::None, query).await?;
        }
        Ok(())
    }
}
