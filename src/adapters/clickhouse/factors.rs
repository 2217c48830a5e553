// Upstream: app, clickhouse, tests::it
// Downstream: many
// Role: Implements the factor port on ClickHouse.

use std::collections::HashMap;

use ::clickhouse::Row;
use actors::domain::{Code, FactorChanges, Millionths, RawFactor, SourceId};
use actors::ports::{FactorBatch, FactorStore, SeriesEnds, SeriesSize, StoreError, StoreErrorClass, StoredFactor};
use async_trait::async_trait;
use chrono::NaiveDateTime;
use serde::Deserialize;

use crate::adapters::clickhouse::errors::Effect;
use crate::adapters::clickhouse::rows;
use crate::adapters::clickhouse::schema::ADJUSTFACTOR;
use crate::adapters::clickhouse::statements::quoted;
use crate::adapters::clickhouse::table::Table;
use crate::config::ClickHouseSection;

/// Codes per statement: about 30 KB of text, an eighth of ClickHouse's default maximum query size.
const CODES_PER_STATEMENT: usize = 2_000;

/// Rows per DELETE: about 140 KB of text.
const ROWS_PER_DELETE: usize = 4_000;

/// The adjustment factors in one ClickHouse database.
pub struct ClickHouseFactors {
    table: Table,
}

#[derive(Row, Deserialize)]
struct LatestRow {
    code: String,
    newest: u32,
}

#[derive(Row, Deserialize)]
struct EndsRow {
    code: String,
    first: i64,
    last: i64,
    last_at: u32,
}

#[derive(Row, Deserialize)]
struct ChangeRow {
    factor: i64,
    since: u32,
    until: u32,
}

#[derive(Row, Deserialize)]
struct SeriesRow {
    code: String,
    timestamp: u32,
    factor: i64,
    source: i8,
    uuid: String,
}

impl ClickHouseFactors {
    /// Creates the client; the first request connects.
    pub fn new(config: &ClickHouseSection) -> Self {
        Self { table: Table::new(config, ADJUSTFACTOR) }
    }

    /// Runs a query for these codes in chunks. `{codes}` in the query is replaced by the list of the chunk.
    async fn of_codes<R>(
        &self,
        operation: &str,
        codes: &[Code],
        query: &str,
        max_rows: usize,
    ) -> Result<Vec<R>, StoreError>
    where
        R: ::clickhouse::RowOwned + ::clickhouse::RowRead,
    {
        let of_chunk = |codes: &[Code]| query.replace("{codes}", &quoted(codes.iter().map(Code::as_str)));
        let queries: Vec<String> = codes.chunks(CODES_PER_STATEMENT).map(of_chunk).collect();
        self.table.look_up(operation, queries, max_rows, Some).await
    }
}

#[async_trait]
impl FactorStore for ClickHouseFactors {
    async fn prepare(&self) -> Result<(), StoreError> {
        self.table.prepare().await
    }

    fn deduplicates_retries(&self) -> bool {
        self.table.deduplicates_retries()
    }

    async fn latest(&self) -> Result<HashMap<Code, NaiveDateTime>, StoreError> {
        let operation = "read the newest timestamps";
        let clock = self.table.facts(operation)?.clock;
        let statement = format!("SELECT code, max(timestamp) FROM {} GROUP BY code", self.table.full_name());
        let reading = self.table.client.query_raw(&statement).fetch_all::<LatestRow>();
        let rows = self.table.bounded(operation, Effect::None, reading).await?;
        // Rows with an invalid code are skipped; no command can name such a code.
        Ok(rows.into_iter().filter_map(|row| Some((row.code.parse().ok()?, clock.to_wall_clock(row.newest)))).collect())
    }

    async fn ends(&self, codes: &[Code]) -> Result<HashMap<Code, SeriesEnds>, StoreError> {
        let operation = format!("read the ends of {} factor series", codes.len());
        let clock = self.table.facts(&operation)?.clock;
        let query = format!(
            "SELECT code, argMin(adjustfactor, timestamp), argMax(adjustfactor, timestamp), max(timestamp) FROM {} \
             WHERE code IN ({{codes}}) GROUP BY code",
            self.table.full_name()
        );
        let rows: Vec<EndsRow> = self.of_codes(&operation, codes, &query, usize::MAX).await?;
        let ends = rows.into_iter().filter_map(|row| {
            let (first, last) = (Millionths(row.first), Millionths(row.last));
            Some((row.code.parse().ok()?, SeriesEnds { first, last, last_at: clock.to_wall_clock(row.last_at) }))
        });
        Ok(ends.collect())
    }

