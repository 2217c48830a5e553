// Upstream: mysql, service_hub
// Downstream: actors::domain::code, actors::ports, config::sections
// Role: The listed codes, from Ginkgo's table `stock_info`.

use std::time::Duration;

use actors::domain::Code;
use actors::ports::{Instruments, StoreError, StoreErrorClass};
use async_trait::async_trait;
use secrecy::ExposeSecret;
use sqlx::mysql::{MySqlConnectOptions, MySqlPool, MySqlPoolOptions};

use crate::config::MySqlSection;

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
