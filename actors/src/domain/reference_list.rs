// Upstream: many
// Downstream: bar, code, stock_info, task, trade_day
// Role: Lists that are fetched as a whole (securities, trading calendar), as fetched and as checked.

use std::collections::HashSet;

use chrono::{NaiveDate, NaiveDateTime};

use crate::domain::stock_info::{self, StockAnomaly};
use crate::domain::{
    Anomaly, Code, FetchedStock, FetchedTradeDay, Rule, SourceId, Stock, Subject, TaskCounts, TradeDay, trade_day,
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

/// Securities that are not traded any more, as fetched from a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchedFormer {
    /// Securities whose listing is paused.
    pub paused: Vec<FetchedStock>,
    /// Delisted securities, with their delisting days.
    pub delisted: Vec<FetchedStock>,
}

/// A list as fetched from a source.
#[derive(Debug)]
pub enum FetchedList {
    /// Listed securities, and others where the source was asked for them.
    Stocks(Vec<FetchedStock>, FetchedFormer),
    /// Days.
    TradeDays(Vec<FetchedTradeDay>),
}

impl FetchedList {
    /// The number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Stocks(rows, _) => rows.len(),
            Self::TradeDays(rows) => rows.len(),
        }
    }

    /// Whether the list has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Securities that are not traded any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FormerStocks {
    /// Securities whose listing is paused.
    pub paused: Vec<Code>,
    /// Delisted securities with their delisting days.
    pub delisted: Vec<(Code, NaiveDate)>,
}

/// A checked stock list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockList {
    /// The valid rows of listed securities.
    pub stocks: Vec<Stock>,
    /// The codes of invalid rows.
    pub invalid: Vec<Code>,
    /// Whether a row has no readable code.
    pub has_unreadable_codes: bool,
    /// The securities that the source names as not traded any more; empty if it was not asked for them.
    pub former: FormerStocks,
    /// The source of the list.
    pub source: SourceId,
    /// The Shanghai day on which the list was fetched.
    pub day: NaiveDate,
}

impl StockList {
    /// A list without rows.
    pub fn empty(source: SourceId, day: NaiveDate) -> Self {
        let (stocks, invalid) = (Vec::new(), Vec::new());
        Self { stocks, invalid, has_unreadable_codes: false, former: FormerStocks::default(), source, day }
    }

    /// The securities that the list names as listed or paused, also those whose row is invalid.
    pub fn named(&self) -> impl Iterator<Item = Code> {
        let valid = self.stocks.iter().map(|stock| stock.code);
        valid.chain(self.invalid.iter().copied()).chain(self.former.paused.iter().copied())
    }
}

/// A list of valid rows with unique keys.
#[derive(Debug, PartialEq, Eq)]
pub enum ValidList {
    /// Securities.
    Stocks(StockList),
    /// Days.
    TradeDays(Vec<TradeDay>),
}

impl ValidList {
    /// Whether the list has no rows, because none was valid.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Stocks(list) => list.stocks.is_empty(),
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

/// Checks every row. If two rows have the same key, the first one is kept. `today` is the Shanghai day.
pub fn check(fetched: &FetchedList, source: SourceId, today: NaiveDate, max_examples: usize) -> CheckedList {
    let mut skipped = Skipped { counts: TaskCounts::default(), anomalies: Vec::new(), max_examples };
    skipped.counts.fetched = fetched.len() as u64;
    let list = match fetched {
        FetchedList::Stocks(rows, former) => {
            let mut list = StockList { former: former_of(former), ..StockList::empty(source, today) };
            add_stocks(rows, &mut list, &mut skipped);
            ValidList::Stocks(list)
        }
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

fn add_stocks(rows: &[FetchedStock], list: &mut StockList, skipped: &mut Skipped) {
    let mut seen = HashSet::with_capacity(rows.len());
    list.stocks.reserve(rows.len());
    for row in rows {
        match stock_info::check(row, list.source) {
            Ok(stock) if seen.insert(stock.code) => list.stocks.push(stock),
            Ok(stock) => skipped.add(Rule::DuplicateKey, stock.code.as_str(), None),
            Err(StockAnomaly::NoCode(text)) => {
                list.has_unreadable_codes = true;
                skipped.add(Rule::UnreadableValue, &text, None);
            }
            Err(StockAnomaly::Of(anomaly)) => {
                list.invalid.push(anomaly.code);
                skipped.add(anomaly.rule, anomaly.field, Some(anomaly));
            }
        }
    }
}

/// The readable codes and days. Vendors keep codes of other forms for securities of long ago; they are no faults.
fn former_of(fetched: &FetchedFormer) -> FormerStocks {
    let code = |stock: &FetchedStock| stock.code.value().and_then(|text| text.parse::<Code>().ok());
    let day = |stock: &FetchedStock| stock.delist_date.value().map(NaiveDateTime::date);
    FormerStocks {
        paused: fetched.paused.iter().filter_map(code).collect(),
        delisted: fetched.delisted.iter().filter_map(|stock| code(stock).zip(day(stock))).collect(),
    }
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
    use chrono::NaiveTime;
    use rust_decimal::Decimal;

    #[test]
    fn counts_invalid_and_duplicate_rows() {
        let today = NaiveDate::from_ymd_opt(2000, 1, 4).unwrap();
        let day = Field::Value(today.and_time(NaiveTime::MIN));
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
        let checked = check(&FetchedList::Stocks(rows, FetchedFormer::default()), SourceId::TUSHARE, today, 10);
        let ValidList::Stocks(list) = checked.list else { panic!("a stock list") };
        assert_eq!(list.invalid.iter().map(Code::as_str).collect::<Vec<_>>(), ["000002.SZ"]);
        assert!(list.has_unreadable_codes);
        assert_eq!(
            list.stocks.iter().map(|stock| stock.code.to_string()).collect::<Vec<_>>(),
            ["000001.SZ", "000003.SZ"]
        );
        let expected = [(Rule::MissingValue, 1), (Rule::UnreadableValue, 1), (Rule::DuplicateKey, 1)];
        assert_eq!(checked.counts.skipped, expected.into_iter().collect());
        assert_eq!((checked.counts.fetched, checked.anomalies.len()), (5, 1));
        let days = vec![
            FetchedTradeDay { date: day.clone(), is_open: Field::Value(Decimal::ONE) },
            FetchedTradeDay { date: day, is_open: Field::Value(Decimal::ZERO) },
            FetchedTradeDay { date: Field::Missing, is_open: Field::Value(Decimal::ONE) },
        ];
        let checked = check(&FetchedList::TradeDays(days), SourceId::TUSHARE, today, 10);
        assert!(matches!(checked.list, ValidList::TradeDays(days) if days.len() == 1 && days[0].is_open));
        assert_eq!(checked.counts.num_skipped(), 2);
    }
}
