// Upstream: sources::tushare, sources::tushare::daily_tests
// Downstream: actors::domain::bar, actors::domain::code, actors::domain::task, sources::cells, sources::excerpt, sources::tushare::interface, sources::tushare::table
// Role: Reads Tushare's answer to `daily`: bars of one security. Pure.

//! Unadjusted daily bars, newest first. Units are Ginkgo's own already: lots of 100 shares and thousand yuan.

use actors::domain::{Code, DateRange, FetchedBar};
use serde_json::{Map, Value, json};

use super::interface::{self, Interface};
use super::table::{self, AnswerError, Page, Table, excerpt, unreadable};
use crate::sources::cells;

/// Bars of one security in a range of days.
pub struct Daily {
    /// The security.
    pub code: Code,
    /// Both ends included.
    pub range: DateRange,
}

impl Interface for Daily {
    type Row = FetchedBar;
    const NAME: &'static str = "daily";
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = 6_000;

    fn params(&self) -> Map<String, Value> {
        interface::params(json!({
            "ts_code": self.code.as_str(),
            "start_date": self.range.start.format("%Y%m%d").to_string(),
            "end_date": self.range.end.format("%Y%m%d").to_string(),
        }))
    }

    fn parse(&self, body: &str) -> Result<Page<FetchedBar>, AnswerError> {
        parse(body, self.code)
    }
}

/// The request names them, so that a new default column changes nothing.
const COLUMNS: [&str; 8] = ["ts_code", "trade_date", "open", "high", "low", "close", "vol", "amount"];

/// Reads the body of an answer about `code`.
pub fn parse(body: &str, code: Code) -> Result<Page<FetchedBar>, AnswerError> {
    let Table { rows, has_more } = table::parse(body, &COLUMNS)?;
    let bars = rows.iter().enumerate().map(|(number, row)| {
        let [ts_code, trade_date, open, high, low, close, vol, amount] = *row;
        if !cells::names(ts_code, code) {
            let reason = format!("row {number} is of {}, asked was {code}", excerpt(ts_code));
            return Err(unreadable("`items`", &reason, body));
        }
        Ok(FetchedBar {
            timestamp: cells::day(trade_date),
            open: cells::number(open),
            high: cells::number(high),
            low: cells::number(low),
            close: cells::number(close),
            volume: cells::number(vol),
            amount: cells::number(amount),
        })
    });
    Ok(Page { rows: bars.collect::<Result<_, _>>()?, has_more })
}
