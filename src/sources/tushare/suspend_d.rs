// Upstream: source
// Downstream: actors, interface, kit, sources::shared, table
// Role: Tushare's interface `suspend_d`: who was suspended when. Pure.

//! One row for each day and security that was suspended or resumed on it: `suspend_type` is `S` or `R`, `suspend_timing` the
//! part of the day (`09:30-10:00`), empty where it was the whole one (Tushare documentation).

use actors::domain::{Code, DateRange, Field};
use chrono::NaiveDate;
use serde_json::{Map, Value, json};

use super::interface::{self, Interface};
use super::table::{self, AnswerError, Page, Table};
use crate::sources::shared::cells;

/// Suspensions of one security, or of all, in a range of days.
pub struct SuspendD {
    /// The security; `None`: all.
    pub code: Option<Code>,
    /// Both ends included.
    pub range: DateRange,
}

const COLUMNS: [&str; 4] = ["ts_code", "trade_date", "suspend_timing", "suspend_type"];

/// What `suspend_type` says of a suspension.
const SUSPENDED: &str = "S";

/// A row: who was suspended, and on which day it was the whole day. `None` for the others, which count for the paging.
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
            Some(code) => interface::code_and_days(code, self.range),
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
    fn a_suspension_is_of_the_whole_day_and_no_resumption() {
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
        assert_eq!(call(None).parse(BODY).unwrap().rows.len(), 6, "pages are counted by rows");
    }

    #[test]
    fn one_security_is_asked_for_by_its_code_and_all_without_one() {
        assert_eq!(call(Some("000001.SZ")).params()["ts_code"], "000001.SZ");
        assert_eq!(Value::Object(call(None).params()), json!({"start_date": "20240102", "end_date": "20240104"}));
    }

    #[test]
    fn bent_answers_are_refused_or_read_and_never_a_panic() {
        kit::fuzz::bend_text(&[BODY.as_bytes()], |text| call(None).parse(text));
    }
}
