// Upstream: many
// Downstream: actors, errors, mapping, sources::shared
// Role: Converts a database's rows of text cells to bars, ticks, factors, securities and calendar days. Pure.

use std::borrow::Cow;

use actors::domain::{Code, FetchedBar, FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Field, Frequency};
use chrono::NaiveDateTime;
use rust_decimal::Decimal;

use super::errors::DatabaseError;
use crate::sources::databases::mapping::Mapping;
use crate::sources::shared::units;

/// A cell of a row as text; `None` for null.
pub type Cell<'a> = Option<Cow<'a, str>>;

/// Ginkgo's number for the Chinese market.
const CHINA: &str = "1";

/// Takes rows one by one, so that memory holds only what they are converted to.
pub struct Rows<'t> {
    table: String,
    max_rows: u64,
    max_bytes: usize,
    num_rows: u64,
    num_bytes: usize,
    take: &'t mut (dyn FnMut(&[Cell<'_>]) + Send),
}

impl<'t> Rows<'t> {
    /// Takes at most this many rows and bytes of a table.
    pub fn new(table: &str, max_rows: u64, max_bytes: usize, take: &'t mut (dyn FnMut(&[Cell<'_>]) + Send)) -> Self {
        Self { table: table.to_owned(), max_rows, max_bytes, num_rows: 0, num_bytes: 0, take }
    }

    /// Takes a row.
    pub fn push(&mut self, cells: &[Cell<'_>]) -> Result<(), DatabaseError> {
        self.num_rows += 1;
        if self.num_rows > self.max_rows {
            return Err(DatabaseError::TooManyRows { table: self.table.clone(), most: self.max_rows });
        }
        self.num_bytes += cells.iter().flatten().map(|text| text.len()).sum::<usize>();
        if self.num_bytes > self.max_bytes {
            return Err(DatabaseError::TooManyBytes { table: self.table.clone(), most: self.max_bytes });
        }
        (self.take)(cells);
        Ok(())
    }

    /// The number of rows taken.
    pub fn num_rows(&self) -> u64 {
        self.num_rows
    }
}

impl Mapping {
    /// Converts the cells of `columns::BAR` to a bar.
    pub fn bar(&self, cells: &[Cell<'_>], frequency: Frequency) -> FetchedBar {
        FetchedBar {
            timestamp: time(cells, 0, |text| self.times.bar(text, frequency)),
            open: number(cells, 1),
            high: number(cells, 2),
            low: number(cells, 3),
            close: number(cells, 4),
            volume: units::lots(number(cells, 5), self.volume_unit),
            amount: units::thousand_yuan(number(cells, 6), self.amount_unit),
        }
    }

    /// Converts the cells of `columns::DAY_BAR` to a code and a bar; `None` if the code is not an A-share's.
    pub fn day_bar(&self, cells: &[Cell<'_>]) -> Option<(Code, FetchedBar)> {
        Some((cell(cells, 7)?.parse().ok()?, self.bar(cells, Frequency::Day)))
    }

    /// Converts the cells of `columns::TICK` to a trade.
    pub fn tick(&self, cells: &[Cell<'_>]) -> FetchedTick {
        FetchedTick {
            timestamp: time(cells, 0, |text| self.times.time(text)),
            price: number(cells, 1),
            volume: units::lots(number(cells, 2), self.volume_unit),
            direction: number(cells, 3),
        }
    }

    /// Converts the cells of `columns::FACTOR` to an adjustment factor.
    pub fn factor(&self, cells: &[Cell<'_>]) -> FetchedFactor {
        FetchedFactor { timestamp: time(cells, 0, |text| self.times.day(text)), factor: number(cells, 1) }
    }

    /// Converts the cells of `columns::STOCK` to a security; `None` if the row is deleted or of another market.
    pub fn stock(&self, cells: &[Cell<'_>]) -> Option<FetchedStock> {
        is_current(cells, 5, 6).then(|| FetchedStock {
            code: text(cells, 0),
            name: text(cells, 1),
            industry: text(cells, 2),
            list_date: time(cells, 3, |text| self.times.day(text)),
            delist_date: time(cells, 4, |text| self.times.day(text)),
        })
    }

    /// Converts the cells of `columns::TRADE_DAY` to a calendar day; `None` if the row is deleted or of another market.
    pub fn trade_day(&self, cells: &[Cell<'_>]) -> Option<FetchedTradeDay> {
        is_current(cells, 2, 3)
            .then(|| FetchedTradeDay { date: time(cells, 0, |text| self.times.day(text)), is_open: number(cells, 1) })
    }
}

fn cell<'c>(cells: &'c [Cell<'_>], at: usize) -> Option<&'c str> {
    cells.get(at)?.as_deref()
}

fn number(cells: &[Cell<'_>], at: usize) -> Field<Decimal> {
    cell(cells, at).map_or(Field::Missing, Field::number)
}

fn time(cells: &[Cell<'_>], at: usize, read: impl Fn(&str) -> Field<NaiveDateTime>) -> Field<NaiveDateTime> {
    cell(cells, at).map_or(Field::Missing, read)
}

fn text(cells: &[Cell<'_>], at: usize) -> Field<String> {
    match cell(cells, at).map(str::trim) {
        None | Some("") => Field::Missing,
        Some(text) => Field::Value(text.to_owned()),
    }
}

/// Whether a row belongs to the Chinese market and is not marked as deleted. A row without these cells passes.
fn is_current(cells: &[Cell<'_>], market: usize, deleted: usize) -> bool {
    cell(cells, market).is_none_or(|market| market == CHINA)
        && cell(cells, deleted).is_none_or(|deleted| matches!(deleted, "0" | "false"))
}
