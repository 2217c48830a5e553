// Upstream: app, clickhouse, tests::it
// Downstream: many
// Role: Implements the tick port on ClickHouse; each security has its own table, named as in Ginkgo.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ::clickhouse::Row;
use actors::domain::{Code, DateRange, PriceFormat, Tick};
use actors::ports::{StoreError, StoreErrorClass, StoredTick, TickBatch, TickStore};
use async_trait::async_trait;
use chrono::NaiveDate;
use serde::Deserialize;

use crate::adapters::clickhouse::errors::Effect;
use crate::adapters::clickhouse::rows;
use crate::adapters::clickhouse::schema::TableSchema;
use crate::adapters::clickhouse::statements::quoted;
use crate::adapters::clickhouse::table::{Table, TableFacts};
use crate::config::ClickHouseSection;

/// Rows per DELETE: about 140 KB of text.
const ROWS_PER_DELETE: usize = 4_000;

/// The ticks in one ClickHouse database.
pub struct ClickHouseTicks {
    /// Provides the connections for the tables of all securities.
    any: Table,
    /// Tables that are known to exist, at most one per security.
    tables: Mutex<HashMap<Code, Arc<Table>>>,
}

#[derive(Row, Deserialize)]
struct TimeRow {
    timestamp: u32,
}

#[derive(Row, Deserialize)]
struct StoredRow {
    timestamp: u32,
    uuid: String,
}

impl ClickHouseTicks {
    /// Creates the client; the first request connects.
    pub fn new(config: &ClickHouseSection) -> Self {
        Self { any: Table::new(config, TableSchema::tick("")), tables: Mutex::default() }
    }

    /// The checked table of a security. `None` if it does not exist and `make` is false.
    async fn table(&self, code: Code, make: bool) -> Result<Option<Arc<Table>>, StoreError> {
        let known = || self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = known().get(&code) {
            return Ok(Some(table.clone()));
        }
        let table = Arc::new(self.any.beside(TableSchema::tick(code.as_str())));
        if !make && !table.is_there().await? {
            return Ok(None);
        }
        table.prepare().await?;
        known().insert(code, table.clone());
        Ok(Some(table))
    }

    /// Forgets a table after a schema error: an operator may drop it so that its ticks are fetched again.
    fn noticed<T>(&self, code: Code, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        if answer.as_ref().is_err_and(|error| error.class == StoreErrorClass::Schema) {
            self.tables.lock().unwrap_or_else(PoisonError::into_inner).remove(&code);
        }
        answer
    }

    /// The table of a security and its facts, for reading.
    async fn readable(&self, code: Code, operation: &str) -> Result<Option<(Arc<Table>, TableFacts)>, StoreError> {
        let Some(table) = self.table(code, false).await? else { return Ok(None) };
        let facts = table.facts(operation)?;
        Ok(Some((table, facts)))
    }

    /// The SQL condition for a range of days.
    fn within(&self, table: &Table, facts: TableFacts, range: DateRange, what: &str) -> Result<String, StoreError> {
        let (from, to) = range.timestamps();
        let epoch = |time| {
            let failed = |error| table.error(what, StoreErrorClass::Refused, format!("{error}"));
            facts.clock.to_epoch(time).map_err(failed)
        };
        Ok(format!("timestamp >= toDateTime({}) AND timestamp <= toDateTime({})", epoch(from)?, epoch(to)?))
    }
}

#[async_trait]
impl TickStore for ClickHouseTicks {
    async fn newest_day(&self, code: Code) -> Result<Option<NaiveDate>, StoreError> {
        let operation = "read the newest tick";
        let Some((table, facts)) = self.readable(code, operation).await? else { return Ok(None) };
        let query = format!("SELECT max(timestamp) FROM {} HAVING count() > 0", table.full_name());
        let reading = table.client.query_raw(&query).fetch_all::<TimeRow>();
        let rows = self.noticed(code, table.bounded(operation, Effect::None, reading).await)?;
        Ok(rows.first().map(|row| facts.clock.to_wall_clock(row.timestamp).date()))
    }

    async fn stored_days(&self, code: Code, range: DateRange) -> Result<BTreeSet<NaiveDate>, StoreError> {
        let operation = "read the days with ticks";
        let Some((table, facts)) = self.readable(code, operation).await? else { return Ok(BTreeSet::new()) };
        let within = self.within(&table, facts, range, operation)?;
        // The day is computed here from the timestamps, because the server may be in any zone.
        let query = format!("SELECT DISTINCT timestamp FROM {} WHERE {within}", table.full_name());
        let reading = table.client.query_raw(&query).fetch_all::<TimeRow>();
        let rows = self.noticed(code, table.bounded(operation, Effect::None, reading).await)?;
        Ok(rows.iter().map(|row| facts.clock.to_wall_clock(row.timestamp).date()).collect())
    }

    async fn stored(&self, code: Code, range: DateRange) -> Result<Vec<StoredTick>, StoreError> {
        let operation = format!("look up stored ticks of {range}");
        let Some((table, facts)) = self.readable(code, &operation).await? else { return Ok(Vec::new()) };
        let within = self.within(&table, facts, range, &operation)?;
        let query = format!("SELECT timestamp, uuid FROM {} WHERE {within}", table.full_name());
        let reading = table.client.query_raw(&query).fetch_all::<StoredRow>();
        let rows = self.noticed(code, table.bounded(&operation, Effect::None, reading).await)?;
        let stored = rows
            .into_iter()
            .map(|row| StoredTick { timestamp: facts.clock.to_wall_clock(row.timestamp), uuid: row.uuid });
        Ok(stored.collect())
    }

    async fn deduplicates_retries(&self, code: Code) -> Result<bool, StoreError> {
        Ok(self.table(code, false).await?.is_some_and(|table| table.deduplicates_retries()))
    }

    async fn price_format(&self, code: Code) -> Result<PriceFormat, StoreError> {
        let facts = self.readable(code, "read the price column").await?;
        Ok(facts.map_or(PriceFormat::GINKGO, |(_, facts)| facts.price_format()))
    }

    async fn insert(&self, code: Code, batch: &TickBatch) -> Result<(), StoreError> {
        let Some(table) = self.table(code, true).await? else { return Ok(()) };
        let operation = format!("insert {} ticks", batch.rows.len());
        let facts = table.facts(&operation)?;
        let rows: &[Tick] = &batch.rows;
        let bytes = rows::encode_ticks(rows, &facts)
            .map_err(|error| table.error(&operation, StoreErrorClass::Schema, error.to_string()))?;
        self.noticed(code, table.insert(bytes, rows.len(), &batch.token).await)
    }

    async fn remove(&self, code: Code, rows: &[StoredTick]) -> Result<(), StoreError> {
        let Some(table) = self.table(code, false).await? else { return Ok(()) };
        let statement = |rows: &[StoredTick]| {
            let uuids = quoted(rows.iter().map(|row| row.uuid.as_str()));
            format!("DELETE FROM {} WHERE uuid IN ({uuids})", table.full_name())
        };
        let statements = rows.chunks(ROWS_PER_DELETE).map(statement).collect();
        self.noticed(code, table.remove(&format!("remove {} replaced ticks", rows.len()), statements).await)
    }
}
