// Upstream: coverage, found, page, page_data, table
// Downstream: actors
// Role: The share of stored days in rows of boards or codes and columns of months. Pure.

use std::collections::BTreeMap;

use actors::domain::coverage::{CoverageSearch, MonthDays};
use actors::domain::month::Month;
use actors::domain::price_limit::MarketBoard;
use actors::domain::security_kind::SecurityKind;
use actors::domain::{Code, MarketFacts};
use serde_json::{Value, json};

/// What a row of the picture stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RowKind {
    /// A board of an exchange.
    Board,
    /// A security.
    Code,
}

/// The days of some securities in a month: securities times days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cell {
    /// Trading days on which the securities were listed.
    pub expected: u64,
    /// Expected days that are stored whole.
    pub stored: u64,
    /// Days of which it is unknown whether they are trading days, or whether the security was listed.
    pub unknown: u64,
}

impl Cell {
    /// Adds the days of a security.
    pub fn add(&mut self, days: MonthDays) {
        let count = |set: u32| u64::from(set.count_ones());
        self.expected += count(days.expected);
        self.stored += count(days.stored());
        self.unknown += count(days.unknown);
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            expected: self.expected + other.expected,
            stored: self.stored + other.stored,
            unknown: self.unknown + other.unknown,
        }
    }

    /// Days that are missing or incomplete.
    pub fn lacking(self) -> u64 {
        self.expected - self.stored
    }

    /// What may be said about the cell.
    pub fn share(self) -> Share {
        match self {
            Self { expected: 0, unknown: 0, .. } => Share::Nothing,
            // Not known to be complete.
            Self { expected, stored, unknown } if unknown > 0 && stored == expected => Share::Unknown,
            Self { expected, stored, .. } => Share::Of { stored, expected },
        }
    }
}

/// The share of the expected days that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// No day is expected.
    Nothing,
    /// What is known is complete, and there are days of which nothing is known.
    Unknown,
    /// So many of so many days.
    Of {
        /// Stored days.
        stored: u64,
        /// Expected days, at least one.
        expected: u64,
    },
}

impl Share {
    /// The share as a percentage that is 100 only if everything is stored.
    pub fn text(self) -> String {
        match self {
            Self::Nothing => "-".to_owned(),
            Self::Unknown => "?".to_owned(),
            Self::Of { stored, expected } if stored == expected => "100%".to_owned(),
            Self::Of { stored, expected } => {
                let tenths = stored * 1_000 / expected.max(1);
                format!("{}.{}%", tenths / 10, tenths % 10)
            }
        }
    }
}

/// A row of the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The board or the code.
    pub name: String,
    /// The number of its securities.
    pub num_codes: usize,
    /// A cell for each month.
    pub cells: Vec<Cell>,
}

impl Row {
    /// All months together.
    pub fn total(&self) -> Cell {
        self.cells.iter().copied().fold(Cell::default(), Cell::plus)
    }
}

/// A security with days that are missing or incomplete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// The code.
    pub code: Code,
    /// The number of its row.
    pub row: usize,
    /// Its days in each month.
    pub months: Vec<MonthDays>,
}

/// The whole picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The first month.
    pub first: Month,
    /// The trading days of each month.
    pub trading_days: Vec<u32>,
    /// The rows, boards in their own order, codes in ascending order.
    pub rows: Vec<Row>,
    /// The securities that lack days, in ascending order.
    pub lacking: Vec<Lacking>,
    /// The number of securities.
    pub num_codes: usize,
    /// The number of securities that are unknown on some trading days, because the stock list does not have them or
    /// does not say since when they are listed.
    pub num_unlisted: usize,
}

impl Picture {
    /// The picture of these securities, in ascending order.
    pub fn of(
        search: &CoverageSearch<'_>,
        facts: &MarketFacts,
        kind: RowKind,
        codes: impl ExactSizeIterator<Item = (Code, Vec<MonthDays>)>,
    ) -> Self {
        let trading_days: Vec<u32> = search.trading_days().collect();
        let (num_codes, mut num_unlisted) = (codes.len(), 0);
        let mut rows: BTreeMap<(usize, String), Row> = BTreeMap::new();
        let mut keys: Vec<((usize, String), Lacking)> = Vec::new();
        for (code, months) in codes {
            let key = match kind {
                RowKind::Board => board(code),
                RowKind::Code => (0, code.to_string()),
            };
            let row = rows.entry(key.clone()).or_insert_with(|| Row {
                name: key.1.clone(),
                num_codes: 0,
                cells: vec![Cell::default(); trading_days.len()],
            });
            row.num_codes += 1;
            row.cells.iter_mut().zip(&months).for_each(|(cell, days)| cell.add(*days));
            let is_listed = facts.listing(code).is_some_and(|listing| listing.listed.is_some());
            let is_unsure = months.iter().zip(&trading_days).any(|(days, trading)| days.unknown & trading != 0);
            num_unlisted += usize::from(!is_listed && is_unsure);
            if months.iter().any(|days| days.missing | days.partial != 0) {
                keys.push((key, Lacking { code, row: 0, months }));
            }
        }
        let places: BTreeMap<(usize, String), usize> = rows.keys().cloned().zip(0..).collect();
        let placed = |(key, lacking): ((usize, String), Lacking)| Some(Lacking { row: *places.get(&key)?, ..lacking });
        let lacking = keys.into_iter().filter_map(placed).collect();
        Self {
            first: search.first(),
            trading_days,
            rows: rows.into_values().collect(),
            lacking,
            num_codes,
            num_unlisted,
        }
    }

