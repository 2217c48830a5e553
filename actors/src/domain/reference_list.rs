// Upstream: batch_writer, batch_writer::lists, command_router, fetcher, validator
// Downstream: bar, stock_info, task, trade_day
// Role: Lists that are fetched as a whole (securities, trading calendar), as fetched and as checked.

use std::collections::HashSet;

use crate::domain::stock_info::{self, StockAnomaly};
use crate::domain::{
    Anomaly, FetchedStock, FetchedTradeDay, Rule, SourceId, Stock, Subject, TaskCounts, TradeDay, trade_day,
};

/// The kind of list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// Securities.
    Stocks,
    /// Days of the trading calendar.
    TradeDays,
}

impl ListKind {
    /// The subject of a task for this list.
    pub fn subject(self) -> Subject {
        match self {
            Self::Stocks => Subject::StockList,
            Self::TradeDays => Subject::Calendar,
        }
    }
}

/// A list as fetched from a source.
#[derive(Debug)]
pub enum FetchedList {
    /// Securities.
    Stocks(Vec<FetchedStock>),
    /// Days.
    TradeDays(Vec<FetchedTradeDay>),
}

impl FetchedList {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Stocks(rows) => rows.len(),
            Self::TradeDays(rows) => rows.len(),
        }
    }

    /// Whether the list has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A list of valid rows with unique keys.
#[derive(Debug, PartialEq, Eq)]
pub enum ValidList {
    /// Securities.
    Stocks(Vec<Stock>),
    /// Days.
    TradeDays(Vec<TradeDay>),
}

impl ValidList {
    /// Whether the list has no rows, because none was valid.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Stocks(rows) => rows.is_empty(),
            Self::TradeDays(rows) => rows.is_empty(),
        }
    }
}

/// The result of checking a list.
pub struct CheckedList {
    /// The valid rows.
    pub list: ValidList,
    /// Row counts by outcome.
    pub counts: TaskCounts,
    /// Examples of invalid rows that have a code.
    pub anomalies: Vec<Anomaly>,
}

/// Checks every row. If two rows have the same key, the first one is kept.
pub fn check(fetched: &FetchedList, source: SourceId, max_examples: usize) -> CheckedList {
    let mut skipped = Skipped { counts: TaskCounts::default(), anomalies: Vec::new(), max_examples };
    skipped.counts.fetched = fetched.len() as u64;
    let list = match fetched {
        FetchedList::Stocks(rows) => ValidList::Stocks(stocks(rows, source, &mut skipped)),
        FetchedList::TradeDays(rows) => ValidList::TradeDays(trade_days(rows, source, &mut skipped)),
    };
    CheckedList { list, counts: skipped.counts, anomalies: skipped.anomalies }
}

struct Skipped {
    counts: TaskCounts,
    anomalies: Vec<Anomaly>,
    max_examples: usize,
}

impl Skipped {
    fn add(&mut self, rule: Rule, what: &str, anomaly: Option<Anomaly>) {
        *self.counts.skipped.entry(rule).or_default() += 1;
        tracing::debug!(what, rule = rule.as_str(), "skipped an invalid row of a list");
        if self.anomalies.len() < self.max_examples {
            self.anomalies.extend(anomaly);
        }
    }
}

fn stocks(rows: &[FetchedStock], source: SourceId, skipped: &mut Skipped) -> Vec<Stock> {
    let (mut sound, mut seen) = (Vec::with_capacity(rows.len()), HashSet::with_capacity(rows.len()));
    for row in rows {
        match stock_info::check(row, source) {
            Ok(stock) if seen.insert(stock.code) => sound.push(stock),
            Ok(stock) => skipped.add(Rule::DuplicateKey, stock.code.as_str(), None),
            Err(StockAnomaly::NoCode(text)) => skipped.add(Rule::UnreadableValue, &text, None),
            Err(StockAnomaly::Of(anomaly)) => skipped.add(anomaly.rule, anomaly.field, Some(anomaly)),
        }
    }
    sound
}

fn trade_days(rows: &[FetchedTradeDay], source: SourceId, skipped: &mut Skipped) -> Vec<TradeDay> {
    let (mut sound, mut seen) = (Vec::with_capacity(rows.len()), HashSet::with_capacity(rows.len()));
    for row in rows {
        match trade_day::check(row, source) {
            Ok(day) if seen.insert(day.date) => sound.push(day),
            Ok(day) => skipped.add(Rule::DuplicateKey, &day.date.to_string(), None),
            Err(text) => skipped.add(Rule::UnreadableValue, &text, None),
        }
    }
    sound
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Field;
    use chrono::{NaiveDate, NaiveTime};
    use rust_decimal::Decimal;

    #[test]
    fn counts_invalid_and_duplicate_rows() {
        let day = Field::Value(NaiveDate::from_ymd_opt(2000, 1, 4).unwrap().and_time(NaiveTime::MIN));
        let row = |code: &str, name: Field<String>| FetchedStock {
            code: Field::Value(code.to_owned()),
            name,
            industry: Field::Missing,
            list_date: day.clone(),
            delist_date: Field::Missing,
        };
        let name = || Field::Value("name".to_owned());
        let rows = vec![
            row("000001.SZ", name()),
            row("SZ000001", name()),
            row("none", name()),
            row("000002.SZ", Field::Missing),
            row("000003.SZ", name()),
        ];
        let checked = check(&FetchedList::Stocks(rows), SourceId::TUSHARE, 10);
        let ValidList::Stocks(stocks) = checked.list else { panic!("a stock list") };
        assert_eq!(stocks.iter().map(|stock| stock.code.to_string()).collect::<Vec<_>>(), ["000001.SZ", "000003.SZ"]);
        let expected = [(Rule::MissingValue, 1), (Rule::UnreadableValue, 1), (Rule::DuplicateKey, 1)];
        assert_eq!(checked.counts.skipped, expected.into_iter().collect());
        assert_eq!((checked.counts.fetched, checked.anomalies.len()), (5, 1));
        let days = vec![
            FetchedTradeDay { date: day.clone(), is_open: Field::Value(Decimal::ONE) },
            FetchedTradeDay { date: day, is_open: Field::Value(Decimal::ZERO) },
            FetchedTradeDay { date: Field::Missing, is_open: Field::Value(Decimal::ONE) },
        ];
        let checked = check(&FetchedList::TradeDays(days), SourceId::TUSHARE, 10);
        assert!(matches!(checked.list, ValidList::TradeDays(days) if days.len() == 1 && days[0].is_open));
        assert_eq!(checked.counts.num_skipped(), 2);
    }
}
