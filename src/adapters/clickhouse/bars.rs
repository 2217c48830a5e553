// Upstream: app, benches::pipeline, clickhouse, tests::it
// Downstream: many
// Role: Implements the bar port on ClickHouse.

use std::collections::HashMap;

use ::clickhouse::Row;
use actors::domain::{Code, DateRange, DayTotal, Frequency, Price, PriceFormat};
use actors::ports::{BarBatch, BarStore, KeySpan, StoreError, StoreErrorClass, StoredBar, StoredKeys};
use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde::Deserialize;

use crate::adapters::clickhouse::clock::TableClock;
use crate::adapters::clickhouse::decimals::ten_thousandths;
use crate::adapters::clickhouse::errors::Effect;
use crate::adapters::clickhouse::schema::BAR;
use crate::adapters::clickhouse::statements::Lookup;
use crate::adapters::clickhouse::table::Table;
use crate::adapters::clickhouse::{rows, statements};
use crate::adapters::probe::Answer;
use crate::config::ClickHouseSection;

/// The bars in one ClickHouse database.
pub struct ClickHouseBars {
    table: Table,
}

#[derive(Row, Deserialize)]
struct StoredRow {
    code: String,
    timestamp: u32,
    uuid: String,
}

#[derive(Row, Deserialize)]
struct KeyRow {
    code: String,
    timestamp: u32,
}

#[derive(Row, Deserialize)]
struct LatestRow {
    code: String,
    newest: u32,
}

#[derive(Row, Deserialize)]
struct CloseRow {
    code: String,
    newest: u32,
    close: i64,
}

#[derive(Row, Deserialize)]
struct TotalRow {
    time: u32,
    high: i64,
    low: i64,
    close: i64,
    volume: i64,
}

impl ClickHouseBars {
    /// Creates the client; the first request connects.
    pub fn new(config: &ClickHouseSection) -> Self {
        Self { table: Table::new(config, BAR) }
    }

    /// Checks the version of the server and the existing table. Creates nothing.
    pub async fn probe(&self) -> Result<Answer, StoreError> {
        self.table.probe().await
    }

    /// The answers about the bars in these spans.
    async fn look_up<R, T>(
        &self,
        what: Lookup,
        frequency: Frequency,
        spans: &[KeySpan],
        max_rows: usize,
        convert: impl Fn(R, TableClock) -> Option<T>,
    ) -> Result<Vec<T>, StoreError>
    where
        R: ::clickhouse::RowOwned + ::clickhouse::RowRead,
    {
        let operation = what.operation(spans.len());
        let clock = self.table.facts(&operation)?.clock;
        let statements = what
            .statements(&self.table.database, frequency, spans, clock)
            .map_err(|error| self.table.error(&operation, StoreErrorClass::Refused, error.to_string()))?;
        self.table.look_up(&operation, statements, max_rows, |row| convert(row, clock)).await
    }
}

#[async_trait]
impl BarStore for ClickHouseBars {
    async fn ping(&self) -> Result<(), StoreError> {
        let statement = format!("SELECT 1 FROM {} LIMIT 0", self.table.full_name());
        let asking = self.table.client.query(&statement).execute();
        self.table.bounded("ask for an answer", Effect::None, asking).await
    }

    async fn prepare(&self) -> Result<(), StoreError> {
        self.table.prepare().await
    }

    fn price_format(&self) -> PriceFormat {
        self.table.facts("read the price columns").map_or(PriceFormat::GINKGO, |facts| facts.price_format())
    }

    fn deduplicates_retries(&self) -> bool {
        self.table.deduplicates_retries()
    }

    async fn latest(&self, frequency: Frequency) -> Result<HashMap<Code, NaiveDateTime>, StoreError> {
        let operation = "read the newest timestamps";
        let clock = self.table.facts(operation)?.clock;
        let statement = format!(
            "SELECT code, max(timestamp) FROM {} WHERE frequency = {} GROUP BY code",
            self.table.full_name(),
            frequency.as_ginkgo()
        );
        let rows: Vec<LatestRow> =
            self.table.bounded(operation, Effect::None, self.table.client.query_raw(&statement).fetch_all()).await?;
        // Rows with an invalid code are skipped; no command can name such a code.
        let known = rows.into_iter().filter_map(|row| Some((row.code.parse().ok()?, clock.to_wall_clock(row.newest))));
        Ok(known.collect())
    }

