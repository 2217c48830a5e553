// Upstream: source
// Downstream: actors, interface, kit, sources::shared, table
// Role: Tushare's interface `adj_factor`: factors of some securities, or of all securities on one day. Pure.

//! One row per trading day, newest first (Tushare documentation).

use actors::domain::{Code, DateRange, FetchedFactor, Field};
use chrono::NaiveDate;
use serde_json::{Map, Value, json};

use super::interface::{self, Interface};
use super::table::{self, AnswerError, Page, Table};
use crate::sources::shared::cells;

/// Factors of some securities in a range of days.
pub struct AdjFactor<'a> {
    /// The securities.
    pub codes: &'a [Code],
    /// The range; both ends are included.
    pub range: DateRange,
}

/// Factors of all securities on one day.
pub struct AdjFactorOfAll {
    /// The day.
    pub day: NaiveDate,
}

const COLUMNS: [&str; 3] = ["ts_code", "trade_date", "adj_factor"];

impl Interface for AdjFactor<'_> {
    type Row = (Code, FetchedFactor);
    const NAME: &'static str = "adj_factor";
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = 6_000;

    fn params(&self) -> Map<String, Value> {
        interface::codes_and_days(self.codes, self.range)
    }

    fn parse(&self, body: &str) -> Result<Page<Self::Row>, AnswerError> {
        interface::rows_of(body, &COLUMNS, self.codes, factor)
    }
}

impl Interface for AdjFactorOfAll {
    type Row = (Code, FetchedFactor);
    const NAME: &'static str = AdjFactor::NAME;
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = AdjFactor::PAGE_ROWS;

    fn params(&self) -> Map<String, Value> {
        interface::params(json!({"trade_date": self.day.format("%Y%m%d").to_string()}))
    }

    /// Rows whose code is not an A-share's are skipped, because no request can name them.
    fn parse(&self, body: &str) -> Result<Page<Self::Row>, AnswerError> {
        let Table { rows, has_more } = table::parse(body, &COLUMNS)?;
        let factors = rows.iter().filter_map(|row| {
            let Field::Value(code) = cells::text(row[0]) else { return None };
            Some((code.parse().ok()?, factor(row)))
        });
        Ok(Page { rows: factors.collect(), has_more })
    }
}

fn factor([_, trade_date, adj_factor]: &[&str; COLUMNS.len()]) -> FetchedFactor {
    FetchedFactor { timestamp: cells::day(trade_date), factor: cells::number(adj_factor) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_the_factors_of_every_a_share() {
        let call = AdjFactorOfAll { day: "2018-07-18".parse().unwrap() };
        assert_eq!(call.params()["trade_date"], "20180718");
        assert!(call.params().get("ts_code").is_none());
        let body = r#"{"code":0,"data":{"fields":["ts_code","trade_date","adj_factor"],
            "items":[["000001.SZ","20180718",108.031],["900901.SH","20180718",1.0],["no code","20180718",1],
            ["920047.BJ","20180718",null]]}}"#;
        let rows = call.parse(body).unwrap().rows;
        let codes: Vec<String> = rows.iter().map(|(code, _)| code.to_string()).collect();
        assert_eq!(codes, ["000001.SZ", "900901.SH", "920047.BJ"]);
        assert_eq!(
            (&rows[0].1.factor, &rows[2].1.factor),
            (&Field::Value("108.031".parse().unwrap()), &Field::Missing)
        );
    }

    #[test]
    fn reads_exact_factors_and_rejects_other_securities() {
        let call = AdjFactor {
            codes: &["000001.SZ".parse().unwrap()],
            range: DateRange { start: "2018-07-17".parse().unwrap(), end: "2018-07-18".parse().unwrap() },
        };
        let body = r#"{"code":0,"data":{"fields":["ts_code","trade_date","adj_factor"],
            "items":[["000001.SZ","20180718",108.031],["000001.SZ","20180717",null]]}}"#;
        let rows = call.parse(body).unwrap().rows;
        assert_eq!(rows[0].1.factor, Field::Value("108.031".parse().unwrap()));
        assert_eq!(rows[1].1.factor, Field::Missing);
        let error = call.parse(&body.replace(r#""000001.SZ","20180717""#, r#""600000.SH","20180717""#)).unwrap_err();
        assert!(error.to_string().contains("row 1 is of"), "{error}");
    }

    #[test]
    fn mutated_answers_give_rows_or_error() {
        let call = AdjFactor {
            codes: &["000001.SZ".parse().unwrap()],
            range: DateRange { start: "2018-07-17".parse().unwrap(), end: "2018-07-18".parse().unwrap() },
        };
        let body = r#"{"code":0,"msg":"","data":{"fields":["ts_code","trade_date","adj_factor"],
            "items":[["000001.SZ","20180718",108.031]],"has_more":false}}"#;
        kit::fuzz::mutate_text(&[body], |text| call.parse(text));
    }
}
