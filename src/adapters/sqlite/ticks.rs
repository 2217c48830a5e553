// Upstream: none
// Downstream: actors, store
// Role: Implements the tick port on SQLite; one table holds the ticks of all securities.

use std::collections::BTreeSet;

use actors::domain::{Code, DateRange, PriceFormat};
use actors::ports::{StoreError, StoredTick, TickBatch, TickStore};
use async_trait::async_trait;
use chrono::{NaiveDate, NaiveDateTime};

use crate::adapters::sqlite::store::{SqliteStore, TIME};

impl SqliteStore {
    async fn ticks(&self, code: Code, range: DateRange) -> Result<Vec<StoredTick>, StoreError> {
        let (from, to) = range.timestamps();
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT timestamp, uuid FROM tick WHERE code = ? AND timestamp >= ? AND timestamp <= ?")
                .bind(code.as_str())
                .bind(from.format(TIME).to_string())
                .bind(to.format(TIME).to_string())
                .fetch_all(&self.pool)
                .await
                .map_err(|error| self.error("read ticks", &error))?;
        let read = |(time, uuid): (String, String)| {
            Some(StoredTick { timestamp: NaiveDateTime::parse_from_str(&time, TIME).ok()?, uuid })
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }
}

#[async_trait]
impl TickStore for SqliteStore {
    async fn newest_day(&self, code: Code) -> Result<Option<NaiveDate>, StoreError> {
        let newest: Option<String> = sqlx::query_scalar("SELECT max(timestamp) FROM tick WHERE code = ?")
            .bind(code.as_str())
            .fetch_one(&self.pool)
            .await
            .map_err(|error| self.error("read the newest tick", &error))?;
        Ok(newest.and_then(|time| Some(NaiveDateTime::parse_from_str(&time, TIME).ok()?.date())))
    }

    async fn stored_days(&self, code: Code, range: DateRange) -> Result<BTreeSet<NaiveDate>, StoreError> {
        Ok(self.ticks(code, range).await?.iter().map(|row| row.timestamp.date()).collect())
    }

    async fn stored(&self, code: Code, range: DateRange) -> Result<Vec<StoredTick>, StoreError> {
        self.ticks(code, range).await
    }

    async fn deduplicates_retries(&self, _code: Code) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn price_format(&self, _code: Code) -> Result<PriceFormat, StoreError> {
        Ok(PriceFormat::FINEST)
    }

    async fn insert(&self, _code: Code, batch: &TickBatch) -> Result<(), StoreError> {
        let failed = |error: sqlx::Error| self.error("insert ticks", &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for tick in batch.rows.iter() {
            sqlx::query("INSERT OR IGNORE INTO tick VALUES (?, ?, ?, ?, ?, ?, ?)")
                .bind(tick.code.as_str())
                .bind(tick.timestamp.format(TIME).to_string())
                .bind(tick.price.to_string())
                .bind(tick.volume)
                .bind(tick.direction)
                .bind(tick.uuid())
                .bind(tick.source.number())
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn remove(&self, code: Code, rows: &[StoredTick]) -> Result<(), StoreError> {
        let failed = |error: sqlx::Error| self.error("remove ticks", &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        for row in rows {
            sqlx::query("DELETE FROM tick WHERE code = ? AND uuid = ?")
                .bind(code.as_str())
                .bind(&row.uuid)
                .execute(&mut *transaction)
                .await
                .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }
}