    async fn last_closes(&self, since: NaiveDate) -> Result<HashMap<Code, (NaiveDate, Price)>, StoreError> {
        let operation = "read the last closes";
        let clock = self.table.facts(operation)?.clock;
        let from = clock
            .to_epoch(since.and_time(NaiveTime::MIN))
            .map_err(|error| self.table.error(operation, StoreErrorClass::Refused, error.to_string()))?;
        let statement = format!(
            "SELECT code, max(timestamp), argMax({}, timestamp) FROM {} \
             WHERE frequency = {} AND timestamp >= toDateTime({from}) GROUP BY code",
            ten_thousandths("close"),
            self.table.full_name(),
            Frequency::Day.as_ginkgo()
        );
        let reading = self.table.client.query_raw(&statement).fetch_all::<CloseRow>();
        let rows = self.table.bounded(operation, Effect::None, reading).await?;
        let close =
            |row: CloseRow| Some((row.code.parse().ok()?, (clock.to_wall_clock(row.newest).date(), Price(row.close))));
        Ok(rows.into_iter().filter_map(close).collect())
    }

    async fn day_totals(&self, code: Code, range: DateRange) -> Result<Vec<DayTotal>, StoreError> {
        let operation = "read daily bars";
        let clock = self.table.facts(operation)?.clock;
        let statement = statements::day_totals(&self.table.database, code, range, clock)
            .map_err(|error| self.table.error(operation, StoreErrorClass::Refused, error.to_string()))?;
        let reading = self.table.client.query_raw(&statement).fetch_all::<TotalRow>();
        let rows = self.table.bounded(operation, Effect::None, reading).await?;
        let total = |row: TotalRow| DayTotal {
            day: clock.to_wall_clock(row.time).date(),
            high: Price(row.high),
            low: Price(row.low),
            close: Price(row.close),
            volume: row.volume,
        };
        Ok(rows.into_iter().map(total).collect())
    }

    async fn stored(
        &self,
        frequency: Frequency,
        spans: &[KeySpan],
        max_rows: usize,
    ) -> Result<Vec<StoredBar>, StoreError> {
        // Rows with an invalid code are skipped; no command can name such a code.
        let stored = |row: StoredRow, clock: TableClock| {
            let timestamp = clock.to_wall_clock(row.timestamp);
            Some(StoredBar { code: row.code.parse().ok()?, timestamp, uuid: row.uuid })
        };
        self.look_up(Lookup::Rows, frequency, spans, max_rows, stored).await
    }

    async fn keys(&self, frequency: Frequency, spans: &[KeySpan]) -> Result<StoredKeys, StoreError> {
        let counts: Vec<(u64, u64)> =
            self.look_up(Lookup::KeyCounts, frequency, spans, usize::MAX, |counts, _| Some(counts)).await?;
        let num_keys = counts.iter().map(|(found, _)| found).sum();
        if counts.iter().all(|(_, repeated)| *repeated == 0) {
            return Ok(StoredKeys { num_keys, copies: Vec::new() });
        }
        let span = |row: KeyRow, clock: TableClock| {
            let time = Some(clock.to_wall_clock(row.timestamp));
            Some(KeySpan { code: row.code.parse().ok()?, from: time, to: time })
        };
        let keys = self.look_up(Lookup::RepeatedKeys, frequency, spans, usize::MAX, span).await?;
        Ok(StoredKeys { num_keys, copies: self.stored(frequency, &keys, usize::MAX).await? })
    }

    async fn insert(&self, batch: &BarBatch) -> Result<(), StoreError> {
        let operation = format!("insert {} rows", batch.rows.len());
        let facts = self.table.facts(&operation)?;
        let bytes = rows::encode(&batch.rows, &facts)
            .map_err(|error| self.table.error(&operation, StoreErrorClass::Schema, error.to_string()))?;
        self.table.insert(bytes, batch.rows.len(), &batch.token).await
    }

    async fn remove(&self, frequency: Frequency, rows: &[StoredBar]) -> Result<(), StoreError> {
        let operation = format!("remove {} replaced rows", rows.len());
        self.table.remove(&operation, statements::removals(&self.table.database, frequency, rows)).await
    }
}
