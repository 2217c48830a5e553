// Upstream: source
// Downstream: actors, interface, kit, sources::shared, table
// Role: Tushare's interface `adj_factor`: adjustment factors of one security. Pure.

//! One row per trading day, newest first (Tushare documentation).

use actors::domain::{Code, DateRange, FetchedFactor};
use serde_json::{Map, Value};

use super::interface::{self, Interface};
use super::table::{self, AnswerError, Page, Table, unreadable};
use crate::sources::shared::cells;
use crate::sources::shared::excerpt::excerpt;

/// Factors of one security in a range of days.
pub struct AdjFactor {
    /// The security.
    pub code: Code,
    /// The range; both ends are included.
    pub range: DateRange,
}

const COLUMNS: [&str; 3] = ["ts_code", "trade_date", "adj_factor"];

impl Interface for AdjFactor {
    type Row = FetchedFactor;
    const NAME: &'static str = "adj_factor";
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = 6_000;

    fn params(&self) -> Map<String, Value> {
        interface::code_and_days(self.code, self.range)
    }

    fn parse(&self, body: &str) -> Result<Page<FetchedFactor>, AnswerError> {
        let Table { rows, has_more } = table::parse(body, &COLUMNS)?;
        let factors = rows.iter().enumerate().map(|(number, row)| {
            let [ts_code, trade_date, adj_factor] = *row;
            if !cells::names(ts_code, self.code) {
                let reason = format!("row {number} is of {}, but {} was requested", excerpt(ts_code), self.code);
                return Err(unreadable("`items`", &reason, body));
            }
            Ok(FetchedFactor { timestamp: cells::day(trade_date), factor: cells::number(adj_factor) })
        });
        Ok(Page { rows: factors.collect::<Result<_, _>>()?, has_more })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::Field;

    #[test]
    fn reads_exact_factors_and_rejects_other_securities() {
        let call = AdjFactor {
            code: "000001.SZ".parse().unwrap(),
            range: DateRange { start: "2018-07-17".parse().unwrap(), end: "2018-07-18".parse().unwrap() },
        };
        let body = r#"{"code":0,"data":{"fields":["ts_code","trade_date","adj_factor"],
            "items":[["000001.SZ","20180718",108.031],["000001.SZ","20180717",null]]}}"#;
        let rows = call.parse(body).unwrap().rows;
        assert_eq!(rows[0].factor, Field::Value("108.031".parse().unwrap()));
        assert_eq!(rows[1].factor, Field::Missing);
        let error = call.parse(&body.replace(r#""000001.SZ","20180717""#, r#""600000.SH","20180717""#)).unwrap_err();
        assert!(error.to_string().contains("row 1 is of"), "{error}");
    }

    #[test]
    fn mutated_answers_give_rows_or_error() {
        let call = AdjFactor {
            code: "000001.SZ".parse().unwrap(),
            range: DateRange { start: "2018-07-17".parse().unwrap(), end: "2018-07-18".parse().unwrap() },
        };
        let body = r#"{"code":0,"msg":"","data":{"fields":["ts_code","trade_date","adj_factor"],
            "items":[["000001.SZ","20180718",108.031]],"has_more":false}}"#;
        kit::fuzz::mutate_text(&[body], |text| call.parse(text));
    }
}
