// Upstream: source
// Downstream: actors, interface, kit, sources::shared, table
// Role: Tushare's interface `trade_cal`: the exchanges' calendar. Pure.

//! Every day, open or not, of the Shanghai exchange, whose calendar all A-share exchanges share. `is_open` is
//! documented as text but arrives as a number.

use actors::domain::FetchedTradeDay;
use serde_json::{Map, Value};

use super::interface::Interface;
use super::table::{self, AnswerError, Page, Table};
use crate::sources::shared::cells;

/// The whole calendar.
pub struct TradeCal;

const COLUMNS: [&str; 2] = ["cal_date", "is_open"];

impl Interface for TradeCal {
    type Row = FetchedTradeDay;
    const NAME: &'static str = "trade_cal";
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    /// The vendor documents no limit. Its answers hold the whole calendar of about 13,000 days. Pages are requested all
    /// the same, to detect an answer that is cut off.
    const PAGE_ROWS: usize = 12_000;

    fn params(&self) -> Map<String, Value> {
        Map::new()
    }

    fn parse(&self, body: &str) -> Result<Page<FetchedTradeDay>, AnswerError> {
        let Table { rows, has_more } = table::parse(body, &COLUMNS)?;
        let days = rows
            .into_iter()
            .map(|[cal_date, is_open]| FetchedTradeDay { date: cells::day(cal_date), is_open: cells::number(is_open) });
        Ok(Page { rows: days.collect(), has_more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::Field;
    use rust_decimal::Decimal;

    #[test]
    fn a_day_is_open_by_number_or_text() {
        let body = r#"{"code":0,"data":{"fields":["exchange","cal_date","is_open"],
            "items":[["SSE","20240102",1],["SSE","20240101","0"],["SSE","20231231",null]]}}"#;
        let rows = TradeCal.parse(body).unwrap().rows;
        assert_eq!(rows[0].is_open, Field::Value(Decimal::ONE));
        assert_eq!(rows[1].is_open, Field::Value(Decimal::ZERO));
        assert_eq!(rows[2].is_open, Field::Missing);
    }

    #[test]
    fn mutated_answers_give_rows_or_error() {
        let call = TradeCal;
        let body = r#"{"code":0,"msg":"","data":{"fields":["exchange","cal_date","is_open"],
            "items":[["SSE","20240102",1]],"has_more":false}}"#;
        kit::fuzz::mutate_text(&[body], |text| call.parse(text));
    }
}
