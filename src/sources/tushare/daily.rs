// Upstream: daily_tests, source
// Downstream: actors, interface, sources::shared, table
// Role: Parses Tushare's answers to `daily`: bars of some securities, or of all securities on one day. Pure.

//! Unadjusted daily bars, newest first. They already have Ginkgo's units: lots of 100 shares and thousand yuan.

use actors::domain::{Code, DateRange, FetchedBar, Field};
use actors::ports::NotedRow;
use chrono::NaiveDate;
use serde_json::{Map, Value, json};

use super::interface::{self, Interface};
use super::table::{self, AnswerError, Page, Table};
use crate::sources::shared::cells;
use crate::sources::shared::day_note::day_note;

/// Bars of some securities in a range of days.
pub struct Daily<'a> {
    /// The securities.
    pub codes: &'a [Code],
    /// The range; both ends are included.
    pub range: DateRange,
}

/// Bars of all securities on one day.
pub struct DailyOfAll {
    /// The day.
    pub day: NaiveDate,
}

impl Interface for DailyOfAll {
    type Row = (Code, NotedRow);
    const NAME: &'static str = Daily::NAME;
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = Daily::PAGE_ROWS;

    fn params(&self) -> Map<String, Value> {
        interface::params(json!({"trade_date": self.day.format("%Y%m%d").to_string()}))
    }

    /// Rows whose code is not an A-share's are skipped, because no request can name them.
    fn parse(&self, body: &str) -> Result<Page<Self::Row>, AnswerError> {
        let Table { rows, has_more } = table::parse(body, &COLUMNS)?;
        let bars = rows.iter().filter_map(|cells| {
            let Field::Value(text) = cells::text(cells[0]) else { return None };
            Some((text.parse().ok()?, row(cells)))
        });
        Ok(Page { rows: bars.collect(), has_more })
    }
}

impl Interface for Daily<'_> {
    type Row = (Code, NotedRow);
    const NAME: &'static str = "daily";
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = 6_000;

    fn params(&self) -> Map<String, Value> {
        interface::codes_and_days(self.codes, self.range)
    }

    fn parse(&self, body: &str) -> Result<Page<Self::Row>, AnswerError> {
        interface::rows_of(body, &COLUMNS, self.codes, row)
    }
}

/// The request names the columns, so that a new default column changes nothing.
const COLUMNS: [&str; 9] = ["ts_code", "trade_date", "open", "high", "low", "close", "vol", "amount", "pre_close"];

/// Converts a row. `pre_close` is the exchange's reference price: the previous close, adjusted for ex-rights.
fn row([_, trade_date, open, high, low, close, vol, amount, pre_close]: &[&str; COLUMNS.len()]) -> NotedRow {
    let timestamp = cells::day(trade_date);
    let note = day_note(&timestamp, &cells::number(pre_close), false, None);
    let bar = FetchedBar {
        timestamp,
        open: cells::number(open),
        high: cells::number(high),
        low: cells::number(low),
        close: cells::number(close),
        volume: cells::number(vol),
        amount: cells::number(amount),
    };
    (Some(bar), note)
}
