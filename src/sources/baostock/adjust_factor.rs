// Upstream: source
// Downstream: many
// Role: BaoStock's adjustment factors: parses the events and assigns each day its factor. Pure.

//! BaoStock has one row per ex-right event. Its factor applies from that day on; before the first event the factor is
//! 1. Ginkgo's series has one row per trading day, so the security's days are requested too. The raw factor is
//! `backAdjustFactor`, which grows from 1 as other sources' factors do.

use std::collections::BTreeMap;

use actors::domain::{Code, DateRange, FetchedFactor, Field};
use actors::ports::SourceErrorKind;
use chrono::NaiveDateTime;
use rust_decimal::Decimal;

use super::answer::{self, AnswerError, Layout, wrong_row};
use super::frame::Message;
use super::k_data;
use super::query::{Page, Query, baostock_code};
use crate::sources::shared::cells;
use crate::sources::shared::excerpt::excerpt;

/// A query for all events of a security up to a day.
pub struct Events {
    code: Code,
    symbol: String,
    range: DateRange,
}

impl Events {
    /// Requests all events since the first trading day of the market, because an old event may still apply.
    pub fn new(code: Code, range: DateRange) -> Result<Self, SourceErrorKind> {
        let range = DateRange { start: DateRange::FIRST_TRADING_DAY, end: range.end };
        Ok(Self { code, symbol: baostock_code(code)?, range })
    }
}

impl Query for Events {
    /// The event's day and the factor from that day on.
    type Row = (NaiveDateTime, Decimal);
    const METHOD: &'static str = "query_adjust_factor";
    const KIND: &'static str = "15";
    const PAGED: bool = true;

    fn params(&self) -> Vec<String> {
        vec![self.symbol.clone(), self.range.start.to_string(), self.range.end.to_string()]
    }

    fn parse(&self, message: &Message, page: usize) -> Result<Page<Self::Row>, AnswerError> {
        let columns = ["code", "dividOperateDate", "backAdjustFactor"];
        let records = answer::table(message, Self::METHOD, page, Layout::paged(10), &columns)?;
        let events = records.iter().enumerate().map(|(number, [code, day, factor])| {
            if !cells::names(code, self.code) {
                return Err(wrong_row(number, &format!("is of {}, but {} was requested", excerpt(code), self.code)));
            }
            // An unreadable event is an error, because it would make every later day wrong.
            match (cells::day(day), cells::number(factor)) {
                (Field::Value(day), Field::Value(factor)) => Ok((day, factor)),
                _ => Err(wrong_row(number, &format!("is an unreadable event: {} {}", excerpt(day), excerpt(factor)))),
            }
        });
        Ok(Page { rows: events.collect::<Result<_, _>>()?, num_records: records.len() })
    }
}

/// A query for the days of a security, including days on which it was suspended.
pub struct Days {
    symbol: String,
    range: DateRange,
}

impl Days {
    /// Requests a range; both ends are included.
    pub fn new(code: Code, range: DateRange) -> Result<Self, SourceErrorKind> {
        Ok(Self { symbol: baostock_code(code)?, range })
    }
}

impl Query for Days {
    type Row = Field<NaiveDateTime>;
    const METHOD: &'static str = "query_history_k_data_plus";
    const KIND: &'static str = "95";
    const PAGED: bool = true;

    fn params(&self) -> Vec<String> {
        k_data::params(&self.symbol, &["date"], self.range, "d".to_owned())
    }

    fn parse(&self, message: &Message, page: usize) -> Result<Page<Self::Row>, AnswerError> {
        let records = answer::table(message, Self::METHOD, page, Layout::paged(8), &["date"])?;
        let rows: Vec<_> = records.iter().map(|[day]| cells::day(day)).collect();
        Ok(Page { num_records: rows.len(), rows })
    }
}

