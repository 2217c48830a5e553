// Upstream: adjust_factor, source
// Downstream: actors, answer, frame, kit, query, sources::shared
// Role: BaoStock's bars: of one security for a range of days, and of all securities on one day. Pure.

//! Bars are unadjusted (`adjustflag` 3), oldest first, in shares and yuan. A daily bar has a date. A minute bar has a
//! time of 17 digits, its end. A day on which the security was suspended has a row too: `tradestatus` 0, the last close
//! as every price, no volume. Such a row becomes no bar, because other sources have none.

use actors::domain::{Code, DateRange, FetchedBar, Field};
use actors::ports::{NotedRow, SourceErrorKind};
use chrono::{NaiveDate, NaiveDateTime};

use super::answer::{self, AnswerError, Layout, wrong_row};
use super::frame::Message;
use super::query::{Page, Query, baostock_code};
use crate::sources::shared::day_note::day_note;
use crate::sources::shared::excerpt::excerpt;
use crate::sources::shared::{cells, timestamps, units};

const DAY_COLUMNS: [&str; 11] =
    ["date", "code", "open", "high", "low", "close", "volume", "amount", "tradestatus", "preclose", "isST"];
/// The vendor's client 0.9.4 names these columns and some more for the answer about all shares.
const ALL_OF_DAY_COLUMNS: [&str; 12] = [
    "date",
    "code",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "amount",
    "tradestatus",
    "preclose",
    "isST",
    "adjustflag",
];
const MINUTE_COLUMNS: [&str; 8] = ["time", "code", "open", "high", "low", "close", "volume", "amount"];
const SUSPENDED: &str = "\"0\"";
const SPECIAL: &str = "\"1\"";
const USUAL: &str = "\"0\"";
const UNADJUSTED: &str = "\"3\"";

/// A query for the bars of one security.
pub struct KData {
    code: Code,
    symbol: String,
    range: DateRange,
    /// The length of a bar in minutes; `None` for daily bars.
    minutes: Option<u32>,
}

impl KData {
    /// Requests bars of this many minutes, or daily bars. BaoStock has no 1-minute bars and no securities of Beijing.
    pub fn new(code: Code, range: DateRange, minutes: Option<u32>) -> Result<Self, SourceErrorKind> {
        if minutes == Some(1) {
            let text = "BaoStock has no 1-minute bars, only bars of 5, 15, 30 and 60 minutes; configure another source \
                        in sources.minute_bars";
            return Err(SourceErrorKind::BadRequest(text.to_owned()));
        }
        Ok(Self { code, symbol: baostock_code(code)?, range, minutes })
    }
}

/// The parameters of a query for these columns.
pub fn params(symbol: &str, columns: &[&str], range: DateRange, frequency: String) -> Vec<String> {
    let (start, end) = (range.start.to_string(), range.end.to_string());
    vec![symbol.to_owned(), columns.join(","), start, end, frequency, "3".to_owned()]
}

impl Query for KData {
    type Row = NotedRow;
    const METHOD: &'static str = "query_history_k_data_plus";
    const KIND: &'static str = "95";
    const PAGED: bool = true;

    fn params(&self) -> Vec<String> {
        match self.minutes {
            None => params(&self.symbol, &DAY_COLUMNS, self.range, "d".to_owned()),
            Some(minutes) => params(&self.symbol, &MINUTE_COLUMNS, self.range, minutes.to_string()),
        }
    }

    fn parse(&self, message: &Message, page: usize) -> Result<Page<NotedRow>, AnswerError> {
        let layout = Layout::paged(8);
        match self.minutes {
            None => {
                let records = answer::table(message, Self::METHOD, page, layout, &DAY_COLUMNS)?;
                let mut rows = Vec::with_capacity(records.len());
                for (number, record) in records.iter().enumerate() {
                    check_code(record[1], self.code, number)?;
                    rows.push(day_row(record));
                }
                Ok(Page { rows, num_records: records.len() })
            }
            Some(_) => {
                let records = answer::table(message, Self::METHOD, page, layout, &MINUTE_COLUMNS)?;
                let mut rows = Vec::with_capacity(records.len());
                for (number, record) in records.iter().enumerate() {
                    let [time, code, values @ ..] = *record;
                    check_code(code, self.code, number)?;
                    rows.push((Some(bar(minute(time), values)), None));
                }
                Ok(Page { num_records: rows.len(), rows })
            }
        }
    }
}

