// Upstream: store
// Downstream: actors, cells, error, merge, model, session
// Role: Creates and reads Ginkgo's table `stock_info` and merges a stock list into it.

use std::collections::{HashMap, HashSet};

use actors::domain::stock_info::{UNKNOWN_LIST_DATE, delisted, listing};
use actors::domain::{Code, Listing, Stock};
use actors::ports::MergeCounts;
use chrono::{NaiveDate, NaiveDateTime};
use sqlx::{Encode, MySql, QueryBuilder, Row, Type};
use uuid::Uuid;

use crate::adapters::mysql::cells;
use crate::adapters::mysql::error::MySqlError;
use crate::adapters::mysql::merge::{Merge, StoredRow, merge};
use crate::adapters::mysql::model::{DESC, META};
use crate::adapters::mysql::session::{ROWS_PER_STATEMENT, Session, push_list};

/// The table as declared by Ginkgo's models, without a unique key on the code.
pub const CREATE: &str = "CREATE TABLE IF NOT EXISTS stock_info (
    code VARCHAR(32) NOT NULL, code_name VARCHAR(32) NOT NULL, industry VARCHAR(32) NOT NULL,
    currency TINYINT NOT NULL, market TINYINT NOT NULL, list_date DATETIME NOT NULL, delist_date DATETIME NOT NULL,
    uuid VARCHAR(32) NOT NULL, meta VARCHAR(255) NULL, `desc` VARCHAR(255) NULL,
    create_at DATETIME NOT NULL, update_at DATETIME NOT NULL, is_del BOOL NOT NULL, source TINYINT NOT NULL,
    PRIMARY KEY (uuid)) DEFAULT CHARSET = utf8mb4";

/// Ginkgo's number for the currency CNY.
const CNY: i8 = 1;

/// Ginkgo's number for the market CHINA.
const CHINA: i8 = 1;

/// The values whose difference is a change. A different source alone is not a change.
#[derive(Debug, PartialEq, Eq)]
struct Values {
    name: Option<String>,
    industry: Option<String>,
    currency: Option<i8>,
    market: Option<i8>,
    list_date: Option<NaiveDateTime>,
    delist_date: Option<NaiveDateTime>,
    is_deleted: Option<bool>,
}

fn read(stock: &Stock) -> (String, Values) {
    let Stock { code, name, industry, list_date, delist_date, .. } = stock;
    let values = Values {
        name: Some(name.clone()),
        industry: Some(industry.clone()),
        currency: Some(CNY),
        market: Some(CHINA),
        list_date: Some(*list_date),
        delist_date: Some(*delist_date),
        is_deleted: Some(false),
    };
    (code.to_string(), values)
}

/// Fills in values that the source does not provide (industry, listing date) from the stored rows.
fn completed(stocks: &[Stock], stored: &[StoredRow<String, Values>]) -> Vec<Stock> {
    let mut known: HashMap<&str, &Values> = HashMap::with_capacity(stored.len());
    for row in stored {
        known.entry(&row.key).or_insert(&row.values);
    }
    let mut stocks = stocks.to_vec();
    for stock in &mut stocks {
        let Some(Values { industry, list_date, .. }) = known.get(stock.code.as_str()) else { continue };
        if let Some(industry) = industry.as_ref().filter(|_| stock.industry.is_empty()) {
            stock.industry.clone_from(industry);
        }
        if let Some(list_date) = list_date.filter(|_| stock.list_date.date() == UNKNOWN_LIST_DATE) {
            stock.list_date = list_date;
        }
    }
    stocks
}

/// Merges a list within the transaction of the caller.
pub async fn merge_into(
    session: &mut Session<'_>,
    stocks: &[Stock],
    now: NaiveDateTime,
) -> Result<MergeCounts, MySqlError> {
    let stored = stored(session).await?;
    let stocks = completed(stocks, &stored);
    let Merge { insert, update, delete, unchanged } = merge(&stocks, stored, read);
    for rows in insert.chunks(ROWS_PER_STATEMENT) {
        let mut query = QueryBuilder::new(
            "INSERT INTO stock_info (code, code_name, industry, currency, market, list_date, delist_date, uuid, meta, \
             `desc`, create_at, update_at, is_del, source) ",
        );
        query.push_values(rows, |mut row, stock| {
            row.push_bind(stock.code.as_str()).push_bind(&stock.name).push_bind(&stock.industry);
            row.push_bind(CNY).push_bind(CHINA).push_bind(stock.list_date).push_bind(stock.delist_date);
            row.push_bind(Uuid::new_v4().simple().to_string()).push_bind(META).push_bind(DESC);
            row.push_bind(now).push_bind(now).push_bind(false).push_bind(stock.source.number());
        });
        session.execute(query.build()).await?;
    }
    for rows in update.chunks(ROWS_PER_STATEMENT) {
        session.execute(updating(rows, now).build()).await?;
    }
    session.delete("stock_info", &delete).await?;
    Ok(MergeCounts { added: insert.len() as u64, updated: update.len() as u64, unchanged })
}

