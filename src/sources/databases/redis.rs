// Upstream: source, sources
// Downstream: many
// Role: Reads market data from a user's Redis: JSON rows in sorted sets, lists and a hash.

//! Redis has no tables, and Ginkgo stores no market data there, so the layout is the most usual one. Each row is a JSON
//! object. Bars, factors and the calendar are members of a sorted set with Unix seconds as scores, which allows queries
//! by days. The trades of a day are a list, because equal trades are distinct and have an order. The stock list is a
//! hash by code.

use std::time::Duration;

use actors::ports::DataKind;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError};
use tokio::sync::Mutex;

use super::database::{Database, Found};
use super::errors::DatabaseError;
use super::json;
use super::pattern::Pattern;
use super::query::Query;
use super::rows::Rows;
use super::times::midnight;
use crate::adapters::redis::server::{ConnectError, RedisServer};
use crate::config::RedisSourceSection;
use crate::sources::shared::excerpt::excerpt;

/// Members per answer.
const PAGE: usize = 2_000;
/// Maximum number of SCAN calls to find a key that fits a pattern.
const MAX_SCANS: usize = 200;
const DAY_S: i64 = 86_400;

/// A client of a user's Redis.
pub struct RedisDatabase {
    server: RedisServer,
    timeout: Duration,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl RedisDatabase {
    /// Creates the client. It connects on first use.
    pub fn new(section: &RedisSourceSection) -> Self {
        let timeout = Duration::from_millis(section.timeout_ms);
        Self { server: RedisServer::from(section), timeout, connection: Mutex::default() }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, ConnectError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = &*kept {
            return Ok(connection.clone());
        }
        let connection = self.server.connect(self.timeout).await?;
        Ok(kept.insert(connection).clone())
    }

    async fn ask<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> Result<T, DatabaseError> {
        let outcome = match self.connection().await {
            Ok(mut connection) => command.query_async(&mut connection).await.map_err(ConnectError::from),
            Err(error) => Err(error),
        };
        let explained = match outcome {
            Ok(answer) => return Ok(answer),
            Err(error) => (excerpt(&self.server.explain(&error)), error),
        };
        let (reason, ConnectError::Redis(error)) = explained else {
            return Err(DatabaseError::Unreachable(explained.0));
        };
        if error.is_connection_dropped() || error.is_timeout() || error.is_io_error() {
            *self.connection.lock().await = None;
        }
        Err(self.meaning(&error, reason, key))
    }

    fn meaning(&self, error: &RedisError, reason: String, key: &str) -> DatabaseError {
        match error.code() {
            Some("WRONGPASS" | "NOAUTH") => DatabaseError::Login(reason),
            Some("NOPERM") => DatabaseError::Access(reason),
            Some("LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN") => DatabaseError::Server(reason),
            _ if error.kind() == ErrorKind::AuthenticationFailed => DatabaseError::Login(reason),
            _ if error.is_timeout() => DatabaseError::Timeout(self.timeout),
            _ if error.is_io_error() || error.is_connection_dropped() => DatabaseError::Unreachable(reason),
            _ => DatabaseError::Refused { table: key.to_owned(), reason },
        }
    }

    /// The type of a key; `none` if the key does not exist.
    async fn type_of(&self, key: &str) -> Result<String, DatabaseError> {
        self.ask(key, redis::cmd("TYPE").arg(key)).await
    }

    async fn read_sorted_set(&self, query: &Query, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
        // Scores may come from a wall clock in another zone. So the query covers a day more on both sides, and the
        // times in the rows decide.
        let (from, to) = query.range.map_or(("-inf".to_owned(), "+inf".to_owned()), |range| {
            ((midnight(range.start) - DAY_S).to_string(), (midnight(range.end) + 2 * DAY_S).to_string())
        });
        let mut offset = 0;
        loop {
            let mut command = redis::cmd("ZRANGEBYSCORE");
            command.arg(&query.table).arg(&from).arg(&to).arg("LIMIT").arg(offset).arg(PAGE);
            let page: Vec<Vec<u8>> = self.ask(&query.table, &command).await?;
            for value in &page {
                take(value, query, None, rows)?;
            }
            if page.len() < PAGE {
                return Ok(());
            }
            offset += PAGE;
        }
    }

    async fn read_list(&self, query: &Query, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
        let mut offset = 0;
        loop {
            let mut command = redis::cmd("LRANGE");
            command.arg(&query.table).arg(offset).arg(offset + PAGE - 1);
            let page: Vec<Vec<u8>> = self.ask(&query.table, &command).await?;
            for value in &page {
                take(value, query, None, rows)?;
            }
            if page.len() < PAGE {
                return Ok(());
            }
            offset += PAGE;
        }
    }

    /// Reads a hash. The name of a field is the code, unless the row has one.
    async fn read_hash(&self, query: &Query, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
        // The size is checked first. The hash is then read as a whole, because HSCAN may return a field twice.
        let num_fields: u64 = self.ask(&query.table, redis::cmd("HLEN").arg(&query.table)).await?;
        if num_fields > query.max_rows {
            return Err(DatabaseError::TooManyRows { table: query.table.clone(), most: query.max_rows });
        }
        let fields: Vec<(String, Vec<u8>)> = self.ask(&query.table, redis::cmd("HGETALL").arg(&query.table)).await?;
        for (code, value) in &fields {
            take(value, query, Some(code), rows)?;
        }
        Ok(())
    }

    /// Reads one row of a key.
    async fn sample(&self, key: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        let ask = async |command: &Cmd| self.ask::<Vec<Vec<u8>>>(key, command).await;
        Ok(match self.type_of(key).await?.as_str() {
            "zset" => ask(redis::cmd("ZRANGE").arg(key).arg(0).arg(0)).await?.pop(),
            "list" => ask(redis::cmd("LRANGE").arg(key).arg(0).arg(0)).await?.pop(),
            "hash" => {
                let (_, page): (u64, Vec<Vec<u8>>) =
                    self.ask(key, redis::cmd("HSCAN").arg(key).arg(0).arg("COUNT").arg(1)).await?;
                page.into_iter().nth(1)
            }
            _ => None,
        })
    }
}

impl Database for RedisDatabase {
    const WHAT: &'static str = "key";
    const IS_STRICT: bool = false;

