// Upstream: none
// Downstream: actors, departed, store
// Role: Implements the reference port on SQLite: stock list, calendar and records of ended tasks.

use actors::domain::departures::{Departures, departures};
use actors::domain::reference_list::StockList;
use actors::domain::stock_info::listing;
use actors::domain::{Code, Listing, Stock, SyncRecord, TradeDay, shanghai_clock};
use actors::ports::{MergeCounts, ReferenceStore, StoreError};
use async_trait::async_trait;
use chrono::{NaiveDate, NaiveTime};
use sqlx::QueryBuilder;

use crate::adapters::sqlite::departed;
use crate::adapters::sqlite::store::{SqliteStore, TIME, time_of};

#[async_trait]
impl ReferenceStore for SqliteStore {
    async fn listed_codes(&self, since: NaiveDate) -> Result<Vec<Code>, StoreError> {
        let select = "SELECT code FROM stock_info WHERE (delist_date = '' OR delist_date > ?) AND code NOT IN (SELECT \
                      code FROM stock_departure WHERE is_del) ORDER BY code";
        let texts: Vec<String> = sqlx::query_scalar(select)
            .bind(since.and_time(NaiveTime::MIN).format(TIME).to_string())
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.error("read the listed codes", &error))?;
        Ok(texts.iter().filter_map(|text| text.parse().ok()).collect())
    }

    async fn listings(&self) -> Result<Vec<Listing>, StoreError> {
        let rows: Vec<(String, String, String, String)> =
            sqlx::query_as("SELECT code, code_name, list_date, delist_date FROM stock_info WHERE list_date <> ''")
                .fetch_all(&self.pool)
                .await
                .map_err(|error| self.error("read the listings", &error))?;
        let read = |(code, name, list_date, delist_date): (String, String, String, String)| {
            Some(listing(code.parse().ok()?, name, time_of(&list_date)?.date(), time_of(&delist_date)?.date()))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    async fn trade_days(&self) -> Result<Vec<(NaiveDate, bool)>, StoreError> {
        let rows: Vec<(String, bool)> = sqlx::query_as("SELECT timestamp, is_open FROM trade_day")
            .fetch_all(&self.pool)
            .await
            .map_err(|error| self.error("read the calendar", &error))?;
        Ok(rows.into_iter().filter_map(|(time, is_open)| Some((time_of(&time)?.date(), is_open))).collect())
    }

    async fn merge_stocks(&self, stocks: &[Stock]) -> Result<MergeCounts, StoreError> {
        let failed = |error: sqlx::Error| self.error("merge the stock list", &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let mut counts = MergeCounts::default();
        for stock in stocks {
            let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM stock_info WHERE code = ?")
                .bind(stock.code.as_str())
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
            let done = sqlx::query(
                "INSERT INTO stock_info VALUES (?, ?, ?, ?, ?) ON CONFLICT (code) DO UPDATE SET code_name = \
                 excluded.code_name, industry = excluded.industry, list_date = excluded.list_date, delist_date = \
                 excluded.delist_date WHERE (code_name, industry, list_date, delist_date) <> (excluded.code_name, \
                 excluded.industry, excluded.list_date, excluded.delist_date)",
            )
            .bind(stock.code.as_str())
            .bind(&stock.name)
            .bind(&stock.industry)
            .bind(stock.list_date.format(TIME).to_string())
            .bind(stock.delist_date.format(TIME).to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            count(&mut counts, found.is_some(), done.rows_affected());
        }
        transaction.commit().await.map_err(failed)?;
        Ok(counts)
    }

    async fn retire_stocks(&self, list: &StockList) -> Result<Departures, StoreError> {
        let failed = |error: sqlx::Error| self.error("compare the stock list", &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let stored = departed::stored(&mut transaction).await.map_err(failed)?;
        let found = departures(&stored, list);
        for change in &found.changes {
            departed::change(change, &mut transaction).await.map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(found)
    }

    async fn merge_trade_days(&self, days: &[TradeDay]) -> Result<MergeCounts, StoreError> {
        let failed = |error: sqlx::Error| self.error("merge the calendar", &error);
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let mut counts = MergeCounts::default();
        for day in days {
            let date = day.date.format(TIME).to_string();
            let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM trade_day WHERE timestamp = ?")
                .bind(&date)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed)?;
            let done = sqlx::query(
                "INSERT INTO trade_day VALUES (?, ?) ON CONFLICT (timestamp) DO UPDATE SET is_open = excluded.is_open \
                 WHERE is_open <> excluded.is_open",
            )
            .bind(&date)
            .bind(day.is_open)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            count(&mut counts, found.is_some(), done.rows_affected());
        }
        transaction.commit().await.map_err(failed)?;
        Ok(counts)
    }

    async fn record_syncs(&self, records: &[SyncRecord]) -> Result<(), StoreError> {
        let mut query = QueryBuilder::new("INSERT INTO data_sync_record ");
        query.push_values(records, |mut row, record| {
            let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
            let (added, updated) = record.added_and_updated();
            row.push_bind(record.kind).push_bind(record.code().to_owned()).push_bind(record.status());
            row.push_bind(shanghai_clock::wall_clock(record.ended_at).format(TIME).to_string());
            row.push_bind(i64::try_from(record.duration.as_millis()).unwrap_or(i64::MAX));
            row.push_bind(number(record.counts.fetched)).push_bind(number(added)).push_bind(number(updated));
            row.push_bind(number(record.counts.num_skipped()));
            row.push_bind(record.error.clone()).push_bind(record.strategy());
        });
        let added = query.build().execute(&self.pool).await;
        added.map(drop).map_err(|error| self.error("record ended tasks", &error))
    }
}

fn count(counts: &mut MergeCounts, was_there: bool, num_affected: u64) {
    match (was_there, num_affected) {
        (false, _) => counts.added += 1,
        (true, 0) => counts.unchanged += 1,
        (true, _) => counts.updated += 1,
    }
}
