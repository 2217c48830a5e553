// Upstream: app, mysql, tests::it
// Downstream: many
// Role: Implements the reference port on Ginkgo's MySQL database: stock list, calendar and sync records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actors::domain::calendar::{CALENDAR_NOTICE_DAYS, TradingCalendar};
use actors::domain::departures::Departures;
use actors::domain::reference_list::StockList;
use actors::domain::{Code, Listing, Stock, SyncRecord, TradeDay, counted, shanghai_clock};
use actors::ports::{MergeCounts, ReferenceStore, StoreError, StoreErrorClass};
use async_trait::async_trait;
use chrono::NaiveDate;
use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::{ConnectOptions, MySql, MySqlConnection, Row};

use crate::adapters::mysql::error::MySqlError;
use crate::adapters::mysql::session::{Session, within};
use crate::adapters::mysql::tls_options::{explain, protect};
use crate::adapters::mysql::{cells, departed, grants, stock_info, sync_record, trade_day};
use crate::adapters::probe::Answer;
use crate::config::MySqlSection;

/// The oldest supported MySQL version.
const OLDEST_MYSQL: (u32, u32) = (5, 7);

/// The oldest supported MariaDB version.
const OLDEST_MARIADB: (u32, u32) = (10, 3);

/// Maximum number of pooled connections. Occasional reads need no more, and server connections are limited.
const MAX_CONNECTIONS: u32 = 2;

/// Maximum wait for another worker that merges the same table. After it the merge is tried again.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Selects the codes that are not marked as deleted, with their delisting days as text.
const SELECT: &str = "SELECT code, CAST(delist_date AS CHAR) FROM stock_info WHERE is_del = 0";

/// Whether the two lists can be read: one row of each.
const LOOK: &str = "SELECT code FROM stock_info LIMIT 1";
const LOOK_DAY: &str = "SELECT timestamp, is_open FROM trade_day LIMIT 1";

