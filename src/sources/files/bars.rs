// Upstream: source
// Downstream: actors, config, kit, sources::shared, table
// Role: Reads a table of bars and converts its units.

//! The columns are `date`, `open`, `high`, `low`, `close`, `volume` and `amount`, in any order and any case. Further
//! columns are ignored. Files of minute bars have the column `time` instead of `date`; it is the bar's end. Prices are
//! in yuan. Volume and amount are in the configured units.

use std::borrow::Cow;
use std::fmt;

use actors::domain::{FetchedBar, Field, Frequency};
use chrono::NaiveDateTime;

use crate::config::{AmountUnit, VolumeUnit};
use crate::sources::files::table::{Table, TableError};
use crate::sources::shared::{timestamps, units as smaller_unit};

/// The columns of a daily bar.
const COLUMNS: [&str; 7] = ["date", "open", "high", "low", "close", "volume", "amount"];
/// The columns of a minute bar.
const MINUTE_COLUMNS: [&str; 7] = ["time", "open", "high", "low", "close", "volume", "amount"];
/// Maximum number of rows: eight years of minutes, or many centuries of days. A longer file is no table of bars.
const MAX_ROWS: usize = 500_000;

/// The units of a file's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Units {
    /// The unit of `volume`.
    pub volume: VolumeUnit,
    /// The unit of `amount`.
    pub amount: AmountUnit,
}

/// Reads a table. An unreadable cell becomes an unreadable field. If a row has too few or too many cells, all its
/// fields become unreadable, because their columns are unknown: the row is reported, not dropped.
pub fn parse(table: Table, units: Units, frequency: Frequency) -> Result<Vec<FetchedBar>, TableError> {
    let of_day = frequency == Frequency::Day;
    let columns = if of_day { &COLUMNS } else { &MINUTE_COLUMNS };
    let read_time = if of_day { timestamps::day_of_text } else { timestamps::time_of_text };
    table.rows(columns, MAX_ROWS, |cells| {
        Ok(cells.map_or_else(|text| unreadable_bar(&text), |cells| bar(&cells, units, read_time)))
    })
}