/// A query for the daily bars of all A-shares on one day, in one answer. It has no parameter for the adjustment of
/// prices, so the column `adjustflag` of each row is checked.
pub struct AllOfDay(
    /// The day.
    pub NaiveDate,
);

impl Query for AllOfDay {
    type Row = (Code, NotedRow);
    const METHOD: &'static str = "query_daily_history_k_AStock";
    const KIND: &'static str = "98";
    const PAGED: bool = false;

    fn params(&self) -> Vec<String> {
        vec![self.0.to_string()]
    }

    fn parse(&self, message: &Message, page: usize) -> Result<Page<Self::Row>, AnswerError> {
        let layout = Layout { page_at: None, rows_at: 4, columns_at: 5 };
        let records = answer::table(message, Self::METHOD, page, layout, &ALL_OF_DAY_COLUMNS)?;
        let mut rows = Vec::with_capacity(records.len());
        for (number, record) in records.iter().enumerate() {
            let [cells @ .., adjustment] = record;
            if *adjustment != UNADJUSTED {
                let reason = format!("has adjustflag {}, but {UNADJUSTED} is required", excerpt(adjustment));
                return Err(wrong_row(number, &reason));
            }
            // Rows whose code is not an A-share's are skipped, because no request can name them.
            let code = match cells::text(cells[1]) {
                Field::Value(text) => text.parse().ok(),
                Field::Missing | Field::Unreadable(_) => None,
            };
            rows.extend(code.map(|code| (code, day_row(cells))));
        }
        Ok(Page { rows, num_records: records.len() })
    }
}

fn check_code(cell: &str, code: Code, number: usize) -> Result<(), AnswerError> {
    if cells::names(cell, code) {
        return Ok(());
    }
    Err(wrong_row(number, &format!("is of {}, but {code} was requested", excerpt(cell))))
}

/// Converts the row of a day. A day on which the security was suspended has no bar. `preclose` is the exchange's
/// reference price.
fn day_row(record: &[&str; 11]) -> NotedRow {
    let [date, _code, open, high, low, close, volume, amount, status, pre_close, special] = *record;
    let (timestamp, is_suspended) = (cells::day(date), status == SUSPENDED);
    let is_special = match special {
        SPECIAL => Some(true),
        USUAL => Some(false),
        _ => None,
    };
    let note = day_note(&timestamp, &cells::number(pre_close), is_suspended, is_special);
    let bar = (!is_suspended).then(|| bar(timestamp, [open, high, low, close, volume, amount]));
    (bar, note)
}

fn minute(cell: &str) -> Field<NaiveDateTime> {
    match cells::text(cell) {
        Field::Value(text) => timestamps::time_of_digits(&text),
        Field::Missing => Field::Missing,
        Field::Unreadable(text) => Field::Unreadable(text),
    }
}

