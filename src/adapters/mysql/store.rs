// Upstream: app, mysql, tests::it
// Downstream: actors, adapters, config, stock_info, sync_record, trade_day
// Role: Implements the reference port on Ginkgo's MySQL database: stock list, calendar and sync records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actors::domain::{Code, Listing, Stock, SyncRecord, TradeDay, shanghai_clock};
use actors::ports::{MergeCounts, ReferenceStore, StoreError, StoreErrorClass};
use async_trait::async_trait;
use chrono::NaiveDate;
use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};
use sqlx::{ConnectOptions, Executor, MySqlConnection};

use crate::adapters::mysql::{stock_info, sync_record, trade_day};
use crate::adapters::probe::Answer;
use crate::config::MySqlSection;

/// The oldest supported MySQL version.
const OLDEST_MYSQL: (u32, u32) = (5, 7);

/// The oldest supported MariaDB version.
const OLDEST_MARIADB: (u32, u32) = (10, 3);

/// Maximum number of pooled connections. Occasional reads need no more, and server connections are limited.
const MAX_CONNECTIONS: u32 = 2;

/// Maximum wait for another worker that merges the same table.
const LOCK_SECONDS: u64 = 30;

/// Selects the codes that are not marked as deleted.
const SELECT: &str = "SELECT code FROM stock_info WHERE is_del = 0";

/// Stock list, calendar and sync records in MySQL or MariaDB.
pub struct MySqlReference {
    pool: MySqlPool,
    store: String,
    timeout: Duration,
    /// Whether the table `data_sync_record` is known to exist.
    has_sync_records: AtomicBool,
}

impl MySqlReference {
    /// Creates the pool; the first request connects.
    pub fn new(config: &MySqlSection) -> Self {
        let mut options = MySqlConnectOptions::new()
            .host(&config.host)
            .port(config.port)
            .username(&config.user)
            .database(&config.database);
        if let Some(password) = &config.password {
            options = options.password(password.expose_secret());
        }
        let timeout = Duration::from_millis(config.timeout_ms);
        let pool = MySqlPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(timeout)
            .connect_lazy_with(options);
        let store = format!("MySQL {}:{} database {}", config.host, config.port, config.database);
        Self { pool, store, timeout, has_sync_records: AtomicBool::new(false) }
    }

    /// Checks the version of the server and whether the table exists.
    pub async fn probe(&self) -> Result<Answer, String> {
        // Not from the pool: it retries until its own timeout and then discards the reason.
        let mut connection = self.pool.connect_options().connect().await.map_err(|error| error.to_string())?;
        let version: String = sqlx::query_scalar("SELECT VERSION()")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| error.to_string())?;
        let num_tables: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'stock_info'",
        )
        .fetch_one(&mut connection)
        .await
        .map_err(|error| error.to_string())?;
        let answer = if version.to_ascii_lowercase().contains("mariadb") {
            Answer::default().with_version("MariaDB", &version, OLDEST_MARIADB)
        } else {
            Answer::default().with_version("MySQL", &version, OLDEST_MYSQL)
        };
        let state =
            if num_tables > 0 { "exists" } else { "does not exist yet; Ginkgo or the first stock list creates it" };
        Ok(answer.with(format!("table stock_info {state}")))
    }

    /// Runs an operation with a timeout and classifies its error.
    async fn bounded<T>(
        &self,
        operation: &str,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let (class, reason) = match tokio::time::timeout(self.timeout, work).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(error)) => (classify(&error), error.to_string()),
            Err(_) => (StoreErrorClass::Transient, format!("no answer within {:?}", self.timeout)),
        };
        Err(StoreError { store: self.store.clone(), operation: operation.to_owned(), class, reason })
    }

    /// A separate connection with a transaction and a named lock. The lock is required because Ginkgo's tables have no
    /// unique key that prevents two workers from adding the same row. Both end with the connection.
    async fn locked(&self, table: &str, create: &str) -> Result<MySqlConnection, sqlx::Error> {
        let mut connection = self.pool.connect_options().connect().await?;
        connection.execute(create).await?;
        let lock = format!("ginkgo.{table}");
        let locked: Option<i64> = sqlx::query_scalar("SELECT GET_LOCK(?, ?)")
            .bind(&lock)
            .bind(LOCK_SECONDS)
            .fetch_one(&mut connection)
            .await?;
        connection.execute("START TRANSACTION").await?;
        if locked == Some(1) { Ok(connection) } else { Err(sqlx::Error::PoolTimedOut) }
    }

    async fn merge_stocks_now(&self, stocks: &[Stock]) -> Result<MergeCounts, sqlx::Error> {
        let mut connection = self.locked("stock_info", stock_info::CREATE).await?;
        let counts = stock_info::merge_into(&mut connection, stocks, shanghai_clock::now()).await?;
        connection.execute("COMMIT").await?;
        Ok(counts)
    }

    async fn merge_days_now(&self, days: &[TradeDay]) -> Result<MergeCounts, sqlx::Error> {
        let mut connection = self.locked("trade_day", trade_day::CREATE).await?;
        let counts = trade_day::merge_into(&mut connection, days, shanghai_clock::now()).await?;
        connection.execute("COMMIT").await?;
        Ok(counts)
    }
}