    /// Everything together.
    pub fn total(&self) -> Cell {
        self.rows.iter().map(Row::total).fold(Cell::default(), Cell::plus)
    }

    /// One JSON object per row and line.
    pub fn lines(&self) -> String {
        self.rows.iter().map(|row| format!("{}\n", self.line(row))).collect()
    }

    fn line(&self, row: &Row) -> Value {
        let month = |(n, cell): (usize, &Cell)| {
            let share = match cell.share() {
                Share::Of { stored, expected } => Some(stored as f64 / expected as f64),
                Share::Nothing | Share::Unknown => None,
            };
            let Cell { expected, stored, unknown } = cell;
            json!({"month": self.first.plus(n).to_string(), "expected": expected, "stored": stored, "unknown": unknown, "share": share})
        };
        let months: Vec<Value> = row.cells.iter().enumerate().map(month).collect();
        json!({"row": row.name, "codes": row.num_codes, "months": months})
    }
}

/// The board of a security, or what else it is, with its place among the rows.
fn board(code: Code) -> (usize, String) {
    let (place, name) = match (SecurityKind::of(code), code.exchange()) {
        (SecurityKind::Share(MarketBoard::Main), "SH") => (0, "SH main"),
        (SecurityKind::Share(MarketBoard::Star), _) => (1, "STAR"),
        (SecurityKind::Share(MarketBoard::Main), _) => (2, "SZ main"),
        (SecurityKind::Share(MarketBoard::ChiNext), _) => (3, "ChiNext"),
        (SecurityKind::Share(MarketBoard::Beijing), _) => (4, "Beijing"),
        (SecurityKind::BShare, _) => (5, "B-shares"),
        (SecurityKind::Index, _) => (6, "Indexes"),
        (SecurityKind::Fund, _) => (7, "Funds"),
        (SecurityKind::Bond, _) => (8, "Bonds"),
        (SecurityKind::Other, _) => (9, "Others"),
    };
    (place, name.to_owned())
}

#[cfg(test)]
pub mod tests {
    use super::*;

    fn month(expected: u32, missing: u32, partial: u32, unknown: u32) -> MonthDays {
        MonthDays { expected, unknown, missing, partial }
    }

    /// A picture of these securities in months from January 2020 on.
    pub fn picture(kind: RowKind, codes: Vec<(&str, Vec<MonthDays>)>) -> Picture {
        let facts = MarketFacts::built_in("2024-06-03".parse().unwrap());
        let num_months = codes.first().map_or(0, |(_, months)| months.len());
        let start = "2020-01-01".parse().unwrap();
        let end = Month::of(start).plus(num_months.max(1) - 1).days(1).next().unwrap();
        let range = actors::domain::DateRange { start, end: end + chrono::Days::new(27) };
        let search = CoverageSearch::new(&facts, range, actors::domain::Frequency::Day);
        let codes: Vec<(Code, Vec<MonthDays>)> =
            codes.into_iter().map(|(code, months)| (code.parse().unwrap(), months)).collect();
        Picture::of(&search, &facts, kind, codes.into_iter())
    }

    #[test]
    fn boards_have_an_order_and_add_up() {
        let codes = vec![
            ("000001.SZ", vec![month(0b1111, 0b0001, 0b0010, 0)]),
            ("000002.SZ", vec![month(0b1111, 0, 0, 0)]),
            ("430047.BJ", vec![month(0, 0, 0, 0)]),
            ("600000.SH", vec![month(0b1111, 0, 0, 0b1_0000)]),
        ];
        let picture = picture(RowKind::Board, codes);
        let rows: Vec<(&str, usize, String)> =
            picture.rows.iter().map(|row| (row.name.as_str(), row.num_codes, row.cells[0].share().text())).collect();
        let expected = [("SH main", 1, "?"), ("SZ main", 2, "75.0%"), ("Beijing", 1, "-")];
        assert_eq!(rows, expected.map(|(name, codes, share)| (name, codes, share.to_owned())));
        assert_eq!(picture.lacking.iter().map(|of| (of.code.as_str(), of.row)).collect::<Vec<_>>(), [("000001.SZ", 1)]);
        assert_eq!(picture.total(), Cell { expected: 12, stored: 10, unknown: 1 });
        let line: Value = serde_json::from_str(picture.lines().lines().next().unwrap()).unwrap();
        let month = json!({"month": "2020-01", "expected": 4, "stored": 4, "unknown": 1, "share": null});
        assert_eq!(line, json!({"row": "SH main", "codes": 1, "months": [month]}));
    }

    #[test]
    fn a_share_is_100_only_if_nothing_lacks() {
        let share = |stored, expected, unknown| Cell { expected, stored, unknown }.share().text();
        assert_eq!(share(999_999, 1_000_000, 0), "99.9%");
        assert_eq!(share(5, 5, 0), "100%");
        assert_eq!(share(5, 5, 1), "?", "not known to be complete");
        assert_eq!(share(4, 5, 1), "80.0%", "known to be incomplete");
        assert_eq!((share(0, 0, 1), share(0, 0, 0), share(0, 7, 0)), ("?".into(), "-".into(), "0.0%".into()));
    }
}