fn bar(timestamp: Field<NaiveDateTime>, values: [&str; 6]) -> FetchedBar {
    let [open, high, low, close, volume, amount] = values.map(cells::number);
    FetchedBar {
        timestamp,
        open,
        high,
        low,
        close,
        volume: units::smaller(volume, units::SHARES),
        amount: units::smaller(amount, units::YUAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::domain::{DayNote, Price};
    use actors::ports::{NotedBars, NotedBarsByCode};
    use proptest::prelude::*;

    fn range() -> DateRange {
        DateRange { start: "2017-07-03".parse().unwrap(), end: "2017-07-31".parse().unwrap() }
    }

    fn query(minutes: Option<u32>) -> KData {
        KData::new("600000.SH".parse().unwrap(), range(), minutes).unwrap()
    }

    fn message(columns: &str, frequency: &str, records: &str) -> Message {
        let json = format!(r#"{{"record":[{records}]}}"#);
        let (method, end) = (KData::METHOD, ["2017-07-03", "2017-07-31", frequency, "3"]);
        let fields = ["0", "success", method, "anonymous", "1", "2000", &json, "sh.600000", columns];
        Message { kind: "96".to_owned(), body: [&fields[..], &end].concat().join("\u{1}") }
    }

    fn days(records: &str) -> Page<NotedRow> {
        query(None).parse(&message(&DAY_COLUMNS.join(","), "d", records), 1).unwrap()
    }

    fn value(text: &str) -> Field<rust_decimal::Decimal> {
        Field::Value(text.parse().unwrap())
    }

    #[test]
    fn parses_days_and_skips_suspended_ones() {
        let page = days(
            r#"["2017-07-03","sh.600000","12.6000000000","12.6900000000","12.5000000000","12.6400000000","28962450","364908096.0000","1","12.6500000000","0"],
               ["2017-07-04","sh.600000","12.6400000000","12.6400000000","12.6400000000","12.6400000000","","","0","12.6400000000","1"]"#,
        );
        assert_eq!(page.num_records, 2);
        let NotedBars { bars, notes, .. } = page.rows.into_iter().collect();
        assert_eq!(bars.len(), 1);
        let note = |day: &str, fen, is_suspended, is_special| DayNote {
            day: day.parse().unwrap(),
            reference: Some(Price::fen(fen)),
            is_suspended,
            is_special: Some(is_special),
        };
        assert_eq!(notes, [note("2017-07-03", 1_265, false, false), note("2017-07-04", 1_264, true, true)]);
        let bar = &bars[0];
        assert_eq!(bar.timestamp, Field::Value("2017-07-03T00:00:00".parse().unwrap()));
        assert_eq!((&bar.open, &bar.high), (&value("12.6"), &value("12.69")));
        assert_eq!((&bar.low, &bar.close), (&value("12.5"), &value("12.64")));
        assert_eq!((&bar.volume, &bar.amount), (&value("289624.5"), &value("364908.096")));
    }

    #[test]
    fn timestamps_of_minutes_are_their_end() {
        let columns = "date,time,code,open,high,low,close,volume,amount,adjustflag";
        let records = r#"["2017-07-03","20170703093500000","sh.600000","12.6","12.69","12.5","12.64","100","1264","3"],
            ["2017-07-03","soon","sh.600000","","x",null,12.64,"100","1264","3"]"#;
        let page = query(Some(5)).parse(&message(columns, "5", records), 1).unwrap();
        let NotedBars { bars, notes, .. } = page.rows.into_iter().collect();
        assert_eq!(notes, []);
        assert_eq!(bars[0].timestamp, Field::Value("2017-07-03T09:35:00".parse().unwrap()));
        assert_eq!((&bars[0].volume, &bars[0].amount), (&value("1"), &value("1.264")));
        assert_eq!(bars[1].timestamp, Field::unreadable("soon"));
        assert_eq!((&bars[1].open, &bars[1].high), (&Field::Missing, &Field::unreadable("x")));
        assert_eq!((&bars[1].low, &bars[1].close), (&Field::Missing, &value("12.64")));
    }

    #[test]
    fn a_row_of_another_security_is_refused_by_its_number() {
        let record = r#"["2017-07-03","sz.000001","1","1","1","1","1","1","1","1","0"]"#;
        let error = query(None).parse(&message(&DAY_COLUMNS.join(","), "d", record), 1).unwrap_err();
        assert_eq!(error.to_string(), "row 0 is of \"sz.000001\", but 600000.SH was requested");
    }

    #[test]
    fn rejects_requests_that_baostock_cannot_serve() {
        let minute = KData::new("600000.SH".parse().unwrap(), range(), Some(1)).err().unwrap();
        assert!(minute.to_string().contains("sources.minute_bars"), "{minute}");
        assert!(!minute.is_transient());
        assert!(KData::new("430047.BJ".parse().unwrap(), range(), None).is_err());
        let expected =
            ["sh.600000", "time,code,open,high,low,close,volume,amount", "2017-07-03", "2017-07-31", "15", "3"];
        assert_eq!(query(Some(15)).params(), expected);
    }

    #[test]
    fn parses_all_bars_of_a_day_with_codes() {
        // The columns as the vendor's client names them.
        let columns = "date,code,open,high,low,close,preclose,volume,amount,adjustflag,turn,tradestatus,pctChg,peTTM,pbMRQ,\
                       psTTM,pcfNcfTTM,isST";
        let parse = |adjustment: &str| {
            let records = r#"{"record":[
                ["2024-01-02","sh.600000","6.6","6.7","6.5","6.65","6.62","1000","6650","?","","1","","","","","","0"],
                ["2024-01-02","sz.000001","9.1","9.2","9.0","9.1","9.1","","","3","","0","","","","","","0"],
                ["2024-01-02","none","9.1","9.2","9.0","9.1","9.1","1","9.1","3","","1","","","","","","0"]]}"#;
            let json = records.replace('?', adjustment);
            let fields = ["0", "success", AllOfDay::METHOD, "anonymous", &json, columns];
            let message = Message { kind: "99".to_owned(), body: fields.join("\u{1}") };
            AllOfDay("2024-01-02".parse().unwrap()).parse(&message, 1)
        };
        let adjusted = parse("2").unwrap_err().to_string();
        assert_eq!(adjusted, r#"row 0 has adjustflag "2", but "3" is required"#);
        let page = parse("3").unwrap();
        assert_eq!(page.num_records, 3);
        let NotedBarsByCode { bars, notes } = page.rows.into_iter().collect();
        assert_eq!((bars.len(), bars[0].0.as_str()), (1, "600000.SH"));
        assert_eq!(bars[0].1.volume, value("10"));
        let suspended = notes.iter().map(|(code, note)| (code.as_str(), note.is_suspended));
        assert_eq!(suspended.collect::<Vec<_>>(), [("600000.SH", false), ("000001.SZ", true)]);
    }

    #[test]
    fn mutated_answers_give_bars_or_error() {
        let end = ["2017-07-03", "2017-07-31", "d", "3"].join("\u{1}");
        let body = |method: &str, columns: &str, record: &str| {
            let json = format!(r#"{{"record":[[{record}]]}}"#);
            ["0", "success", method, "anonymous", "1", "2000", &json, "sh.600000", columns, &end].join("\u{1}")
        };
        let all = ALL_OF_DAY_COLUMNS.join(",");
        let all_of_day = r#"["2024-01-02","sh.600000","6.6","6.7","6.5","6.65","1000","6650","1","6.62","0","3"]"#;
        let all_of_day = format!(r#"{{"record":[{all_of_day}]}}"#);
        let samples = [
            body(
                KData::METHOD,
                &DAY_COLUMNS.join(","),
                r#""2017-07-03","sh.600000","12.60","12.69","12.50","12.64","28962450","364908096.00","1","12.65","0""#,
            ),
            body(
                KData::METHOD,
                &MINUTE_COLUMNS.join(","),
                r#""20170703093500000","sh.600000","12.6","12.69","12.5","12.64","100","1264""#,
            ),
            ["0", "success", AllOfDay::METHOD, "anonymous", &all_of_day, &all].join("\u{1}"),
        ];
        let (days, minutes, all_of_day) = (query(None), query(Some(5)), AllOfDay("2024-01-02".parse().unwrap()));
        kit::fuzz::mutate(&samples, |bytes| {
            let body = String::from_utf8_lossy(bytes).into_owned();
            // Most inputs go to the query of the sample they come from.
            let message = |kind: &str| Message { kind: kind.to_owned(), body: body.clone() };
            let error = if body.contains("AStock") {
                all_of_day.parse(&message("99"), 1).err()
            } else if body.contains("3093500000") {
                minutes.parse(&message("96"), 1).err()
            } else {
                days.parse(&message("96"), 1).err()
            };
            assert!(error.is_none_or(|error| !error.to_string().is_empty()));
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        #[test]
        fn any_cells_give_rows_or_a_clear_error(
            cells in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..12), 11),
            near in prop::collection::vec(prop::sample::select(b"0123456789.-eE+".to_vec()), 0..30),
            place in 2..11_usize,
        ) {
            let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
            let mut cells: Vec<String> = cells.iter().map(text).collect();
            cells[place] = text(&near);
            cells[1] = "sh.600000".to_owned();
            let record = serde_json::to_string(&cells).unwrap();
            prop_assert_eq!(days(&record).num_records, 1);
        }
    }
}
