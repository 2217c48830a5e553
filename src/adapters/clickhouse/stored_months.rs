// Upstream: app, cli::coverage, clickhouse
// Downstream: actors, config, errors, schema, statements, table
// Role: Reads which days of each month have rows, as a set of bits per security and month.

use std::collections::HashMap;

use ::clickhouse::Row;
use actors::domain::coverage::StoredMonth;
use actors::domain::expected_rows::{rows_of, short_days};
use actors::domain::month::Month;
use actors::domain::{Code, DateRange, Frequency};
use actors::ports::StoreError;
use chrono::NaiveDate;
use serde::Deserialize;

use crate::adapters::clickhouse::errors::Effect;
use crate::adapters::clickhouse::schema::{ADJUSTFACTOR, BAR, TICK_ENDING, TableSchema};
use crate::adapters::clickhouse::statements::quoted;
use crate::adapters::clickhouse::table::Table;
use crate::config::ClickHouseSection;

/// Most codes that a query names: about 30 KB of text, an eighth of ClickHouse's default maximum query size. A query
/// about more reads all codes.
const MAX_NAMED: usize = 2_000;

/// Codes per query of minute bars. The server counts a row for each minute, a year of these codes is about 30 million.
const CODES_PER_MINUTE_QUERY: usize = 500;

/// What the stored rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredKind {
    /// Bars of a frequency.
    Bars(Frequency),
    /// Adjustment factors.
    Factors,
    /// Ticks.
    Ticks,
}

/// The stored days in one ClickHouse database.
pub struct ClickHouseMonths {
    bars: Table,
    factors: Table,
}

#[derive(Row, Deserialize)]
struct MonthsRow {
    code: String,
    /// Months as numbers, such as 202401.
    months: Vec<u32>,
    any: Vec<u32>,
    whole: Vec<u32>,
}

impl ClickHouseMonths {
    /// Creates the client; the first query connects.
    pub fn new(config: &ClickHouseSection) -> Self {
        let bars = Table::new(config, BAR);
        Self { factors: bars.beside(ADJUSTFACTOR), bars }
    }

    /// The months with rows of these securities. One query, for minute bars one for each 500 securities; the answer has
    /// 12 bytes per month and security.
    pub async fn of(
        &self,
        kind: StoredKind,
        codes: &[Code],
        range: DateRange,
    ) -> Result<HashMap<Code, Vec<StoredMonth>>, StoreError> {
        let operation = format!("read the stored days of {} codes by month", codes.len());
        let mut found = HashMap::with_capacity(codes.len());
        match kind {
            StoredKind::Bars(frequency @ Frequency::Day) => {
                self.prepared(&self.bars, &operation).await?;
                let rows = of_days(&self.bars.full_name(), Some(frequency), codes, range);
                self.read(&self.bars, &operation, &rows, &mut found).await?;
            }
            StoredKind::Bars(frequency) => {
                self.prepared(&self.bars, &operation).await?;
                for codes in codes.chunks(CODES_PER_MINUTE_QUERY) {
                    let rows = of_minutes(&self.bars.full_name(), frequency, codes, range);
                    self.read(&self.bars, &operation, &rows, &mut found).await?;
                }
            }
            StoredKind::Factors => {
                self.prepared(&self.factors, &operation).await?;
                let rows = of_days(&self.factors.full_name(), None, codes, range);
                self.read(&self.factors, &operation, &rows, &mut found).await?;
            }
            // A table of a database without tables of ticks does not exist, and the server refuses to merge none.
            StoredKind::Ticks if self.bars.engines(TICK_ENDING).await?.is_empty() => {}
            StoredKind::Ticks => {
                let rows = of_days(&tick_tables(&self.bars.database, codes), None, codes, range);
                self.read(&self.bars, &operation, &rows, &mut found).await?;
            }
        }
        Ok(found)
    }

    async fn prepared(&self, table: &Table, operation: &str) -> Result<(), StoreError> {
        if table.facts(operation).is_err() {
            table.check().await?;
        }
        Ok(())
    }

    async fn read(
        &self,
        table: &Table,
        operation: &str,
        rows: &str,
        found: &mut HashMap<Code, Vec<StoredMonth>>,
    ) -> Result<(), StoreError> {
        let statement =
            format!("SELECT code, groupArray(month), groupArray(any), groupArray(whole) FROM ({rows}) GROUP BY code");
        let reading = table.client.query_raw(&statement).fetch_all::<MonthsRow>();
        let rows = table.bounded(operation, Effect::None, reading).await?;
        // Rows with an invalid code are skipped; no command can name such a code.
        found.extend(rows.into_iter().filter_map(|row| Some((row.code.parse().ok()?, stored_months(&row)))));
        Ok(())
    }
}