/// Stock list, calendar and sync records in MySQL or MariaDB.
pub struct MySqlReference {
    pool: MySqlPool,
    store: String,
    database: String,
    timeout: Duration,
    /// Why lists could not be written the last time; `None` after a success.
    write_fault: Mutex<Option<String>>,
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
            .connect_lazy_with(protect(options, config));
        let store = format!("MySQL {}:{} database {}", config.host, config.port, config.database);
        Self {
            pool,
            store,
            database: config.database.clone(),
            timeout,
            write_fault: Mutex::default(),
            has_sync_records: AtomicBool::new(false),
        }
    }

    /// Checks the version of the server and whether the table exists.
    pub async fn probe(&self) -> Result<Answer, String> {
        // Not from the pool: it retries until its own timeout and then discards the reason.
        let mut connection = match self.pool.connect_options().connect().await {
            Ok(connection) => connection,
            Err(error) => {
                let text = explain("mysql", &error);
                return match MySqlError::from(error).is_missing_database() {
                    true => self.probe_without_database().await,
                    false => Err(text),
                };
            }
        };
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
        let grants = sqlx::query("SHOW GRANTS").fetch_all(&mut connection).await.map_err(|error| error.to_string())?;
        let grants: Vec<String> = grants.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let answer = version_answer(&version);
        let state =
            if num_tables > 0 { "exists" } else { "does not exist yet; Ginkgo or the first stock list creates it" };
        // A table that cannot be read leaves the built-in calendar, as for a worker.
        let calendar = TradingCalendar::corrected_by(&self.trade_days().await.unwrap_or_default());
        let calendar = calendar_end(&calendar, shanghai_clock::today());
        Ok(self.with_rights(answer.with(format!("table stock_info {state}")).with(calendar), &grants))
    }

    /// Adds the rights that the worker needs, and as a fault those that its user lacks.
    fn with_rights(&self, answer: Answer, grants: &[String]) -> Answer {
        let (needed, lacking) = (grants::NEEDED.join(", "), grants::lacking(grants, &self.database).join(", "));
        let database = &self.database;
        match lacking.is_empty() {
            true => answer.with(format!("needs {needed} on {database}.*")),
            false => answer.with_fault(format!(
                "the user lacks {lacking} on {database}.*; the worker needs {needed}: GRANT {lacking} ON `{database}`.*"
            )),
        }
    }

    /// The answer of a server without the database: whether the worker may create it. Nothing is created.
    async fn probe_without_database(&self) -> Result<Answer, String> {
        let options = MySqlConnectOptions::clone(&self.pool.connect_options()).database("information_schema");
        let mut connection = options.connect().await.map_err(|error| error.to_string())?;
        let version: String = sqlx::query_scalar("SELECT VERSION()")
            .fetch_one(&mut connection)
            .await
            .map_err(|error| error.to_string())?;
        let grants = sqlx::query("SHOW GRANTS").fetch_all(&mut connection).await.map_err(|error| error.to_string())?;
        let grants: Vec<String> = grants.iter().filter_map(|row| row.try_get(0).ok()).collect();
        let answer = version_answer(&version);
        let database = &self.database;
        Ok(match grants::may_create(&grants) {
            true => answer.with(format!("database {database} does not exist yet; the worker creates it")),
            false => answer.with_fault(format!(
                "database {database} does not exist, and the user may not create it; create it with CREATE DATABASE \
                 `{database}`, or correct mysql.database"
            )),
        })
    }

    /// An error with what it is about.
    fn error(&self, operation: String, error: &MySqlError) -> StoreError {
        StoreError { store: self.store.clone(), operation, class: error.class(), reason: error.to_string() }
    }

    /// A connection of the pool, for single statements.
    async fn pooled(&self) -> Result<PoolConnection<MySql>, MySqlError> {
        match within(self.timeout, self.pool.acquire()).await {
            Err(error) if error.is_missing_database() => {
                self.create_database().await?;
                within(self.timeout, self.pool.acquire()).await
            }
            acquired => acquired,
        }
    }

    /// A separate connection.
    async fn connected(&self) -> Result<MySqlConnection, MySqlError> {
        match within(self.timeout, self.pool.connect_options().connect()).await {
            Err(error) if error.is_missing_database() => {
                self.create_database().await?;
                within(self.timeout, self.pool.connect_options().connect()).await
            }
            connected => connected,
        }
    }

    /// Creates the database, as it is done for ClickHouse.
    async fn create_database(&self) -> Result<(), MySqlError> {
        let options = MySqlConnectOptions::clone(&self.pool.connect_options()).database("information_schema");
        let mut connection = within(self.timeout, options.connect()).await?;
        let name = self.database.replace('`', "``");
        let create = format!("CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4");
        self.session(&mut connection).text(&create).await.map_err(|error| match error.class() {
            StoreErrorClass::Transient => error,
            _ => MySqlError::NoDatabase { database: self.database.clone(), reason: error.to_string() },
        })?;
        tracing::info!(database = self.database, "the database did not exist and was created");
        Ok(())
    }

    /// Remembers whether a list could be written.
    fn noted<T>(&self, written: Result<T, StoreError>) -> Result<T, StoreError> {
        let fault = written.as_ref().err().map(ToString::to_string);
        *self.write_fault.lock().unwrap_or_else(PoisonError::into_inner) = fault;
        written
    }

    fn session<'c>(&self, connection: &'c mut MySqlConnection) -> Session<'c> {
        Session { connection, timeout: self.timeout }
    }

    /// A separate connection with a transaction and a named lock. The lock is required because Ginkgo's tables have no
    /// unique key that prevents two workers from adding the same row. Both end with the connection.
    async fn locked(&self, table: &str, create: &str) -> Result<MySqlConnection, MySqlError> {
        let mut connection = self.connected().await?;
        let mut session = self.session(&mut connection);
        // Otherwise a lax server would store question marks and cut texts where a value does not fit.
        session.text("SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')").await?;
        session.text(create).await?;
        let lock = format!("ginkgo.{table}");
        let locking = sqlx::query("SELECT GET_LOCK(?, ?)").bind(&lock).bind(LOCK_TIMEOUT.as_secs());
        // The server answers after the wait.
        let answer =
            Session { timeout: LOCK_TIMEOUT + self.timeout, ..self.session(&mut connection) }.rows(locking).await?;
        let is_locked = answer.first().map(|row| row.try_get::<Option<i64>, _>(0)).transpose()?.flatten() == Some(1);
        if !is_locked {
            return Err(MySqlError::Locked(LOCK_TIMEOUT));
        }
        self.session(&mut connection).text("START TRANSACTION").await?;
        Ok(connection)
    }

    async fn merge_stocks_now(&self, stocks: &[Stock]) -> Result<MergeCounts, MySqlError> {
        let mut connection = self.locked("stock_info", stock_info::CREATE).await?;
        let mut session = self.session(&mut connection);
        let counts = stock_info::merge_into(&mut session, stocks, shanghai_clock::now()).await?;
        session.text("COMMIT").await?;
        Ok(counts)
    }

    async fn retire_stocks_now(&self, list: &StockList) -> Result<Departures, MySqlError> {
        let mut connection = self.locked("stock_info", stock_info::CREATE).await?;
        let mut session = self.session(&mut connection);
        let found = departed::retire(&mut session, list, shanghai_clock::now()).await?;
        session.text("COMMIT").await?;
        Ok(found)
    }

    async fn merge_days_now(&self, days: &[TradeDay]) -> Result<MergeCounts, MySqlError> {
        let mut connection = self.locked("trade_day", trade_day::CREATE).await?;
        let mut session = self.session(&mut connection);
        let counts = trade_day::merge_into(&mut session, days, shanghai_clock::now()).await?;
        session.text("COMMIT").await?;
        Ok(counts)
    }

    async fn record_now(&self, records: &[SyncRecord]) -> Result<(), MySqlError> {
        let mut connection = self.pooled().await?;
        let mut session = self.session(&mut connection);
        if !self.has_sync_records.load(Ordering::Acquire) {
            session.text(sync_record::CREATE).await?;
            self.has_sync_records.store(true, Ordering::Release);
        }
        sync_record::add(&mut session, records).await
    }
}

