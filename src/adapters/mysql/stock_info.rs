// Upstream: store
// Downstream: actors, merge, model
// Role: Creates and reads Ginkgo's table `stock_info` and merges a stock list into it.

use std::collections::{HashMap, HashSet};

use actors::domain::stock_info::{UNKNOWN_LIST_DATE, listing};
use actors::domain::{Code, Listing, Stock};
use actors::ports::MergeCounts;
use chrono::NaiveDateTime;
use sqlx::{MySqlConnection, QueryBuilder, Row};
use uuid::Uuid;

use crate::adapters::mysql::merge::{Merge, StoredRow, merge};
use crate::adapters::mysql::model::{DESC, META, ROWS_PER_STATEMENT};

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
type Values = (String, String, i8, i8, NaiveDateTime, NaiveDateTime, bool);

fn read(stock: &Stock) -> (String, Values) {
    let Stock { code, name, industry, list_date, delist_date, .. } = stock;
    (code.to_string(), (name.clone(), industry.clone(), CNY, CHINA, *list_date, *delist_date, false))
}

/// Fills in values that the source does not provide (industry, listing date) from the stored rows.
fn completed(stocks: &[Stock], stored: &[StoredRow<String, Values>]) -> Vec<Stock> {
    let mut known: HashMap<&str, &Values> = HashMap::with_capacity(stored.len());
    for row in stored {
        known.entry(&row.key).or_insert(&row.values);
    }
    let mut stocks = stocks.to_vec();
    for stock in &mut stocks {
        let Some((_, industry, _, _, list_date, ..)) = known.get(stock.code.as_str()) else { continue };
        if stock.industry.is_empty() {
            stock.industry.clone_from(industry);
        }
        if stock.list_date.date() == UNKNOWN_LIST_DATE {
            stock.list_date = *list_date;
        }
    }
    stocks
}

/// Merges a list within the transaction of the caller.
pub async fn merge_into(
    connection: &mut MySqlConnection,
    stocks: &[Stock],
    now: NaiveDateTime,
) -> Result<MergeCounts, sqlx::Error> {
    let stored = stored(connection).await?;
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
        query.build().execute(&mut *connection).await?;
    }
    for (stock, uuid) in &update {
        sqlx::query(
            "UPDATE stock_info SET code_name = ?, industry = ?, currency = ?, market = ?, list_date = ?, \
             delist_date = ?, is_del = 0, source = ?, update_at = ? WHERE uuid = ?",
        )
        .bind(&stock.name)
        .bind(&stock.industry)
        .bind(CNY)
        .bind(CHINA)
        .bind(stock.list_date)
        .bind(stock.delist_date)
        .bind(stock.source.number())
        .bind(now)
        .bind(uuid)
        .execute(&mut *connection)
        .await?;
    }
    for uuid in &delete {
        sqlx::query("DELETE FROM stock_info WHERE uuid = ?").bind(uuid).execute(&mut *connection).await?;
    }
    Ok(MergeCounts { added: insert.len() as u64, updated: update.len() as u64, unchanged })
}

/// Maximum number of rows read: far more than all securities, including delisted ones.
const MAX_LISTINGS: u32 = 50_000;

/// The securities that are not marked as deleted. Codes other than A-shares are skipped.
pub async fn listings(connection: &mut MySqlConnection) -> Result<Vec<Listing>, sqlx::Error> {
    let select = "SELECT code, code_name, list_date, delist_date FROM stock_info WHERE is_del = 0 \
                  ORDER BY create_at, uuid LIMIT ?";
    let rows: Vec<(String, String, NaiveDateTime, NaiveDateTime)> =
        sqlx::query_as(select).bind(MAX_LISTINGS).fetch_all(connection).await?;
    let mut seen = HashSet::with_capacity(rows.len());
    let listings = rows.into_iter().filter_map(|(code, name, list_date, delist_date)| {
        let code: Code = code.parse().ok()?;
        seen.insert(code).then(|| listing(code, name, list_date.date(), delist_date.date()))
    });
    Ok(listings.collect())
}

async fn stored(connection: &mut MySqlConnection) -> Result<Vec<StoredRow<String, Values>>, sqlx::Error> {
    let select = "SELECT code, uuid, code_name, industry, currency, market, list_date, delist_date, is_del \
                  FROM stock_info ORDER BY create_at, uuid";
    let rows = sqlx::query(select).fetch_all(connection).await?;
    let stored = rows.iter().map(|row| {
        let values = (
            row.try_get(2)?,
            row.try_get(3)?,
            row.try_get(4)?,
            row.try_get(5)?,
            row.try_get(6)?,
            row.try_get(7)?,
            row.try_get(8)?,
        );
        Ok(StoredRow { key: row.try_get(0)?, uuid: row.try_get(1)?, values })
    });
    stored.collect()
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