    async fn read(&self, query: &Query, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
        let expected = type_for(query.kind);
        match self.type_of(&query.table).await?.as_str() {
            // A day without trades has no key.
            "none" if query.kind == DataKind::Ticks => Ok(()),
            "none" => Err(DatabaseError::NoTable { what: Self::WHAT, table: query.table.clone() }),
            "zset" if expected == "zset" => self.read_sorted_set(query, rows).await,
            "list" if expected == "list" => self.read_list(query, rows).await,
            "hash" if expected == "hash" => self.read_hash(query, rows).await,
            found => Err(DatabaseError::OtherType { key: query.table.clone(), expected, found: found.to_owned() }),
        }
    }

    async fn find(&self, pattern: &Pattern) -> Result<Found, DatabaseError> {
        let glob = pattern.glob();
        let mut cursor = 0_u64;
        for _ in 0..MAX_SCANS {
            let mut command = redis::cmd("SCAN");
            command.arg(cursor).arg("MATCH").arg(&glob).arg("COUNT").arg(PAGE);
            let (next, keys): (u64, Vec<String>) = self.ask(&glob, &command).await?;
            if let Some(name) = keys.into_iter().next() {
                let Some(row) = self.sample(&name).await? else { return Ok(Found::Empty(name)) };
                let row = String::from_utf8_lossy(&row).into_owned();
                let columns = json::names(&row).map_err(|error| DatabaseError::bad_row(&name, 1, error, &row))?;
                return Ok(Found::Table { name, columns });
            }
            if next == 0 {
                break;
            }
            cursor = next;
        }
        Ok(Found::Nothing(Vec::new()))
    }
}

/// The Redis type that a key of this kind must have.
fn type_for(kind: DataKind) -> &'static str {
    match kind {
        DataKind::Bars | DataKind::MinuteBars | DataKind::Factors | DataKind::TradeDays => "zset",
        DataKind::Ticks => "list",
        DataKind::Stocks => "hash",
    }
}

/// Takes a row. `code` is the name of a hash field and applies if the row has no code.
fn take(value: &[u8], query: &Query, code: Option<&str>, rows: &mut Rows<'_>) -> Result<(), DatabaseError> {
    let row = rows.num_rows() + 1;
    let bad = |error: &dyn ToString| {
        DatabaseError::bad_row(&query.table, row, error.to_string(), &String::from_utf8_lossy(value))
    };
    let value = std::str::from_utf8(value).map_err(|error| bad(&error))?;
    let columns: Vec<Option<&str>> = query.columns.iter().map(Option::as_deref).collect();
    let mut cells = json::object(value, &columns).map_err(|error| bad(&error))?;
    if let (Some(code), Some(cell @ None)) = (code, cells.first_mut()) {
        *cell = Some(code.into());
    }
    rows.push(&cells)
}
