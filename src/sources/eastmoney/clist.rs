// Upstream: source
// Downstream: actors, answer, kit, klines, sources::shared
// Role: EastMoney's interface `clist`: the list of securities. Pure.

//! The shares of Shanghai, Shenzhen and Beijing, at most 100 per page, ordered by code. Fields are numbered: 12 is the
//! digits, 13 the market, 14 the name, 26 the listing date, 100 the industry.

use actors::domain::{FetchedStock, Field};
use chrono::NaiveDateTime;
use serde::Deserialize;
use serde_json::Value;

use super::answer::{self, AnswerError};
use super::klines::Query;
use crate::sources::shared::timestamps;

/// The interface's path.
pub const CLIST: &str = "api/qt/clist/get";

/// A key that the vendor's own pages send.
const UT: &str = "bd1d9ddb04089700cf9c27f6f7426281";
/// The boards to list, as the vendor's own pages request "all A-shares".
const BOARDS: &str = "m:0 t:6,m:0 t:80,m:1 t:2,m:1 t:23,m:0 t:81 s:2048";

/// The parameters of a page, counted from 1.
pub fn query(page: u32) -> Query {
    let text = str::to_owned;
    vec![
        ("pn", page.to_string()),
        ("pz", text("100")),
        ("po", text("0")),
        ("np", text("1")),
        ("ut", text(UT)),
        ("fltt", text("2")),
        ("invt", text("2")),
        ("fid", text("f12")),
        ("fs", text(BOARDS)),
        ("fields", text("f12,f13,f14,f26,f100")),
    ]
}

/// A page of the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of securities on all pages.
    pub total: usize,
    /// The securities on this page.
    pub rows: Vec<FetchedStock>,
}

#[derive(Deserialize)]
struct Data {
    total: usize,
    diff: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    f12: Value,
    #[serde(default)]
    f13: Value,
    #[serde(default)]
    f14: Value,
    #[serde(default)]
    f26: Value,
    #[serde(default)]
    f100: Value,
}

/// Parses the body of an answer.
pub fn parse(body: &str) -> Result<Page, AnswerError> {
    let Data { total, diff } = answer::data(body)?;
    let rows = diff.iter().map(|row| FetchedStock {
        code: code(&row.f12, &row.f13),
        name: text(&row.f14),
        industry: text(&row.f100),
        list_date: day(&row.f26),
        delist_date: Field::Missing,
    });
    Ok(Page { total, rows: rows.collect() })
}

/// Market 1 is Shanghai. Market 0 is Shenzhen and Beijing, which differ in the digits.
fn code(digits: &Value, market: &Value) -> Field<String> {
    match (text(digits), market.as_u64()) {
        (Field::Value(digits), Some(1)) => Field::Value(format!("{digits}.SH")),
        (other, _) => other,
    }
}

fn text(value: &Value) -> Field<String> {
    match value {
        Value::Null => Field::Missing,
        Value::String(text) if matches!(text.trim(), "" | "-") => Field::Missing,
        Value::String(text) => Field::Value(text.trim().to_owned()),
        other => Field::unreadable(&other.to_string()),
    }
}

fn day(value: &Value) -> Field<NaiveDateTime> {
    match value {
        Value::Null => Field::Missing,
        Value::String(text) if text.trim() == "-" => Field::Missing,
        Value::String(text) => timestamps::day_of_text(text),
        Value::Number(number) if number.as_u64() == Some(0) => Field::Missing,
        other => timestamps::day_of_number(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: &str = r#"{"rc":0,"rt":6,"svr":181669437,"lt":1,"full":1,"dlmkts":"","data":{"total":5813,"diff":[
        {"f12":"000001","f13":0,"f14":"平安银行","f26":19910403,"f100":"银行"},
        {"f12":"600000","f13":1,"f14":"浦发银行","f26":"19991110","f100":"-"},
        {"f12":"920001","f13":0,"f14":"-","f26":"-","f152":2}]}}"#;

    #[test]
    fn shares_of_all_three_exchanges_are_read() {
        let Page { total, rows } = parse(PAGE).unwrap();
        assert_eq!((total, rows.len()), (5_813, 3));
        let codes: Vec<_> = rows.iter().map(|row| row.code.clone()).collect();
        assert_eq!(codes, ["000001", "600000.SH", "920001"].map(|code| Field::Value(code.to_owned())));
        assert_eq!(rows[0].industry, Field::Value("银行".to_owned()));
        assert!(matches!(rows[0].list_date, Field::Value(day) if day.date().to_string() == "1991-04-03"));
        assert!(matches!(rows[1].list_date, Field::Value(day) if day.date().to_string() == "1999-11-10"));
        assert_eq!(
            (&rows[1].industry, &rows[2].name, &rows[2].list_date),
            (&Field::Missing, &Field::Missing, &Field::Missing)
        );
    }

    #[test]
    fn odd_values_stay_and_odd_answers_are_refused() {
        let odd = r#"{"data":{"total":1,"diff":[{"f12":1,"f13":"x","f14":["a"],"f26":-5,"f100":null}]}}"#;
        let row = parse(odd).unwrap().rows.remove(0);
        assert_eq!((row.code, row.name), (Field::unreadable("1"), Field::unreadable("[\"a\"]")));
        assert!(matches!(row.list_date, Field::Unreadable(_)));
        for (body, part) in [
            (r#"{"rc":0,"data":null}"#, "`data` is null"),
            (r#"{"rc":102,"data":null}"#, "no data (rc 102)"),
            (r#"{"rc":0,"data":{"total":-1,"diff":[]}}"#, "`data`"),
            (r#"{"rc":0,"data":{"total":3,"diff":{"0":{}}}}"#, "`data`"),
            ("<html>", "no answer object"),
        ] {
            assert!(parse(body).unwrap_err().to_string().contains(part), "{body}");
        }
    }

    #[test]
    fn mutated_pages_give_rows_or_error() {
        kit::fuzz::mutate_text(&[PAGE], parse);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]
        #[test]
        fn any_text_gives_rows_or_a_clear_error(body in "\\PC{0,80}", at in 0..PAGE.len(), byte: u8) {
            let _page = parse(&body);
            let mut mutated = PAGE.as_bytes().to_vec();
            mutated[at] = byte;
            if let Err(error) = parse(&String::from_utf8_lossy(&mutated)) {
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
