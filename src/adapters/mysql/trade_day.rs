// Upstream: store
// Downstream: actors, cells, error, merge, model, session
// Role: Creates and reads Ginkgo's table `trade_day` and merges a trading calendar into it.

use std::collections::BTreeMap;

use actors::domain::TradeDay;
use actors::ports::MergeCounts;
use chrono::{NaiveDate, NaiveDateTime};
use sqlx::{QueryBuilder, Row};
use uuid::Uuid;

use crate::adapters::mysql::cells;
use crate::adapters::mysql::error::MySqlError;
use crate::adapters::mysql::merge::{Merge, StoredRow, merge};
use crate::adapters::mysql::model::{DESC, META};
use crate::adapters::mysql::session::{ROWS_PER_STATEMENT, Session, push_list};

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
    session: &mut Session<'_>,
    days: &[TradeDay],
    now: NaiveDateTime,
) -> Result<MergeCounts, MySqlError> {
    let read = |day: &TradeDay| (day.date, (Some(day.is_open), Some(false)));
    let Merge { insert, update, delete, unchanged } = merge(days, stored(session).await?, read);
    for rows in insert.chunks(ROWS_PER_STATEMENT) {
        let mut query = QueryBuilder::new(
            "INSERT INTO trade_day (market, is_open, timestamp, uuid, meta, `desc`, create_at, update_at, is_del, source) ",
        );
        query.push_values(rows, |mut row, day| {
            row.push_bind(CHINA).push_bind(day.is_open).push_bind(day.date);
            row.push_bind(Uuid::new_v4().simple().to_string()).push_bind(META).push_bind(DESC);
            row.push_bind(now).push_bind(now).push_bind(false).push_bind(day.source.number());
        });
        session.execute(query.build()).await?;
    }
    // The rows that get the same values share statements.
    let mut uuids: BTreeMap<(bool, i8), Vec<&String>> = BTreeMap::new();
    for (day, uuid) in &update {
        uuids.entry((day.is_open, day.source.number())).or_default().push(uuid);
    }
    for ((is_open, source), uuids) in uuids {
        for uuids in uuids.chunks(ROWS_PER_STATEMENT) {
            let mut query = QueryBuilder::new("UPDATE trade_day SET is_del = 0, is_open = ");
            query.push_bind(is_open).push(", source = ").push_bind(source).push(", update_at = ").push_bind(now);
            query.push(" WHERE uuid IN (");
            push_list(&mut query, uuids.iter().copied());
            session.execute(query.build()).await?;
        }
    }
    session.delete("trade_day", &delete).await?;
    Ok(MergeCounts { added: insert.len() as u64, updated: update.len() as u64, unchanged })
}

/// Maximum number of rows read: about a century of days, each twice.
const MAX_DAYS: u32 = 75_000;

/// The days that are not marked as deleted, oldest row first, and whether each is a trading day. A row without a
/// readable date, or without the other value, is skipped.
pub async fn days(session: &mut Session<'_>) -> Result<Vec<(NaiveDate, bool)>, MySqlError> {
    let select = "SELECT CAST(timestamp AS CHAR), is_open FROM trade_day WHERE market = ? AND is_del = 0 \
                  ORDER BY create_at, uuid LIMIT ?";
    let rows = session.rows(sqlx::query(select).bind(CHINA).bind(MAX_DAYS)).await?;
    let mut days = Vec::with_capacity(rows.len());
    for row in &rows {
        if let (Some(time), Some(is_open)) = (cells::time(row, 0)?, row.try_get(1)?) {
            days.push((time.date(), is_open));
        }
    }
    if days.len() < rows.len() {
        tracing::warn!(rows = rows.len() - days.len(), "rows of trade_day are not readable and count as missing");
    }
    Ok(days)
}

/// The stored rows. A row without a readable date is not a row of the calendar.
async fn stored(
    session: &mut Session<'_>,
) -> Result<Vec<StoredRow<NaiveDateTime, (Option<bool>, Option<bool>)>>, MySqlError> {
    let select = "SELECT CAST(timestamp AS CHAR), uuid, is_open, is_del FROM trade_day WHERE market = ? ORDER BY create_at, uuid";
    let rows = session.rows(sqlx::query(select).bind(CHINA)).await?;
    let mut stored = Vec::with_capacity(rows.len());
    for row in &rows {
        let (Some(key), Some(uuid)) = (cells::time(row, 0)?, row.try_get(1)?) else { continue };
        stored.push(StoredRow { key, uuid, values: (row.try_get(2)?, row.try_get(3)?) });
    }
    Ok(stored)
}
