// Upstream: clist, source
// Downstream: actors, answer, kit, sources::shared
// Role: EastMoney's bars: the interfaces `kline` (daily, 5 to 60 minutes) and `trends2` (1 minute). Pure.

//! Each bar is a string of comma-separated fields: time, open, close, high, low, volume in lots, amount in yuan, and
//! more that is not needed. The time of a minute bar is its end. 1-minute bars cover the last five trading days, with a
//! row at 09:30 for the opening auction. On days other than the newest their open is 0, which means that it is
//! unknown; `opens` completes such bars or takes them out.

use std::borrow::Cow;

use actors::domain::{Code, DateRange, FetchedBar, Field, Frequency};
use rust_decimal::Decimal;
use serde::Deserialize;

use super::answer::{self, AnswerError, number, unreadable};
use crate::sources::shared::{timestamps, units};

/// The path of daily bars and of bars of 5 to 60 minutes.
pub const KLINE: &str = "api/qt/stock/kline/get";
/// The path of 1-minute bars.
pub const TRENDS: &str = "api/qt/stock/trends2/get";

/// A key that the vendor's own pages send. Without it, answers have no data.
const UT: &str = "7eea3edcaed734bea9cbfc24409ed989";

/// A call for the bars of one security.
#[derive(Debug, Clone, Copy)]
pub struct Klines {
    /// The security.
    pub code: Code,
    /// The length of a bar.
    pub frequency: Frequency,
    /// The range; both ends are included. Answers with minute bars may cover more days.
    pub range: DateRange,
}

/// The query parameters of a call.
pub type Query = Vec<(&'static str, String)>;

impl Klines {
    /// The interface's path.
    pub fn path(&self) -> &'static str {
        if self.frequency == Frequency::Minute1 { TRENDS } else { KLINE }
    }

    /// The parameters.
    pub fn query(&self) -> Query {
        let security = ("secid", secid(self.code));
        if self.frequency == Frequency::Minute1 {
            let fields1 = "f1,f2,f3,f4,f5,f6,f7,f8,f9,f10,f11,f12,f13".to_owned();
            let fields2 = "f51,f52,f53,f54,f55,f56,f57,f58".to_owned();
            let (days, auction) = (("ndays", "5".to_owned()), ("iscr", "0".to_owned()));
            return vec![("fields1", fields1), ("fields2", fields2), ("ut", UT.to_owned()), days, auction, security];
        }
        let length = self.frequency.minutes().map_or("101".to_owned(), |minutes| minutes.to_string());
        vec![
            ("fields1", "f1,f2,f3,f4,f5,f6".to_owned()),
            ("fields2", "f51,f52,f53,f54,f55,f56,f57".to_owned()),
            ("ut", UT.to_owned()),
            ("klt", length),
            ("fqt", "0".to_owned()), // not adjusted
            security,
            ("beg", self.range.start.format("%Y%m%d").to_string()),
            ("end", self.range.end.format("%Y%m%d").to_string()),
        ]
    }

    /// Parses the body of an answer.
    pub fn parse(&self, body: &str) -> Result<Vec<FetchedBar>, AnswerError> {
        let data: Data<'_> = answer::data(body)?;
        if data.code != self.code.digits() {
            return Err(unreadable(&format!("it is about {}, but {} was requested", data.code, self.code), body));
        }
        let rows = if self.frequency == Frequency::Minute1 { data.trends } else { data.klines };
        let rows = rows.ok_or_else(|| unreadable("`data` has no rows", body))?;
        let bars = rows.iter().enumerate().map(|(index, row)| {
            let short = || unreadable(&format!("row {index} is `{row:.80}`, but seven fields are required"), body);
            self.bar(row).ok_or_else(short)
        });
        bars.collect()
    }

    fn bar(&self, row: &str) -> Option<FetchedBar> {
        let mut fields = row.split(',');
        let mut next = || fields.next();
        let (time, open, close, high, low) =
            (next()?, number(next()?), number(next()?), number(next()?), number(next()?));
        let (volume, amount) = (number(next()?), number(next()?));
        let is_open_unknown = self.frequency == Frequency::Minute1 && open == Field::Value(Decimal::ZERO);
        Some(FetchedBar {
            timestamp: match self.frequency {
                Frequency::Day => timestamps::day_of_text(time),
                _ => timestamps::time_of_text(time),
            },
            open: if is_open_unknown { Field::Missing } else { open },
            high,
            low,
            close,
            volume,
            amount: units::smaller(amount, units::YUAN),
        })
    }
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    code: Cow<'a, str>,
    #[serde(borrow, default)]
    klines: Option<Vec<Cow<'a, str>>>,
    #[serde(borrow, default)]
    trends: Option<Vec<Cow<'a, str>>>,
}