#[async_trait]
impl ReferenceStore for MySqlReference {
    async fn listed_codes(&self, since: NaiveDate) -> Result<Vec<Code>, StoreError> {
        let reading = async { self.session(&mut *self.pooled().await?).rows(sqlx::query(SELECT)).await };
        let texts = without_table(reading).await.and_then(|rows| listed_texts(&rows, since));
        let texts = texts.map_err(|error| self.error("read the listed codes".to_owned(), &error))?;
        let code = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Code>().ok());
        let mut codes: Vec<Code> = texts.iter().filter_map(code).collect();
        if let Some(example) = texts.iter().find(|text| code(text).is_none()) {
            let unreadable = texts.len() - codes.len();
            tracing::warn!(unreadable, example = example.as_deref(), "rows of stock_info have no valid code");
        }
        codes.sort_unstable();
        codes.dedup();
        Ok(codes)
    }

    async fn listings(&self) -> Result<Vec<Listing>, StoreError> {
        let reading = async { stock_info::listings(&mut self.session(&mut *self.pooled().await?)).await };
        without_table(reading).await.map_err(|error| self.error("read the listings".to_owned(), &error))
    }

    async fn trade_days(&self) -> Result<Vec<(NaiveDate, bool)>, StoreError> {
        let reading = async { trade_day::days(&mut self.session(&mut *self.pooled().await?)).await };
        without_table(reading).await.map_err(|error| self.error("read the calendar".to_owned(), &error))
    }

    async fn merge_stocks(&self, stocks: &[Stock]) -> Result<MergeCounts, StoreError> {
        let merged = self.merge_stocks_now(stocks).await;
        self.noted(merged.map_err(|error| self.error(format!("merge {} securities", stocks.len()), &error)))
    }

    async fn retire_stocks(&self, list: &StockList) -> Result<Departures, StoreError> {
        let found = self.retire_stocks_now(list).await;
        self.noted(found.map_err(|error| self.error("retire securities".to_owned(), &error)))
    }

    async fn merge_trade_days(&self, days: &[TradeDay]) -> Result<MergeCounts, StoreError> {
        let merged = self.merge_days_now(days).await;
        self.noted(merged.map_err(|error| self.error(format!("merge {} days", days.len()), &error)))
    }

    async fn check(&self) -> Result<(), StoreError> {
        let reading = async { self.session(&mut *self.pooled().await?).rows(sqlx::query(LOOK)).await };
        without_table(reading).await.map_err(|error| self.error("read the stock list".to_owned(), &error))?;
        let reading = async { self.session(&mut *self.pooled().await?).rows(sqlx::query(LOOK_DAY)).await };
        without_table(reading).await.map_err(|error| self.error("read the calendar".to_owned(), &error))?;
        Ok(())
    }

    fn write_fault(&self) -> Option<String> {
        self.write_fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn record_syncs(&self, records: &[SyncRecord]) -> Result<(), StoreError> {
        let recorded = self.record_now(records).await;
        recorded.map_err(|error| self.error(format!("record {} ended tasks", records.len()), &error))
    }
}

