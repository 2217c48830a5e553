// Upstream: lists
// Downstream: actors, store
// Role: The rows of the stock list with what is known of their departure, and the changes to them.

use actors::domain::departures::{StockChange, StoredStock};
use actors::domain::stock_info::listing;
use chrono::{NaiveDate, NaiveTime};
use sqlx::SqliteConnection;

use crate::adapters::sqlite::store::{TIME, time_of};

/// Code, name, list date, delisting date; then, where the security was absent once, since when and whether it is deleted.
type Row = (String, String, String, String, Option<String>, Option<bool>);

/// The stored securities.
pub async fn stored(connection: &mut SqliteConnection) -> Result<Vec<StoredStock>, sqlx::Error> {
    let select = "SELECT code, code_name, list_date, delist_date, absent_since, is_del FROM stock_info LEFT JOIN \
                  stock_departure USING (code)";
    let rows: Vec<Row> = sqlx::query_as(select).fetch_all(connection).await?;
    let read = |(code, name, listed, delisted, absent_since, is_deleted): Row| {
        let day = |text: &str| time_of(text).map_or(NaiveDate::MIN, |time| time.date());
        let listing = listing(code.parse().ok()?, name, day(&listed), day(&delisted));
        Some(StoredStock {
            code: listing.code,
            name: listing.name,
            listed: listing.listed,
            delisted: listing.delisted,
            is_deleted: is_deleted.unwrap_or(false),
            absent_since: absent_since.and_then(|text| text.parse().ok()),
            source: None,
        })
    };
    Ok(rows.into_iter().filter_map(read).collect())
}

/// Stores what happened to one security.
pub async fn change(change: &StockChange, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    if let Some(day) = change.delisted {
        sqlx::query("UPDATE stock_info SET delist_date = ? WHERE code = ?")
            .bind(day.and_time(NaiveTime::MIN).format(TIME).to_string())
            .bind(change.code.as_str())
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query("INSERT OR REPLACE INTO stock_departure VALUES (?, ?, ?)")
        .bind(change.code.as_str())
        .bind(change.absent_since.map(|day| day.to_string()))
        .bind(change.is_deleted)
        .execute(&mut *connection)
        .await
        .map(drop)
}