#[async_trait]
impl ReferenceStore for MySqlReference {
    async fn listed_codes(&self) -> Result<Vec<Code>, StoreError> {
        let reading = sqlx::query_scalar::<_, String>(SELECT).fetch_all(&self.pool);
        let texts = self.bounded("read the listed codes", without_table(reading)).await?;
        let num_rows = texts.len();
        let mut codes: Vec<Code> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        if codes.len() < num_rows {
            let example = texts.iter().find(|text| text.parse::<Code>().is_err());
            tracing::warn!(unreadable = num_rows - codes.len(), ?example, "rows of stock_info have no valid code");
        }
        codes.sort_unstable();
        codes.dedup();
        Ok(codes)
    }

    async fn listings(&self) -> Result<Vec<Listing>, StoreError> {
        let reading = async { stock_info::listings(&mut *self.pool.acquire().await?).await };
        self.bounded("read the listings", without_table(reading)).await
    }

    async fn trade_days(&self) -> Result<Vec<(NaiveDate, bool)>, StoreError> {
        let reading = async { trade_day::days(&mut *self.pool.acquire().await?).await };
        self.bounded("read the calendar", without_table(reading)).await
    }

    async fn merge_stocks(&self, stocks: &[Stock]) -> Result<MergeCounts, StoreError> {
        self.bounded(&format!("merge {} securities", stocks.len()), self.merge_stocks_now(stocks)).await
    }

    async fn merge_trade_days(&self, days: &[TradeDay]) -> Result<MergeCounts, StoreError> {
        self.bounded(&format!("merge {} days", days.len()), self.merge_days_now(days)).await
    }

    async fn record_syncs(&self, records: &[SyncRecord]) -> Result<(), StoreError> {
        let adding = async {
            let mut connection = self.pool.acquire().await?;
            if !self.has_sync_records.load(Ordering::Acquire) {
                (&mut *connection).execute(sync_record::CREATE).await?;
                self.has_sync_records.store(true, Ordering::Release);
            }
            sync_record::add(&mut connection, records).await
        };
        self.bounded(&format!("record {} ended tasks", records.len()), adding).await
    }
}

/// Returns no rows if the table does not exist yet.
async fn without_table<T>(reading: impl Future<Output = Result<Vec<T>, sqlx::Error>>) -> Result<Vec<T>, sqlx::Error> {
    match reading.await {
        Err(error) if error.as_database_error().and_then(|database| database.code()).as_deref() == Some("42S02") => {
            Ok(Vec::new())
        }
        other => other,
    }
}

/// The class of an error, by the SQLSTATE of the server.
fn classify(error: &sqlx::Error) -> StoreErrorClass {
    let state = error.as_database_error().and_then(|database| database.code());
    match state.as_deref() {
        // Access denied for the user, or to the database.
        Some("28000" | "42000") => StoreErrorClass::Access,
        // No such table, no such column.
        Some("42S02" | "42S22") => StoreErrorClass::Schema,
        _ => StoreErrorClass::Transient,
    }
}
