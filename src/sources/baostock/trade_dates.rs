// Upstream: source
// Downstream: actors, answer, frame, kit, query, sources::shared
// Role: BaoStock's calendar. Pure.

//! The calendar lists every day with a flag that says whether the exchanges are open.

use actors::domain::{DateRange, FetchedTradeDay};
use chrono::{Datelike, NaiveDate};

use super::answer::{self, AnswerError, Layout};
use super::frame::Message;
use super::query::{Page, Query};
use crate::sources::shared::cells;

/// A query for the calendar up to the end of a year.
pub struct TradeDates {
    end: NaiveDate,
}

impl TradeDates {
    /// Requests the calendar up to the end of the year of `today`. The exchanges publish a year's holidays before it
    /// begins.
    pub fn up_to_year_of(today: NaiveDate) -> Self {
        Self { end: NaiveDate::from_ymd_opt(today.year(), 12, 31).unwrap_or(today) }
    }
}

impl Query for TradeDates {
    type Row = FetchedTradeDay;
    const METHOD: &'static str = "query_trade_dates";
    const KIND: &'static str = "33";
    const PAGED: bool = true;

    fn params(&self) -> Vec<String> {
        vec![DateRange::FIRST_TRADING_DAY.to_string(), self.end.to_string()]
    }

    fn parse(&self, message: &Message, page: usize) -> Result<Page<FetchedTradeDay>, AnswerError> {
        let columns = ["calendar_date", "is_trading_day"];
        let records = answer::table(message, Self::METHOD, page, Layout::paged(9), &columns)?;
        let rows = records
            .iter()
            .map(|[date, is_open]| FetchedTradeDay { date: cells::day(date), is_open: cells::number(is_open) });
        Ok(Page { rows: rows.collect(), num_records: records.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::Field;
    use rust_decimal::Decimal;

    #[test]
    fn requests_days_up_to_the_end_of_the_year() {
        let query = TradeDates::up_to_year_of("2024-03-05".parse().unwrap());
        assert_eq!(query.params(), ["1990-12-19", "2024-12-31"]);
        let json = r#"{"record":[["2024-01-01","0"],["2024-01-02","1"]]}"#;
        let columns = "calendar_date, is_trading_day";
        let fields = ["0", "success", TradeDates::METHOD, "anonymous", "1", "2000", json, "", "", columns];
        let rows = query.parse(&Message { kind: "34".to_owned(), body: fields.join("\u{1}") }, 1).unwrap().rows;
        assert_eq!(rows[0].is_open, Field::Value(Decimal::ZERO));
        assert!(matches!(&rows[1].date, Field::Value(day) if day.to_string() == "2024-01-02 00:00:00"));
    }

    #[test]
    fn mutated_answers_give_rows_or_error() {
        let json = r#"{"record":[["2024-01-01","0"]]}"#;
        let columns = "calendar_date,is_trading_day";
        let fields = ["0", "success", TradeDates::METHOD, "anonymous", "1", "2000", json, "", "", columns];
        let query = TradeDates::up_to_year_of("2024-03-05".parse().unwrap());
        kit::fuzz::mutate_text(&[fields.join("\u{1}")], |text| {
            query.parse(&Message { kind: "34".to_owned(), body: text.to_owned() }, 1)
        });
    }
}