fn stored_months(row: &MonthsRow) -> Vec<StoredMonth> {
    let sets = row.any.iter().zip(&row.whole);
    let month = |(month, (any, whole)): (&u32, (&u32, &u32))| {
        Some(StoredMonth { month: Month::from_number(*month)?, any: *any, whole: *whole })
    };
    let mut months: Vec<StoredMonth> = row.months.iter().zip(sets).filter_map(month).collect();
    months.sort_unstable_by_key(|stored| stored.month);
    months
}

/// The condition for codes and days. Dates are compared in the zone of the column, as readers see them.
fn condition(codes: &[Code], range: DateRange) -> String {
    let named = if codes.len() > MAX_NAMED {
        String::new()
    } else {
        format!("code IN ({}) AND ", quoted(codes.iter().map(Code::as_str)))
    };
    format!("{named}toDate(timestamp) BETWEEN '{}' AND '{}'", range.start, range.end)
}

/// The bit of a day in the set of its month.
fn bit(day: &str) -> String {
    format!("toUInt32(bitShiftLeft(toUInt64(1), toDayOfMonth({day}) - 1))")
}

/// The months of rows of which one makes a day whole.
fn of_days(table: &str, frequency: Option<Frequency>, codes: &[Code], range: DateRange) -> String {
    let frequency = frequency.map_or(String::new(), |frequency| format!("frequency = {} AND ", frequency.as_ginkgo()));
    format!(
        "SELECT code, toYYYYMM(timestamp) AS month, groupBitOr({}) AS any, any AS whole FROM {table} WHERE {frequency}{} \
         GROUP BY code, month",
        bit("timestamp"),
        condition(codes, range)
    )
}

/// The months of minute bars. A day is whole with as many different times as its sessions have.
fn of_minutes(table: &str, frequency: Frequency, codes: &[Code], range: DateRange) -> String {
    let number = |day: NaiveDate| rows_of(frequency, day);
    let short: String = short_days().map(|day| format!("day = '{day}', {}, ", number(day))).collect();
    format!(
        "SELECT code, toYYYYMM(day) AS month, groupBitOr({bit}) AS any, \
         groupBitOr(if(times >= multiIf({short}{}), {bit}, 0)) AS whole FROM (SELECT code, toDate(timestamp) AS day, \
         uniqExact(timestamp) AS times FROM {table} WHERE frequency = {} AND {} GROUP BY code, day) GROUP BY code, month",
        number(NaiveDate::MAX),
        frequency.as_ginkgo(),
        condition(codes, range),
        bit = bit("day")
    )
}

/// All tables of ticks of these codes, as one table.
fn tick_tables(database: &str, codes: &[Code]) -> String {
    let names = if codes.len() > MAX_NAMED {
        format!("^[0-9]{{6}}_(SH|SZ|BJ){TICK_ENDING}$")
    } else {
        let names: Vec<String> = codes.iter().map(|code| TableSchema::tick(code.as_str()).name.into_owned()).collect();
        format!("^({})$", names.join("|"))
    };
    format!("merge({}, {})", quoted(std::iter::once(database)), quoted(std::iter::once(names.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_up_to_a_length_of_the_query() {
        let range = DateRange { start: "2024-01-02".parse().unwrap(), end: "2024-01-31".parse().unwrap() };
        let codes: Vec<Code> = (0..=MAX_NAMED).map(|n| format!("{n:06}.SZ").parse().unwrap()).collect();
        for named in [&codes[..MAX_NAMED], &codes[..1]] {
            let query = of_minutes("`d`.`bar`", Frequency::Minute5, named, range);
            assert!(query.contains("code IN ('000000.SZ'") && query.len() < 64_000, "{query}");
            assert!(query.contains("day = '2016-01-04', 27, day = '2016-01-07', 2, 48)"), "{query}");
            assert!(tick_tables("d", named).starts_with("merge('d', '^(000000_SZ_Tick"));
        }
        let query = of_days("`d`.`bar`", Some(Frequency::Day), &codes, range);
        assert!(!query.contains("code IN") && query.contains("frequency = 1"), "{query}");
        assert_eq!(tick_tables("d", &codes), "merge('d', '^[0-9]{6}_(SH|SZ|BJ)_Tick$')");
    }
}
