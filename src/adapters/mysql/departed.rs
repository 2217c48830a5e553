// Upstream: store
// Downstream: actors, cells, error, model, session
// Role: Stores in `stock_info` which securities a list no longer names, and since when.

//! The day of the first list without a security is kept in the column `meta` of its row, which Ginkgo fills with `{}`:
//! `{"absent_since":"2026-11-30"}`. It is in the same transaction as the rest of the row, survives a restart, and holds
//! for all workers.

use std::collections::{HashMap, HashSet};

use actors::domain::departures::{Departures, StockChange, StoredStock, departures};
use actors::domain::reference_list::StockList;
use actors::domain::{Code, stock_info::listing};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use serde_json::{Map, Value};
use sqlx::Row;

use crate::adapters::mysql::cells;
use crate::adapters::mysql::error::MySqlError;
use crate::adapters::mysql::model::META;
use crate::adapters::mysql::session::Session;

/// The key in `meta`.
const ABSENT_SINCE: &str = "absent_since";

/// Compares the list with the stored rows and stores the changes, within the transaction of the caller.
pub async fn retire(session: &mut Session<'_>, list: &StockList, now: NaiveDateTime) -> Result<Departures, MySqlError> {
    let rows = stored(session).await?;
    let stocks: Vec<StoredStock> = rows.iter().map(|row| row.stock.clone()).collect();
    let found = departures(&stocks, list);
    let by_code: HashMap<Code, &StoredRow> = rows.iter().map(|row| (row.stock.code, row)).collect();
    // Few rows change at once, except on the day of a renumbering (about 250).
    for change in &found.changes {
        let Some(row) = by_code.get(&change.code) else { continue };
        let delisted = change.delisted.map(|day| day.and_time(NaiveTime::MIN));
        let query = sqlx::query(
            "UPDATE stock_info SET meta = ?, delist_date = COALESCE(?, delist_date), is_del = ?, update_at = ? WHERE uuid = ?",
        );
        let query = query.bind(noted(row.meta.as_deref(), change)).bind(delisted).bind(change.is_deleted);
        session.execute(query.bind(now).bind(&row.uuid)).await?;
    }
    Ok(found)
}

struct StoredRow {
    uuid: String,
    meta: Option<String>,
    stock: StoredStock,
}

/// The oldest row of each code, as in the merge.
async fn stored(session: &mut Session<'_>) -> Result<Vec<StoredRow>, MySqlError> {
    let select = "SELECT code, uuid, code_name, CAST(list_date AS CHAR), CAST(delist_date AS CHAR), is_del, source, meta \
                  FROM stock_info ORDER BY create_at, uuid";
    let rows = session.rows(sqlx::query(select)).await?;
    let (mut stored, mut seen) = (Vec::with_capacity(rows.len()), HashSet::with_capacity(rows.len()));
    for row in &rows {
        let code = row.try_get::<Option<String>, _>(0)?.and_then(|text| text.parse::<Code>().ok());
        let (Some(code), Some(uuid)) = (code, row.try_get(1)?) else { continue };
        if !seen.insert(code) {
            continue;
        }
        let day = |cell: Option<NaiveDateTime>| cell.map_or(NaiveDate::MIN, |time| time.date());
        let name = row.try_get::<Option<String>, _>(2)?.unwrap_or_default();
        let listing = listing(code, name, day(cells::time(row, 3)?), day(cells::time(row, 4)?));
        let meta: Option<String> = row.try_get(7)?;
        let stock = StoredStock {
            code,
            name: listing.name,
            listed: listing.listed,
            delisted: listing.delisted,
            is_deleted: row.try_get::<Option<bool>, _>(5)?.unwrap_or(false),
            absent_since: meta.as_deref().and_then(absent_since),
            source: row.try_get(6)?,
        };
        stored.push(StoredRow { uuid, meta, stock });
    }
    Ok(stored)
}

fn object(meta: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(meta).ok()
}

fn absent_since(meta: &str) -> Option<NaiveDate> {
    object(meta)?.get(ABSENT_SINCE)?.as_str()?.parse().ok()
}

/// The new `meta`. Other keys stay; a text that is no object stays as it is.
fn noted(meta: Option<&str>, change: &StockChange) -> Option<String> {
    let Some(mut object) = object(meta.unwrap_or(META)) else { return meta.map(str::to_owned) };
    match change.absent_since {
        Some(day) => drop(object.insert(ABSENT_SINCE.to_owned(), day.to_string().into())),
        None => drop(object.remove(ABSENT_SINCE)),
    }
    Some(Value::Object(object).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_keeps_other_keys_and_foreign_texts() {
        let change = |absent_since| {
            let code = "830799.BJ".parse().unwrap();
            StockChange { code, delisted: None, is_deleted: false, absent_since }
        };
        let day = NaiveDate::from_ymd_opt(2026, 11, 30);
        for meta in [None, Some("{}")] {
            let text = noted(meta, &change(day)).unwrap();
            assert_eq!(text, r#"{"absent_since":"2026-11-30"}"#);
            assert_eq!(absent_since(&text), day);
            assert_eq!(noted(Some(&text), &change(None)).as_deref(), Some("{}"));
        }
        let other = r#"{"board":"BJ","absent_since":"2026-11-30"}"#;
        assert_eq!(noted(Some(r#"{"board":"BJ"}"#), &change(day)).as_deref(), Some(other));
        for text in ["a note", "[1]", ""] {
            assert_eq!((noted(Some(text), &change(day)).as_deref(), absent_since(text)), (Some(text), None));
        }
    }
}
