// Upstream: none
// Downstream: actors, store
// Role: Implements the factor port on SQLite.

use std::collections::HashMap;

use actors::domain::{Code, FactorChanges, Millionths, RawFactor, SourceId};
use actors::ports::{FactorBatch, FactorStore, SeriesEnds, StoreError, StoredFactor};
use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use crate::adapters::sqlite::store::{SqliteStore, TIME, time_of};

/// The table with Ginkgo's columns; factors are in millionths.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS adjustfactor (
        code TEXT NOT NULL, foreadjustfactor INTEGER NOT NULL, backadjustfactor INTEGER NOT NULL,
        adjustfactor INTEGER NOT NULL, uuid TEXT NOT NULL, timestamp TEXT NOT NULL, source INTEGER NOT NULL,
        PRIMARY KEY (code, timestamp, uuid)) WITHOUT ROWID;";

#[async_trait]
impl FactorStore for SqliteStore {
    async fn prepare(&self) -> Result<(), StoreError> {
        sqlx::raw_sql(SCHEMA).execute(&self.pool).await.map_err(|error| self.error("create the tables", &error))?;
        Ok(())
    }

    fn deduplicates_retries(&self) -> bool {
        true // by the primary key
    }

    async fn latest(&self) -> Result<HashMap<Code, NaiveDateTime>, StoreError> {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT code, max(timestamp) FROM adjustfactor GROUP BY code")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.error("read the newest timestamps", &error))?;
        Ok(rows.into_iter().filter_map(|(code, time)| Some((code.parse().ok()?, time_of(&time)?))).collect())
    }

    async fn ends(&self, codes: &[Code]) -> Result<HashMap<Code, SeriesEnds>, StoreError> {
        let mut ends = HashMap::new();
        for row in FactorStore::series(self, codes, usize::MAX).await? {
            let RawFactor { timestamp, factor, .. } = row.raw;
            let known = ends.entry(row.code).or_insert(SeriesEnds { first: factor, last: factor, last_at: timestamp });
            (known.last, known.last_at) = (factor, timestamp);
        }
        Ok(ends)
    }

    async fn series(&self, codes: &[Code], max_rows: usize) -> Result<Vec<StoredFactor>, StoreError> {
        let mut series = Vec::new();
        for code in codes {
            let rows: Vec<(String, i64, i8, String)> = sqlx::query_as(
                "SELECT timestamp, adjustfactor, source, uuid FROM adjustfactor WHERE code = ? ORDER BY timestamp",
            )
            .bind(code.as_str())
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.error("look up stored factors", &error))?;
            series.extend(rows.into_iter().filter_map(|(time, factor, source, uuid)| {
                let raw =
                    RawFactor { timestamp: time_of(&time)?, factor: Millionths(factor), source: SourceId::new(source) };
                Some(StoredFactor { code: *code, raw, uuid })
            }));
            if series.len() > max_rows {
                return Err(self.too_many_rows("look up stored factors", max_rows));
            }
        }
        Ok(series)
    }

    async fn changes(&self, code: Code) -> Result<Option<FactorChanges>, StoreError> {
        let series = FactorStore::series(self, &[code], usize::MAX).await?;
        let Some(last) = series.last() else { return Ok(None) };
        let mut since: Vec<(NaiveDate, Millionths)> = Vec::new();
        for StoredFactor { raw, .. } in &series {
            if since.last().is_none_or(|(_, factor)| *factor != raw.factor) {
                since.push((raw.timestamp.date(), raw.factor));
            }
        }
        Ok(Some(FactorChanges { since, until: last.raw.timestamp.date() }))
    }

    async fn insert(&self, batch: &FactorBatch) -> Result<(), StoreError> {
        let operation = format!("insert {} factors", batch.rows.len());
        let failed = |error: sqlx::Error| self.error(&operation, &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for row in batch.rows.iter() {
            sqlx::query("INSERT OR IGNORE INTO adjustfactor VALUES (?, ?, ?, ?, ?, ?, ?)")
                .bind(row.code.as_str())
                .bind(row.fore.0)
                .bind(row.back.0)
                .bind(row.raw.factor.0)
                .bind(row.uuid())
                .bind(row.raw.timestamp.format(TIME).to_string())
                .bind(row.raw.source.number())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn remove(&self, rows: &[StoredFactor]) -> Result<(), StoreError> {
        let operation = format!("remove {} replaced factors", rows.len());
        let failed = |error: sqlx::Error| self.error(&operation, &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for row in rows {
            sqlx::query("DELETE FROM adjustfactor WHERE code = ? AND timestamp = ? AND uuid = ?")
                .bind(row.code.as_str())
                .bind(row.raw.timestamp.format(TIME).to_string())
                .bind(&row.uuid)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}
