// Upstream: mysql, service_hub
// Downstream: actors::domain::code, actors::ports, config::sections, probe
// Role: The listed codes, from Ginkgo's table `stock_info`.

use std::time::Duration;

use actors::domain::Code;
use actors::ports::{Instruments, StoreError, StoreErrorClass};
use async_trait::async_trait;
use secrecy::ExposeSecret;
use sqlx::ConnectOptions;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};

use crate::config::MySqlSection;
use crate::probe::Answer;

/// The oldest MySQL and MariaDB the worker is meant for.
const OLDEST_MYSQL: (u32, u32) = (5, 7);
const OLDEST_MARIADB: (u32, u32) = (10, 3);

/// A look at the list now and then needs no more; the worker must not take a server's connections.
const MAX_CONNECTIONS: u32 = 2;

/// Every row that is not marked as deleted.
const SELECT: &str = "SELECT code FROM stock_info WHERE is_del = 0";

/// The stock list in MySQL or MariaDB.
pub struct MySqlInstruments {
    pool: MySqlPool,
    store: String,
    timeout: Duration,
}

impl MySqlInstruments {
    /// Connects at the first use.
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
        let store = format!("MySQL {}:{} table {}.stock_info", config.host, config.port, config.database);
        Self { pool, store, timeout }
    }

    /// Tries the server: its version, and whether the table is there.
    pub async fn probe(&self) -> Result<Answer, String> {
        // Not from the pool, which tries again until its own deadline and then no longer knows why.
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
        let state = if num_tables > 0 { "is there" } else { "is not there yet, Ginkgo creates it" };
        Ok(answer.with(format!("table stock_info {state}")))
    }

    fn error(&self, class: StoreErrorClass, reason: String) -> StoreError {
        StoreError { store: self.store.clone(), operation: "read the listed codes".to_owned(), class, reason }
    }
}

#[async_trait]
impl Instruments for MySqlInstruments {
    async fn listed_codes(&self) -> Result<Vec<Code>, StoreError> {
        let reading = sqlx::query_scalar::<_, String>(SELECT).fetch_all(&self.pool);
        let texts = match tokio::time::timeout(self.timeout, reading).await {
            Ok(Ok(texts)) => texts,
            Ok(Err(error)) => return Err(self.error(classify(&error), error.to_string())),
            Err(_) => {
                return Err(self.error(StoreErrorClass::Transient, format!("no answer within {:?}", self.timeout)));
            }
        };
        let num_rows = texts.len();
        let mut codes: Vec<Code> = texts.iter().filter_map(|text| text.parse().ok()).collect();
        if codes.len() < num_rows {
            let example = texts.iter().find(|text| text.parse::<Code>().is_err());
            tracing::warn!(unreadable = num_rows - codes.len(), ?example, "rows of stock_info hold no stock code");
        }
        codes.sort_unstable();
        codes.dedup();
        Ok(codes)
    }
}

/// What follows from an error, by the server's SQLSTATE.
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
