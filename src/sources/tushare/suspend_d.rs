// Upstream: source
// Downstream: actors, interface, kit, sources::shared, table
// Role: Tushare's interface `suspend_d`: suspensions of securities. Pure.

//! One row for each day and security that was suspended or resumed on it. `suspend_type` is `S` or `R`.
//! `suspend_timing` is the part of the day (`09:30-10:00`), or empty for the whole day (Tushare documentation).

use actors::domain::{Code, DateRange, Field};
use chrono::NaiveDate;
use serde_json::{Map, Value, json};

use super::interface::{self, Interface};
use super::table::{self, AnswerError, Page, Table};
use crate::sources::shared::cells;

/// Suspensions of one security, or of all securities, in a range of days.
pub struct SuspendD {
    /// The security; `None` for all securities.
    pub code: Option<Code>,
    /// The range; both ends are included.
    pub range: DateRange,
}

const COLUMNS: [&str; 4] = ["ts_code", "trade_date", "suspend_timing", "suspend_type"];

/// The value of `suspend_type` for a suspension.
const SUSPENDED: &str = "S";

/// A row: the security and the day, if it was suspended for the whole day. Other rows are `None` and only count for the
/// paging.
pub type Suspension = Option<(Code, NaiveDate)>;

impl Interface for SuspendD {
    type Row = Suspension;
    const NAME: &'static str = "suspend_d";
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const PAGE_ROWS: usize = 5_000;
    const IS_OPTIONAL: bool = true;

    fn params(&self) -> Map<String, Value> {
        let (start, end) = (self.range.start.format("%Y%m%d").to_string(), self.range.end.format("%Y%m%d").to_string());
        match self.code {
            Some(code) => interface::codes_and_days(&[code], self.range),
            None => interface::params(json!({"start_date": start, "end_date": end})),
        }
    }

    fn parse(&self, body: &str) -> Result<Page<Suspension>, AnswerError> {
        let Table { rows, has_more } = table::parse(body, &COLUMNS)?;
        Ok(Page { rows: rows.iter().map(suspension).collect(), has_more })
    }
}

fn suspension([ts_code, trade_date, timing, kind]: &[&str; COLUMNS.len()]) -> Suspension {
    let is_whole_day = match cells::text(timing) {
        Field::Missing => true,
        Field::Value(timing) => timing.trim().is_empty(),
        Field::Unreadable(_) => false,
    };
    let (Field::Value(code), Field::Value(time), Field::Value(kind)) =
        (cells::text(ts_code), cells::day(trade_date), cells::text(kind))
    else {
        return None;
    };
    if kind == SUSPENDED && is_whole_day { Some((code.parse().ok()?, time.date())) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"code":0,"data":{"fields":["ts_code","trade_date","suspend_timing","suspend_type"],"items":[
        ["000001.SZ","20240102",null,"S"],["000001.SZ","20240103","","S"],["000001.SZ","20240104",null,"R"],
        ["600000.SH","20240102","09:30-10:00","S"],["T00018.SH","20240102",null,"S"],[null,"20240102",null,"S"]]}}"#;

    fn call(code: Option<&str>) -> SuspendD {
        let range = DateRange { start: "2024-01-02".parse().unwrap(), end: "2024-01-04".parse().unwrap() };
        SuspendD { code: code.map(|code| code.parse().unwrap()), range }
    }

    #[test]
    fn keeps_only_suspensions_of_whole_days() {
        let rows: Vec<(String, String)> = call(None)
            .parse(BODY)
            .unwrap()
            .rows
            .into_iter()
            .flatten()
            .map(|(code, day)| (code.to_string(), day.to_string()))
            .collect();
        let row = |code: &str, day: &str| (code.to_owned(), day.to_owned());
        assert_eq!(rows, [row("000001.SZ", "2024-01-02"), row("000001.SZ", "2024-01-03")]);
        assert_eq!(call(None).parse(BODY).unwrap().rows.len(), 6, "all rows count for the paging");
    }

    #[test]
    fn asks_for_one_code_or_for_all() {
        assert_eq!(call(Some("000001.SZ")).params()["ts_code"], "000001.SZ");
        assert_eq!(Value::Object(call(None).params()), json!({"start_date": "20240102", "end_date": "20240104"}));
    }

    #[test]
    fn mutated_answers_never_panic() {
        kit::fuzz::mutate_text(&[BODY.as_bytes()], |text| call(None).parse(text));
    }
}
