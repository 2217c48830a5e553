// Upstream: source
// Downstream: actors, kit, sources::shared, table
// Role: Reads the tables of the stock list, the calendar, adjustment factors and ticks.

//! The stock list has the columns `code`, `name`, `industry`, `list_date` and `delist_date`. The calendar has `date`
//! and `is_open` (1 or 0). A row with too few or too many cells is an error: a list is read completely or not at all.

use actors::domain::{FetchedFactor, FetchedStock, FetchedTick, FetchedTradeDay, Field};

use crate::sources::files::table::{Table, TableError};
use crate::sources::shared::timestamps;

/// The file name of the stock list, without extension.
pub const STOCKS: &str = "stocks";
/// The file name of the calendar, without extension.
pub const TRADE_DAYS: &str = "trade_days";

/// Maximum number of rows: about ten times the A-share market, or centuries of calendar days. A longer file is no list.
const MAX_ROWS: usize = 100_000;

/// Maximum number of ticks: a year of a busy security.
const MAX_TICKS: usize = 2_000_000;

/// Reads a stock list.
pub fn stocks(table: Table) -> Result<Vec<FetchedStock>, TableError> {
    table.rows(&["code", "name", "industry", "list_date", "delist_date"], MAX_ROWS, |cells| {
        let [code, name, industry, list_date, delist_date] = cells?;
        Ok(FetchedStock {
            code: text(&code),
            name: text(&name),
            industry: text(&industry),
            list_date: timestamps::day_of_text(&list_date),
            delist_date: timestamps::day_of_text(&delist_date),
        })
    })
}

/// Reads a calendar.
pub fn trade_days(table: Table) -> Result<Vec<FetchedTradeDay>, TableError> {
    table.rows(&["date", "is_open"], MAX_ROWS, |cells| {
        let [date, is_open] = cells?;
        Ok(FetchedTradeDay { date: timestamps::day_of_text(&date), is_open: Field::number(&is_open) })
    })
}

/// Reads a security's adjustment factors: the columns `date` and `adj_factor`.
pub fn factors(table: Table) -> Result<Vec<FetchedFactor>, TableError> {
    table.rows(&["date", "adj_factor"], MAX_ROWS, |cells| {
        let [date, factor] = cells?;
        Ok(FetchedFactor { timestamp: timestamps::day_of_text(&date), factor: Field::number(&factor) })
    })
}

/// Reads a security's ticks: the columns `time`, `price`, `volume` (lots) and `direction`, in the order of the trades.
pub fn ticks(table: Table) -> Result<Vec<FetchedTick>, TableError> {
    table.rows(&["time", "price", "volume", "direction"], MAX_TICKS, |cells| {
        let [time, price, volume, direction] = cells?;
        Ok(FetchedTick {
            timestamp: timestamps::time_of_text(&time),
            price: Field::number(&price),
            volume: Field::number(&volume),
            direction: Field::number(&direction),
        })
    })
}

fn text(cell: &str) -> Field<String> {
    match cell.trim() {
        "" => Field::Missing,
        text => Field::Value(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    fn csv(bytes: &[u8]) -> Table {
        Table::Csv(bytes.to_vec())
    }

    #[test]
    fn both_lists_are_read_by_the_names_of_their_columns() {
        let text = "Name,code,list_date,delist_date,industry,extra\n平安银行,000001.SZ,19910403,,银行,x\n";
        let stocks = stocks(csv(text.as_bytes())).unwrap();
        assert_eq!(stocks[0].code, Field::Value("000001.SZ".to_owned()));
        assert_eq!(stocks[0].delist_date, Field::Missing);
        let days = trade_days(csv(b"date,is_open\n2024-01-02,1\n20240101,0\n")).unwrap();
        assert_eq!(days[1].is_open, Field::Value(Decimal::ZERO));
        let short = trade_days(csv(b"date,is_open\n2024-01-02\n")).unwrap_err();
        assert_eq!(short.to_string(), "line 2: 1 cells for 2 columns");
    }

    #[test]
    fn mutated_lists_give_rows_or_error() {
        let samples = [
            "code,name,industry,list_date,delist_date\n000001.SZ,平安银行,银行,19910403,\n",
            "date,is_open\n20240101,0\n2024-01-02,1\n",
            "date,adj_factor\n20240102,116.719\n",
            "time,price,volume,direction\n2024-01-02 09:30:03,9.39,120,0\n",
        ];
        kit::fuzz::mutate(&samples, |bytes| {
            // Most inputs go to the reader of the sample they come from.
            let error = match bytes.len() {
                ..30 => factors(csv(bytes)).err(),
                30..40 => trade_days(csv(bytes)).err(),
                40..70 => ticks(csv(bytes)).err(),
                _ => stocks(csv(bytes)).err(),
            };
            assert!(error.is_none_or(|error| !error.to_string().is_empty()));
        });
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_list_or_a_clear_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for head in ["code,name,industry,list_date,delist_date\n", "date,is_open\n", ""] {
                let bytes = [head.as_bytes(), &bytes].concat();
                for error in [stocks(csv(&bytes)).err(), trade_days(csv(&bytes)).err()].into_iter().flatten() {
                    prop_assert!(matches!(error, TableError::Csv(error) if error.line >= 1 && !error.what.is_empty()));
                }
            }
        }
    }
}