fn bar(
    [time, open, high, low, close, volume, amount]: &[Cow<'_, str>; COLUMNS.len()],
    units: Units,
    read_time: impl Fn(&str) -> Field<NaiveDateTime>,
) -> FetchedBar {
    FetchedBar {
        timestamp: read_time(time),
        open: Field::number(open),
        high: Field::number(high),
        low: Field::number(low),
        close: Field::number(close),
        volume: match units.volume {
            VolumeUnit::Shares => smaller_unit::smaller(Field::number(volume), smaller_unit::SHARES),
            VolumeUnit::Lots => Field::number(volume),
        },
        amount: match units.amount {
            AmountUnit::Yuan => smaller_unit::smaller(Field::number(amount), smaller_unit::YUAN),
            AmountUnit::ThousandYuan => Field::number(amount),
        },
    }
}

fn unreadable_bar(text: &impl fmt::Display) -> FetchedBar {
    let text = text.to_string();
    FetchedBar {
        timestamp: Field::unreadable(&text),
        open: Field::unreadable(&text),
        high: Field::unreadable(&text),
        low: Field::unreadable(&text),
        close: Field::unreadable(&text),
        volume: Field::unreadable(&text),
        amount: Field::unreadable(&text),
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

    fn rows(text: &str) -> Vec<FetchedBar> {
        parse(csv(text.as_bytes()), Units::default(), Frequency::Day).unwrap()
    }

    fn value(text: &str) -> Field<Decimal> {
        Field::Value(text.parse().unwrap())
    }

    #[test]
    fn finds_columns_by_name_and_converts_units() {
        let text = "\u{feff}Amount, extra ,close,HIGH,low,open,volume,date\r\n90923240.5,x,11.2,12.21,11.03,12.21,7877950,20040817\r\n";
        let rows = rows(text);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].volume, value("78779.5"));
        assert_eq!(rows[0].amount, value("90923.2405"));
        assert_eq!(rows[0].high, value("12.21"));
        let units = Units { volume: VolumeUnit::Lots, amount: AmountUnit::ThousandYuan };
        let same = parse(csv(text.as_bytes()), units, Frequency::Day).unwrap();
        assert_eq!(same[0].volume, value("7877950"));
        assert_eq!(same[0].amount, value("90923240.5"));
    }

    #[test]
    fn keeps_bad_cells_and_bad_rows() {
        let rows = rows("date,open,high,low,close,volume,amount\nx,,abc,1,1,NaN,1e2\n2024-01-02,1\n");
        assert_eq!(rows[0].timestamp, Field::unreadable("x"));
        assert_eq!(rows[0].open, Field::Missing);
        assert_eq!(rows[0].high, Field::unreadable("abc"));
        assert_eq!(rows[0].volume, Field::Missing);
        assert_eq!(rows[0].amount, value("0.1"));
        assert_eq!(rows[1].close, Field::unreadable("2 cells for 7 columns"));
    }

    #[test]
    fn reports_bad_headers_with_the_line() {
        let error = |text: &str| parse(csv(text.as_bytes()), Units::default(), Frequency::Day).unwrap_err().to_string();
        assert!(error("").contains("line 1: the file is empty"));
        assert_eq!(error("date,open,high,low,close,volume"), "line 1: column `amount` is missing");
        assert_eq!(error("date,open,high,low,close,volume,amount,Open"), "line 1: column `open` occurs more than once");
        let long = format!("date,open,high,low,close,volume,amount\n{}", "1,1,1,1,1,1,1\n".repeat(MAX_ROWS + 1));
        assert_eq!(error(&long), "line 500002: more than 500000 rows");
    }

    #[test]
    fn mutated_tables_give_rows_or_error() {
        let day = "date,open,high,low,close,volume,amount\n20240102,9.39,9.42,9.21,9.21,115827715,1075742252.45\n";
        let minute = "time,open,high,low,close,volume,amount\n2024-01-02 09:31:00,9.39,9.4,\"9.38\",9.4,1200,11280\n";
        kit::fuzz::mutate(&[day, minute], |bytes| {
            let frequency = if bytes.starts_with(b"d") { Frequency::Day } else { Frequency::Minute1 };
            if let Err(error) = parse(csv(bytes), Units::default(), frequency) {
                assert!(!error.to_string().is_empty());
            }
        });
    }

    proptest! {
        #[test]
        fn any_bytes_give_rows_or_a_clear_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let with_header = [b"date,open,high,low,close,volume,amount\n", bytes.as_slice()].concat();
            for bytes in [bytes, with_header] {
                if let Err(error) = parse(csv(&bytes), Units::default(), Frequency::Day) {
                    prop_assert!(matches!(error, TableError::Csv(error) if error.line >= 1 && !error.what.is_empty()));
                }
            }
        }

        #[test]
        fn any_cells_give_a_row(cells in prop::collection::vec("[-+0-9.eE a-z\"]{0,12}", 7)) {
            let line = cells.iter().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).collect::<Vec<_>>().join(",");
            let text = format!("date,open,high,low,close,volume,amount\n{line}\n");
            prop_assert_eq!(parse(csv(text.as_bytes()), Units::default(), Frequency::Day).unwrap().len(), 1);
        }

        #[test]
        fn unit_conversion_only_moves_the_decimal_point(shares in 0_i64..1_000_000_000_000, fen in 0_i64..1_000_000_000_000_000) {
            let (yuan, volume) = (Decimal::new(fen, 2), Decimal::from(shares));
            let text = format!("date,open,high,low,close,volume,amount\n20240102,1,1,1,1,{volume},{yuan}\n");
            let row = &rows(&text)[0];
            prop_assert_eq!(&row.volume, &Field::Value(Decimal::new(shares, 2)));
            prop_assert_eq!(&row.amount, &Field::Value(Decimal::new(fen, 5)));
        }
    }
}
