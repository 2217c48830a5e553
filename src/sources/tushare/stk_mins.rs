// Upstream: source
// Downstream: actors, interface, kit, sources::shared, table
// Role: Tushare's interface `stk_mins`: minute bars of one security. Pure.

//! Bars are newest first, and their time is their end. 1-minute bars have an additional row at 09:30 for the opening
//! auction. Unlike daily bars they count shares and yuan. The answer's columns have an unusual order, so they are
//! requested by name.

use actors::domain::{Code, DateRange, FetchedBar};
use serde_json::{Map, Value, json};

use super::interface::{self, Interface};
use super::table::{self, AnswerError, Page, Table, unreadable};
use crate::sources::shared::excerpt::excerpt;
use crate::sources::shared::{cells, units};

/// Minute bars of one security in a range of days.
pub struct StkMins {
    /// The security.
    pub code: Code,
    /// The range; both ends are included.
    pub range: DateRange,
    /// The length of a bar in minutes: 1, 5, 15, 30 or 60.
    pub minutes: u32,
}

const COLUMNS: [&str; 8] = ["ts_code", "trade_time", "open", "high", "low", "close", "vol", "amount"];

impl Interface for StkMins {
    type Row = FetchedBar;
    const NAME: &'static str = "stk_mins";
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = 8_000;

    fn params(&self) -> Map<String, Value> {
        interface::params(json!({
            "ts_code": self.code.as_str(),
            "freq": format!("{}min", self.minutes),
            "start_date": format!("{} 00:00:00", self.range.start),
            "end_date": format!("{} 23:59:59", self.range.end),
        }))
    }

    fn parse(&self, body: &str) -> Result<Page<FetchedBar>, AnswerError> {
        let Table { rows, has_more } = table::parse(body, &COLUMNS)?;
        let bars = rows.iter().enumerate().map(|(number, row)| {
            let [ts_code, trade_time, open, high, low, close, vol, amount] = *row;
            if !cells::names(ts_code, self.code) {
                let reason = format!("row {number} is of {}, but {} was requested", excerpt(ts_code), self.code);
                return Err(unreadable("`items`", &reason, body));
            }
            Ok(FetchedBar {
                timestamp: cells::time(trade_time),
                open: cells::number(open),
                high: cells::number(high),
                low: cells::number(low),
                close: cells::number(close),
                volume: units::smaller(cells::number(vol), units::SHARES),
                amount: units::smaller(cells::number(amount), units::YUAN),
            })
        });
        Ok(Page { rows: bars.collect::<Result<_, _>>()?, has_more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::Field;

    #[test]
    fn minutes_are_read_by_column_names_in_ginkgos_units() {
        let call = StkMins {
            code: "600000.SH".parse().unwrap(),
            range: DateRange { start: "2023-08-25".parse().unwrap(), end: "2023-08-25".parse().unwrap() },
            minutes: 1,
        };
        // The documentation's own sample: close comes before open.
        let body = r#"{"code":0,"data":{"fields":["ts_code","trade_time","close","open","high","low","vol","amount"],
            "items":[["600000.SH","2023-08-25 09:31:00",7.05,7.06,7.07,7.04,236600.0,1668500.75],
                     ["600000.SH","soon",7.06,7.06,7.06,7.06,42560,null]]}}"#;
        let rows = call.parse(body).unwrap().rows;
        let value = |text: &str| Field::Value(text.parse().unwrap());
        assert_eq!(rows[0].timestamp, Field::Value("2023-08-25T09:31:00".parse().unwrap()));
        assert_eq!((&rows[0].open, &rows[0].close), (&value("7.06"), &value("7.05")));
        assert_eq!((&rows[0].volume, &rows[0].amount), (&value("2366.000"), &value("1668.50075")));
        assert_eq!(rows[1].timestamp, Field::unreadable("soon"));
        assert_eq!(rows[1].amount, Field::Missing);
        assert_eq!(call.params()["end_date"], "2023-08-25 23:59:59");
        assert_eq!(call.params()["freq"], "1min");
    }

    #[test]
    fn mutated_answers_give_rows_or_error() {
        let call = StkMins {
            code: "600000.SH".parse().unwrap(),
            range: DateRange { start: "2023-08-25".parse().unwrap(), end: "2023-08-25".parse().unwrap() },
            minutes: 1,
        };
        let body = r#"{"code":0,"msg":"","data":{"fields":["ts_code","trade_time","close","open","high","low","vol","amount"],
            "items":[["600000.SH","2023-08-25 09:31:00",7.05,7.06,7.07,7.04,236600.0,1668500.75]],"has_more":false}}"#;
        kit::fuzz::mutate_text(&[body], |text| call.parse(text));
    }
}