/// The codes of the rows that were listed after `since`. Without a readable day a security counts as listed.
fn listed_texts(rows: &[MySqlRow], since: NaiveDate) -> Result<Vec<Option<String>>, MySqlError> {
    let mut texts = Vec::with_capacity(rows.len());
    for row in rows {
        let delisted = stock_info::delisting_day(cells::time(row, 1)?);
        if delisted.is_none_or(|day| day > since) {
            texts.push(row.try_get(0)?);
        }
    }
    Ok(texts)
}

fn version_answer(version: &str) -> Answer {
    if version.to_ascii_lowercase().contains("mariadb") {
        Answer::default().with_version("MariaDB", version, OLDEST_MARIADB)
    } else {
        Answer::default().with_version("MySQL", version, OLDEST_MYSQL)
    }
}

/// Returns no rows if the table does not exist yet.
async fn without_table<T>(reading: impl Future<Output = Result<Vec<T>, MySqlError>>) -> Result<Vec<T>, MySqlError> {
    match reading.await {
        Err(error) if error.is_missing_table() => Ok(Vec::new()),
        other => other,
    }
}

/// When the trading calendar ends, and what to do about it.
fn calendar_end(calendar: &TradingCalendar, today: NaiveDate) -> String {
    let Some((end, left)) = calendar.range().map(|range| range.end).zip(calendar.days_left(today)) else {
        return "the trading calendar is empty".to_owned();
    };
    let advice = if left <= CALENDAR_NOTICE_DAYS {
        "; send `trade_day` when the exchanges have announced the next year"
    } else {
        ""
    };
    match left {
        0.. => format!("the trading calendar ends on {end}, in {}{advice}", counted(left.unsigned_abs(), "day")),
        _ => format!("the trading calendar ended on {end}; every weekday counts as a trading day{advice}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_calendar_is_named_with_advice_when_near() {
        let calendar = TradingCalendar::built_in();
        let end = calendar.range().unwrap().end;
        let text = |days_left| calendar_end(calendar, end - chrono::TimeDelta::days(days_left));
        assert_eq!(text(213), format!("the trading calendar ends on {end}, in 213 days"));
        assert!(text(30).contains("in 30 days; send `trade_day`"));
        assert!(text(-4).contains(&format!("ended on {end}; every weekday counts as a trading day")));
    }
}