/// An UPDATE of many rows, each with values of its own.
fn updating<'a>(rows: &'a [(&'a Stock, String)], now: NaiveDateTime) -> QueryBuilder<'a, MySql> {
    let mut query = QueryBuilder::new("UPDATE stock_info SET is_del = 0, ");
    query.push("currency = ").push_bind(CNY).push(", market = ").push_bind(CHINA);
    query.push(", update_at = ").push_bind(now);
    set_each(&mut query, "code_name", rows, |stock| stock.name.as_str());
    set_each(&mut query, "industry", rows, |stock| stock.industry.as_str());
    set_each(&mut query, "list_date", rows, |stock| stock.list_date);
    set_each(&mut query, "delist_date", rows, |stock| stock.delist_date);
    set_each(&mut query, "source", rows, |stock| stock.source.number());
    query.push(" WHERE uuid IN (");
    push_list(&mut query, rows.iter().map(|(_, uuid)| uuid));
    query
}

/// Adds the assignment of a column, with the value of each row.
fn set_each<'a, V: Encode<'a, MySql> + Type<MySql> + 'a>(
    query: &mut QueryBuilder<'a, MySql>,
    column: &str,
    rows: &'a [(&'a Stock, String)],
    value: impl Fn(&'a Stock) -> V,
) {
    query.push(format_args!(", {column} = CASE uuid"));
    for (stock, uuid) in rows {
        query.push(" WHEN ").push_bind(uuid).push(" THEN ").push_bind(value(stock));
    }
    query.push(" END");
}

/// Maximum number of rows read: far more than all securities, including delisted ones.
const MAX_LISTINGS: u32 = 50_000;

/// The delisting day in a cell; `None` while the security is listed, or where the cell is not readable.
pub fn delisting_day(cell: Option<NaiveDateTime>) -> Option<NaiveDate> {
    cell.and_then(|time| delisted(time.date()))
}

/// The securities that are not marked as deleted, and those that are and have a delisting day. Codes other than A-shares are skipped. Without a readable date, that
/// date is unknown.
pub async fn listings(session: &mut Session<'_>) -> Result<Vec<Listing>, MySqlError> {
    let select = "SELECT code, code_name, CAST(list_date AS CHAR), CAST(delist_date AS CHAR) FROM stock_info \
                  WHERE is_del = 0 OR delist_date < '2100-01-01' ORDER BY is_del, create_at, uuid LIMIT ?";
    let rows = session.rows(sqlx::query(select).bind(MAX_LISTINGS)).await?;
    let mut seen = HashSet::with_capacity(rows.len());
    let mut listings = Vec::with_capacity(rows.len());
    let mut undated = Vec::new();
    for row in &rows {
        let Some(code) = row.try_get::<Option<String>, _>(0)?.and_then(|code| code.parse::<Code>().ok()) else {
            continue;
        };
        if !seen.insert(code) {
            continue;
        }
        let (listed, delisted) = (cells::time(row, 2)?, cells::time(row, 3)?);
        if listed.is_none() || delisted.is_none() {
            undated.push(code);
        }
        let day = |time: Option<NaiveDateTime>| time.map_or(UNKNOWN_LIST_DATE, |time| time.date());
        let name = row.try_get::<Option<String>, _>(1)?.unwrap_or_default();
        listings.push(listing(code, name, day(listed), day(delisted)));
    }
    if let Some(example) = undated.first() {
        tracing::warn!(securities = undated.len(), %example, "dates in stock_info are not readable and count as unknown");
    }
    Ok(listings)
}

/// The stored rows. A row without a code is not a row of the list.
async fn stored(session: &mut Session<'_>) -> Result<Vec<StoredRow<String, Values>>, MySqlError> {
    let select = "SELECT code, uuid, code_name, industry, currency, market, CAST(list_date AS CHAR), \
                  CAST(delist_date AS CHAR), is_del FROM stock_info ORDER BY create_at, uuid";
    let rows = session.rows(sqlx::query(select)).await?;
    let mut stored = Vec::with_capacity(rows.len());
    for row in &rows {
        let (Some(key), Some(uuid)) = (row.try_get(0)?, row.try_get(1)?) else { continue };
        let values = Values {
            name: row.try_get(2)?,
            industry: row.try_get(3)?,
            currency: row.try_get(4)?,
            market: row.try_get(5)?,
            list_date: cells::time(row, 6)?,
            delist_date: cells::time(row, 7)?,
            is_deleted: row.try_get(8)?,
        };
        stored.push(StoredRow { key, uuid, values });
    }
    Ok(stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::SourceId;

    #[test]
    fn keeps_stored_values_the_source_lacks() {
        let day = |text: &str| text.parse::<chrono::NaiveDate>().unwrap().and_time(chrono::NaiveTime::MIN);
        let stock = |code: &str, industry: &str, list_date| Stock {
            code: code.parse().unwrap(),
            name: "新名字".to_owned(),
            industry: industry.to_owned(),
            list_date,
            delist_date: day("2100-01-01"),
            source: SourceId::TDX,
        };
        let unknown = UNKNOWN_LIST_DATE.and_time(chrono::NaiveTime::MIN);
        let complete = stock("600000.SH", "银行", day("1999-11-10"));
        let (key, values) = read(&complete);
        let stored = [StoredRow { key, uuid: "1".to_owned(), values }];
        let wanted = [stock("600000.SH", "", unknown), stock("000001.SZ", "", unknown)];
        let completed = completed(&wanted, &stored);
        assert_eq!(completed, [complete.clone(), wanted[1].clone()]);
        let other = [stock("600000.SH", "保险", day("2000-01-01"))];
        assert_eq!(crate::adapters::mysql::stock_info::completed(&other, &stored), other);
    }
}
