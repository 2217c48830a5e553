// Upstream: store
// Downstream: actors, merge, model
// Role: Creates and reads Ginkgo's table `trade_day` and merges a trading calendar into it.

use actors::domain::TradeDay;
use actors::ports::MergeCounts;
use chrono::{NaiveDate, NaiveDateTime};
use sqlx::{MySqlConnection, QueryBuilder, Row};
use uuid::Uuid;

use crate::adapters::mysql::merge::{Merge, StoredRow, merge};
use crate::adapters::mysql::model::{DESC, META, ROWS_PER_STATEMENT};

/// The table as declared by Ginkgo's models, without a unique key on market and day.
pub const CREATE: &str = "CREATE TABLE IF NOT EXISTS trade_day (
    market TINYINT NOT NULL, is_open BOOL NOT NULL, timestamp DATETIME NOT NULL,
    uuid VARCHAR(32) NOT NULL, meta VARCHAR(255) NULL, `desc` VARCHAR(255) NULL,
    create_at DATETIME NOT NULL, update_at DATETIME NOT NULL, is_del BOOL NOT NULL, source TINYINT NOT NULL,
    PRIMARY KEY (uuid)) DEFAULT CHARSET = utf8mb4";

/// Ginkgo's number for the market CHINA.
const CHINA: i8 = 1;

/// Merges a calendar within the transaction of the caller.
pub async fn merge_into(
    connection: &mut MySqlConnection,
    days: &[TradeDay],
    now: NaiveDateTime,
) -> Result<MergeCounts, sqlx::Error> {
    let read = |day: &TradeDay| (day.date, (day.is_open, false));
    let Merge { insert, update, delete, unchanged } = merge(days, stored(connection).await?, read);
    for rows in insert.chunks(ROWS_PER_STATEMENT) {
        let mut query = QueryBuilder::new(
            "INSERT INTO trade_day (market, is_open, timestamp, uuid, meta, `desc`, create_at, update_at, is_del, source) ",
        );
        query.push_values(rows, |mut row, day| {
            row.push_bind(CHINA).push_bind(day.is_open).push_bind(day.date);
            row.push_bind(Uuid::new_v4().simple().to_string()).push_bind(META).push_bind(DESC);
            row.push_bind(now).push_bind(now).push_bind(false).push_bind(day.source.number());
        });
        query.build().execute(&mut *connection).await?;
    }
    for (day, uuid) in &update {
        sqlx::query("UPDATE trade_day SET is_open = ?, is_del = 0, source = ?, update_at = ? WHERE uuid = ?")
            .bind(day.is_open)
            .bind(day.source.number())
            .bind(now)
            .bind(uuid)
            .execute(&mut *connection)
            .await?;
    }
    for uuid in &delete {
        sqlx::query("DELETE FROM trade_day WHERE uuid = ?").bind(uuid).execute(&mut *connection).await?;
    }
    Ok(MergeCounts { added: insert.len() as u64, updated: update.len() as u64, unchanged })
}

/// Maximum number of rows read: about a century of days, each twice.
const MAX_DAYS: u32 = 75_000;

/// The days that are not marked as deleted, oldest row first, and whether each is a trading day.
pub async fn days(connection: &mut MySqlConnection) -> Result<Vec<(NaiveDate, bool)>, sqlx::Error> {
    let select = "SELECT timestamp, is_open FROM trade_day WHERE market = ? AND is_del = 0 \
                  ORDER BY create_at, uuid LIMIT ?";
    let rows: Vec<(NaiveDateTime, bool)> =
        sqlx::query_as(select).bind(CHINA).bind(MAX_DAYS).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|(time, is_open)| (time.date(), is_open)).collect())
}

async fn stored(connection: &mut MySqlConnection) -> Result<Vec<StoredRow<NaiveDateTime, (bool, bool)>>, sqlx::Error> {
    let select = "SELECT timestamp, uuid, is_open, is_del FROM trade_day WHERE market = ? ORDER BY create_at, uuid";
    let rows = sqlx::query(select).bind(CHINA).fetch_all(connection).await?;
    let stored = rows.iter().map(|row| {
        let values = (row.try_get(2)?, row.try_get(3)?);
        Ok(StoredRow { key: row.try_get(0)?, uuid: row.try_get(1)?, values })
    });
    stored.collect()
}
