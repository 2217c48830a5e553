// Upstream: source
// Downstream: actors, interface, kit, sources::shared, table
// Role: Tushare's interface `stock_basic`: the list of securities. Pure.

//! Securities of all exchanges, including Beijing, by one state a call: listed, paused or delisted. `delist_date` is
//! returned only if requested (Tushare documentation).

use actors::domain::FetchedStock;
use serde_json::{Map, Value, json};

use super::interface::{self, Interface};
use super::table::{self, AnswerError, Page, Table};
use crate::sources::shared::cells;

/// All listed securities.
pub struct StockBasic;

const COLUMNS: [&str; 5] = ["ts_code", "name", "industry", "list_date", "delist_date"];

impl Interface for StockBasic {
    type Row = FetchedStock;
    const NAME: &'static str = "stock_basic";
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = 6_000;

    fn params(&self) -> Map<String, Value> {
        interface::params(json!({"list_status": "L"}))
    }

    fn parse(&self, body: &str) -> Result<Page<FetchedStock>, AnswerError> {
        parse(body)
    }
}

/// Securities that are not traded any more.
pub enum FormerStockBasic {
    /// Their listing is paused.
    Paused,
    /// They are delisted.
    Delisted,
}

impl Interface for FormerStockBasic {
    type Row = FetchedStock;
    const NAME: &'static str = StockBasic::NAME;
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = StockBasic::PAGE_ROWS;
    const IS_OPTIONAL: bool = true;

    fn params(&self) -> Map<String, Value> {
        let status = match self {
            Self::Paused => "P",
            Self::Delisted => "D",
        };
        interface::params(json!({"list_status": status}))
    }

    fn parse(&self, body: &str) -> Result<Page<FetchedStock>, AnswerError> {
        parse(body)
    }
}

fn parse(body: &str) -> Result<Page<FetchedStock>, AnswerError> {
    let Table { rows, has_more } = table::parse(body, &COLUMNS)?;
    let stocks = rows.into_iter().map(|[ts_code, name, industry, list_date, delist_date]| FetchedStock {
        code: cells::text(ts_code),
        name: cells::text(name),
        industry: cells::text(industry),
        list_date: cells::day(list_date),
        delist_date: cells::day(delist_date),
    });
    Ok(Page { rows: stocks.collect(), has_more })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::Field;

    #[test]
    fn nulls_are_missing_and_listed_has_no_last_day() {
        let body = r#"{"code":0,"msg":"","data":{"fields":["ts_code","name","industry","list_date","delist_date"],
            "items":[["000001.SZ","平安银行","银行","19910403",null],["920001.BJ","",null,20240102,""]]}}"#;
        let page = StockBasic.parse(body).unwrap();
        assert_eq!(page.rows.len(), 2);
        assert_eq!(page.rows[0].name, Field::Value("平安银行".to_owned()));
        assert!(matches!(&page.rows[0].list_date, Field::Value(day) if day.to_string() == "1991-04-03 00:00:00"));
        assert_eq!(page.rows[0].delist_date, Field::Missing);
        assert_eq!((&page.rows[1].name, &page.rows[1].industry), (&Field::Missing, &Field::Missing));
        assert!(matches!(page.rows[1].list_date, Field::Value(_)));
    }

    #[test]
    fn mutated_answers_give_rows_or_error() {
        let call = StockBasic;
        let body = r#"{"code":0,"msg":"","data":{"fields":["ts_code","name","industry","list_date","delist_date"],
            "items":[["000001.SZ","平安银行","银行","19910403",null]],"has_more":false}}"#;
        kit::fuzz::mutate_text(&[body], |text| call.parse(text));
    }
}