/// The market (1 for Shanghai, 0 for Shenzhen and Beijing) and the digits.
fn secid(code: Code) -> String {
    format!("{}.{}", u8::from(code.exchange() == "SH"), code.digits())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Recorded rows of 600519: a day and half an hour.
    const DAY: &str = r#"{"rc":0,"rt":17,"svr":181669437,"lt":1,"full":0,"dlmkts":"","data":{"code":"600519","market":1,"name":"贵州茅台","decimal":2,"dktotal":5925,"preKPrice":1392.0,"klines":["2026-03-13,1392.48,1413.64,1417.62,1392.00,33608,4738808558.00,1.84,1.55,21.64,0.27"]}}"#;
    const MINUTES: &str = r#"{"rc":0,"data":{"code":"600519","klines":["2026-04-23 13:30,1415.71,1416.41,1417.54,1415.70,279,39510718.00,0.13,0.05,0.73,0.00"]}}"#;
    const TREND: &str = r#"{"rc":0,"data":{"code":"600519","trends":["2026-04-23 09:30,1415.71,1415.71,1415.71,1415.71,27,3822417.00,1415.710","2026-04-22 09:31,0.00,1416.41,1417.54,1415.70,279,39510718.00,1416.100"]}}"#;

    fn klines(frequency: Frequency) -> Klines {
        let range = DateRange { start: "2026-03-01".parse().unwrap(), end: "2026-04-30".parse().unwrap() };
        Klines { code: "600519.SH".parse().unwrap(), frequency, range }
    }

    fn value(text: &str) -> Field<Decimal> {
        Field::Value(text.parse().unwrap())
    }

    fn time(text: &str) -> Field<chrono::NaiveDateTime> {
        Field::Value(text.parse().unwrap())
    }

    #[test]
    fn reads_the_vendors_field_order_in_ginkgos_units() {
        let bars = klines(Frequency::Day).parse(DAY).unwrap();
        let expected = FetchedBar {
            timestamp: time("2026-03-13T00:00:00"),
            open: value("1392.48"),
            high: value("1417.62"),
            low: value("1392.00"),
            close: value("1413.64"),
            volume: value("33608"),
            amount: value("4738808.55800"),
        };
        assert_eq!(bars, [expected]);
        let bars = klines(Frequency::Minute30).parse(MINUTES).unwrap();
        assert_eq!((&bars[0].timestamp, &bars[0].close), (&time("2026-04-23T13:30:00"), &value("1416.41")));
        let bars = klines(Frequency::Minute1).parse(TREND).unwrap();
        assert_eq!((&bars[0].timestamp, &bars[0].open), (&time("2026-04-23T09:30:00"), &value("1415.71")));
        assert_eq!((&bars[1].open, &bars[1].low), (&Field::Missing, &value("1415.70")));
    }

    #[test]
    fn the_request_says_what_is_wanted() {
        let of = |klines: Klines, name: &str| {
            klines.query().into_iter().find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default()
        };
        let day = klines(Frequency::Day);
        assert_eq!((of(day, "klt"), of(day, "fqt"), of(day, "secid")), ("101".into(), "0".into(), "1.600519".into()));
        assert_eq!((of(day, "beg"), of(day, "end")), ("20260301".into(), "20260430".into()));
        assert_eq!((day.path(), of(klines(Frequency::Minute60), "klt")), (KLINE, "60".into()));
        assert_eq!((klines(Frequency::Minute1).path(), of(klines(Frequency::Minute1), "ndays")), (TRENDS, "5".into()));
        for (code, expected) in [("300750.SZ", "0.300750"), ("920001.BJ", "0.920001"), ("510300.SH", "1.510300")] {
            assert_eq!(secid(code.parse().unwrap()), expected);
        }
    }

    #[test]
    fn what_is_no_answer_is_refused_with_its_beginning() {
        let refusal = |body: &str| klines(Frequency::Day).parse(body).unwrap_err().to_string();
        assert_eq!(refusal(r#"{"rc":100,"rt":17,"data":null}"#), "the answer has no data (rc 100)");
        for (body, part) in [
            ("<html><body>502</body></html>", "no answer object"),
            ("", "no answer object"),
            ("{}", "`data` is null"),
            (r#"{"rc":0,"data":null}"#, "`data` is null"),
            (&DAY[..200], "no answer object"),
            (r#"{"rc":0,"data":[]}"#, "`data`"),
            (r#"{"rc":0,"data":{"code":600519,"klines":[]}}"#, "`data`"),
            (r#"{"rc":0,"data":{"code":"600519","klines":[null]}}"#, "`data`"),
            (r#"{"rc":0,"data":{"code":"600519"}}"#, "no rows"),
            (r#"{"rc":0,"data":{"code":"600519","klines":null}}"#, "no rows"),
            (r#"{"rc":0,"data":{"code":"000001","klines":[]}}"#, "it is about 000001"),
            (r#"{"rc":0,"data":{"code":"600519","klines":["2026-03-13,1,2"]}}"#, "row 0 is `2026-03-13,1,2`"),
        ] {
            let text = refusal(body);
            assert!(text.contains(part) && text.contains(&body.chars().take(10).collect::<String>()), "{text}");
        }
        let odd = r#"{"rc":0,"data":{"code":"600519","klines":["soon,-,,x,1e2,NaN,1"]}}"#;
        let bar = &klines(Frequency::Day).parse(odd).unwrap()[0];
        assert_eq!(bar.timestamp, Field::unreadable("soon"));
        assert_eq!((&bar.open, &bar.close, &bar.high), (&Field::Missing, &Field::Missing, &Field::unreadable("x")));
        assert_eq!((&bar.low, &bar.volume), (&value("100"), &Field::Missing));
    }

    #[test]
    fn mutated_answers_give_rows_or_error() {
        kit::fuzz::mutate_text(&[DAY], |text| klines(Frequency::Day).parse(text));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn any_text_gives_rows_or_a_clear_error(body in "\\PC{0,80}", row in "[-0-9.,: e\"\\\\]{0,60}", at in 0..DAY.len(), byte: u8) {
            let _bars = klines(Frequency::Day).parse(&body);
            let body = format!(r#"{{"rc":0,"data":{{"code":"600519","klines":["{row}"],"trends":["{row}"]}}}}"#);
            for frequency in [Frequency::Day, Frequency::Minute1] {
                if let Err(error) = klines(frequency).parse(&body) {
                    prop_assert!(!error.to_string().is_empty());
                }
            }
            let mut mutated = DAY.as_bytes().to_vec();
            mutated[at] = byte;
            let _bars = klines(Frequency::Day).parse(&String::from_utf8_lossy(&mutated));
        }
    }
}