/// Assigns each day the factor of the last event up to it; 1 before the first event.
pub fn in_force(days: Vec<Field<NaiveDateTime>>, events: Vec<(NaiveDateTime, Decimal)>) -> Vec<FetchedFactor> {
    let events: BTreeMap<NaiveDateTime, Decimal> = events.into_iter().collect();
    let factor = |day: &Field<NaiveDateTime>| match day {
        Field::Value(day) => {
            Field::Value(events.range(..=*day).next_back().map_or(Decimal::ONE, |(_, factor)| *factor))
        }
        _ => Field::Missing,
    };
    days.into_iter().map(|day| FetchedFactor { factor: factor(&day), timestamp: day }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> DateRange {
        DateRange { start: "2017-05-01".parse().unwrap(), end: "2017-05-31".parse().unwrap() }
    }

    fn events(records: &str) -> Result<Page<(NaiveDateTime, Decimal)>, AnswerError> {
        let query = Events::new("600000.SH".parse().unwrap(), range()).unwrap();
        assert_eq!(query.params(), ["sh.600000", "1990-12-19", "2017-05-31"]);
        let json = format!(r#"{{"record":[{records}]}}"#);
        let columns = "code,dividOperateDate,foreAdjustFactor,backAdjustFactor,adjustFactor";
        let fields = ["0", "success", Events::METHOD, "anonymous", "1", "2000", &json, "sh.600000", "", "", columns];
        query.parse(&Message { kind: "16".to_owned(), body: fields.join("\u{1}") }, 1)
    }

    #[test]
    fn day_takes_factor_of_last_event_before_it() {
        let records = r#"["sh.600000","2016-06-23","0.751384","7.128788","7.128788"],
            ["sh.600000","2017-05-25","0.989551","9.385732","9.385732"]"#;
        let events = events(records).unwrap().rows;
        let day = |text: &str| Field::Value(format!("{text}T00:00:00").parse().unwrap());
        let days = vec![day("2016-06-22"), day("2016-06-23"), day("2017-05-24"), day("2017-05-25"), Field::Missing];
        let factors: Vec<_> = in_force(days, events).into_iter().map(|row| row.factor).collect();
        let value = |text: &str| Field::Value(text.parse().unwrap());
        let expected = [value("1"), value("7.128788"), value("7.128788"), value("9.385732"), Field::Missing];
        assert_eq!(factors, expected);
    }

    #[test]
    fn rejects_unreadable_events() {
        for record in [
            r#"["sh.600000","soon","1","1","1"]"#,
            r#"["sh.600000","2016-06-23","1","","1"]"#,
            r#"["sz.000001","2016-06-23","1","1","1"]"#,
        ] {
            assert!(events(record).unwrap_err().to_string().starts_with("row 0 is"));
        }
    }

    #[test]
    fn mutated_answers_give_events_and_days_or_error() {
        let code: Code = "600000.SH".parse().unwrap();
        let (events, days) = (Events::new(code, range()).unwrap(), Days::new(code, range()).unwrap());
        let event = r#"{"record":[["sh.600000","2017-05-25","9.385732"]]}"#;
        let columns = "code,dividOperateDate,backAdjustFactor";
        let of_events = ["0", "success", Events::METHOD, "anonymous", "1", "2000", event, "sh.600000", "", "", columns];
        let day = r#"{"record":[["2017-05-25"]]}"#;
        let of_days =
            ["0", "success", Days::METHOD, "anonymous", "1", "2000", day, "sh.600000", "date", "", "", "d", "3"];
        kit::fuzz::mutate(&[of_events.join("\u{1}"), of_days.join("\u{1}")], |bytes| {
            let body = String::from_utf8_lossy(bytes).into_owned();
            let message = |kind: &str| Message { kind: kind.to_owned(), body: body.clone() };
            let errors = [events.parse(&message("16"), 1).err(), days.parse(&message("96"), 1).err()];
            assert!(errors.iter().flatten().all(|error| !error.to_string().is_empty()));
        });
    }
}