    async fn series(&self, codes: &[Code], max_rows: usize) -> Result<Vec<StoredFactor>, StoreError> {
        let operation = format!("read {} factor series", codes.len());
        let clock = self.table.facts(&operation)?.clock;
        let query = format!(
            "SELECT code, timestamp, adjustfactor, source, uuid FROM {} WHERE code IN ({{codes}}) \
             ORDER BY code, timestamp",
            self.table.full_name()
        );
        let rows: Vec<SeriesRow> = self.of_codes(&operation, codes, &query, max_rows).await?;
        let series = rows.into_iter().filter_map(|row| {
            let timestamp = clock.to_wall_clock(row.timestamp);
            let raw = RawFactor { timestamp, factor: Millionths(row.factor), source: SourceId::new(row.source) };
            Some(StoredFactor { code: row.code.parse().ok()?, raw, uuid: row.uuid })
        });
        Ok(series.collect())
    }

    async fn sizes(
        &self,
        codes: &[Code],
        since: Option<NaiveDateTime>,
    ) -> Result<HashMap<Code, SeriesSize>, StoreError> {
        let operation = format!("count the days of {} factor series", codes.len());
        let clock = self.table.facts(&operation)?.clock;
        let after = match since.map(|since| clock.to_epoch(since)).transpose() {
            Ok(since) => since.map(|since| format!(" AND timestamp >= toDateTime({since})")).unwrap_or_default(),
            Err(error) => return Err(self.table.error(&operation, StoreErrorClass::Refused, error.to_string())),
        };
        let query = format!(
            "SELECT code, uniqExact(timestamp), count() FROM {} WHERE code IN ({{codes}}){after} GROUP BY code",
            self.table.full_name()
        );
        let rows: Vec<(String, u64, u64)> = self.of_codes(&operation, codes, &query, usize::MAX).await?;
        let size = |(code, num_days, num_rows): (String, u64, u64)| {
            Some((code.parse().ok()?, SeriesSize { num_days, num_rows }))
        };
        Ok(rows.into_iter().filter_map(size).collect())
    }

    /// Reads the first and last day of each factor: one row per change instead of one per day.
    async fn changes(&self, code: Code) -> Result<Option<FactorChanges>, StoreError> {
        let operation = format!("read the changes of the factor of {code}");
        let clock = self.table.facts(&operation)?.clock;
        let query = format!(
            "SELECT adjustfactor, min(timestamp) AS since, max(timestamp) FROM {} WHERE code IN ({{codes}}) \
             GROUP BY adjustfactor ORDER BY since",
            self.table.full_name()
        );
        let rows: Vec<ChangeRow> = self.of_codes(&operation, &[code], &query, usize::MAX).await?;
        let day = |seconds: u32| clock.to_wall_clock(seconds).date();
        let since = rows.iter().map(|row| (day(row.since), Millionths(row.factor))).collect();
        Ok(rows.iter().map(|row| day(row.until)).max().map(|until| FactorChanges { since, until }))
    }

    async fn insert(&self, batch: &FactorBatch) -> Result<(), StoreError> {
        let operation = format!("insert {} factors", batch.rows.len());
        let clock = self.table.facts(&operation)?.clock;
        let bytes = rows::encode_factors(&batch.rows, clock)
            .map_err(|error| self.table.error(&operation, StoreErrorClass::Schema, error.to_string()))?;
        self.table.insert(bytes, batch.rows.len(), &batch.token).await
    }

    async fn remove(&self, rows: &[StoredFactor]) -> Result<(), StoreError> {
        let statement = |rows: &[StoredFactor]| {
            let mut codes: Vec<&str> = rows.iter().map(|row| row.code.as_str()).collect();
            codes.sort_unstable();
            codes.dedup();
            format!(
                "DELETE FROM {} WHERE code IN ({}) AND uuid IN ({})",
                self.table.full_name(),
                quoted(codes.into_iter()),
                quoted(rows.iter().map(|row| row.uuid.as_str()))
            )
        };
        let statements = rows.chunks(ROWS_PER_DELETE).map(statement).collect();
        self.table.remove(&format!("remove {} replaced factors", rows.len()), statements).await
    }
}
