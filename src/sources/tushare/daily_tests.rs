// Upstream: cargo
// Downstream: actors, daily, interface, kit, table
// Role: Tests of the parser of Tushare's answers, with answers as the vendor sends them.

use actors::domain::{Code, DateRange, DayNote, FetchedBar, Field, Price};
use actors::ports::NotedRow;
use chrono::NaiveDate;
use proptest::prelude::*;
use rust_decimal::Decimal;

use super::daily::Daily;
use super::interface::Interface;
use super::table::{AnswerError, Page};

/// The vendor's own sample of `daily`, with all default columns.
const SAMPLE: &str = r#"{"request_id":"0ac5e4bd-0b5e-11f0-9e5f-00163e0a8a4d","code":0,"data":{"fields":["ts_code","trade_date","open","high","low","close","pre_close","change","pct_chg","vol","amount"],"items":[["000001.SZ","20180718",8.75,8.85,8.69,8.7,8.72,-0.02,-0.23,525152.77,460697.377],["000001.SZ","20180717",8.74,8.75,8.66,8.72,8.73,-0.01,-0.11,375356.33,326396.994]],"has_more":false,"count":-1},"msg":""}"#;

const FIELDS: &str = r#"["ts_code","trade_date","open","high","low","close","vol","amount","pre_close"]"#;

/// Parses an answer about one security.
fn parse(body: &str, code: Code) -> Result<Page<(Code, NotedRow)>, AnswerError> {
    let day = "2024-01-02".parse().unwrap();
    Daily { codes: &[code], range: DateRange { start: day, end: day } }.parse(body)
}

fn code() -> Code {
    "000001.SZ".parse().unwrap()
}

fn value(text: &str) -> Field<Decimal> {
    Field::Value(text.parse().unwrap())
}

fn answer(fields: &str, items: &str) -> String {
    format!(r#"{{"code":0,"msg":null,"data":{{"items":[{items}],"fields":{fields},"has_more":false}}}}"#)
}

fn read(items: &str) -> Vec<FetchedBar> {
    parse(&answer(FIELDS, items), code()).unwrap().rows.into_iter().filter_map(|(_, (bar, _))| bar).collect()
}

fn refusal(body: &str) -> String {
    parse(body, code()).unwrap_err().to_string()
}

#[test]
fn the_vendors_sample_is_read_digit_by_digit() {
    let page = parse(SAMPLE, code()).unwrap();
    assert!(!page.has_more);
    assert_eq!(page.rows.len(), 2);
    let expected = FetchedBar {
        timestamp: Field::Value(NaiveDate::from_ymd_opt(2018, 7, 18).unwrap().and_hms_opt(0, 0, 0).unwrap()),
        open: value("8.75"),
        high: value("8.85"),
        low: value("8.69"),
        close: value("8.70"),
        volume: value("525152.77"),
        amount: value("460697.377"),
    };
    let (_, (bar, note)) = page.rows[0].clone();
    assert_eq!(bar, Some(expected));
    let day = NaiveDate::from_ymd_opt(2018, 7, 18).unwrap();
    let reference = Some(Price::fen(872));
    assert_eq!(note, Some(DayNote { day, reference, is_suspended: false, is_special: None }));
}

#[test]
fn an_empty_answer_has_no_rows() {
    assert_eq!(read(""), []);
}

#[test]
fn keeps_rows_with_null_or_unreadable_cells() {
    let rows = read(
        r#"["000001.SZ",20180718,null,"8.85","",1e1,true,[1],"x"], ["000001.SZ",null,"x\u0041",1,1,1,{"a":1},"NaN",1]"#,
    );
    assert_eq!(rows[0].open, Field::Missing);
    assert_eq!(rows[0].high, value("8.85"));
    assert_eq!(rows[0].low, Field::Missing);
    assert_eq!(rows[0].close, value("10"));
    assert_eq!(rows[0].volume, Field::unreadable("true"));
    assert_eq!(rows[0].amount, Field::unreadable("[1]"));
    assert_eq!(rows[1].timestamp, Field::Missing);
    assert_eq!(rows[1].open, Field::unreadable("xA"));
    assert_eq!(rows[1].volume, Field::unreadable(r#"{"a":1}"#));
    assert_eq!(rows[1].amount, Field::Missing);
}

#[test]
fn keeps_exact_decimal_numbers() {
    let rows = read(r#"["000001.SZ","20180718",0.1,1.005,123456789012345678.9,2.675,-0,1.0,1]"#);
    assert_eq!(rows[0].high, value("1.005"));
    assert_eq!(rows[0].low, value("123456789012345678.9"));
    assert_eq!(rows[0].close, value("2.675"));
}

#[test]
fn reports_refusals_with_code_and_text() {
    let body =
        r#"{"request_id":"r","code":40203,"msg":"抱歉，您每分钟最多访问该接口500次","message":"抱歉","data":null}"#;
    let expected =
        AnswerError::Refused { code: 40203, message: "抱歉，您每分钟最多访问该接口500次".into() };
    assert_eq!(parse(body, code()), Err(expected));
    let body = r#"{"code":"40101","msg":null,"message":"您的token不对，请确认。"}"#;
    assert_eq!(refusal(body), "code 40101: 您的token不对，请确认。");
}

#[test]
fn what_is_no_answer_is_refused_with_its_beginning() {
    let cases = [
        ("<html><head><title>502</title></head></html>", "no answer object"),
        ("", "no answer object"),
        (&SAMPLE[..SAMPLE.len() / 2], "no answer object"),
        (r#"{"msg":"no code"}"#, "missing field `code`"),
        (r#"{"code":[],"data":null}"#, "`code` is no number"),
        (r#"{"code":0,"data":null}"#, "no `data`"),
        (r#"{"code":0,"data":{"fields":[]}}"#, "missing field `items`"),
        (r#"{"code":0,"data":{"fields":["ts_code"],"items":[]}}"#, "column `trade_date` is missing"),
    ];
    for (body, expected) in cases {
        let text = refusal(body);
        assert!(text.contains(expected), "{text}");
        let start: String = body.chars().take(20).collect();
        assert!(text.contains(&start), "{text}");
    }
}

#[test]
fn rejects_rows_of_other_shape_or_security() {
    let good = r#"["000001.SZ","20180718",1,1,1,1,1,1,1]"#;
    let of = |items: &str| refusal(&answer(FIELDS, items));
    assert!(of(&format!("{good},[1,2]")).contains("row 1 has 2 cells for 9 columns"));
    assert!(of(&format!("{good},{{}}")).contains("row 1 as an array"));
    assert!(
        of(r#"["600000.SH","20180718",1,1,1,1,1,1,1]"#)
            .contains(r#"row 0 is of "600000.SH", but 000001.SZ was requested"#)
    );
    assert!(of(r#"[null,"20180718",1,1,1,1,1,1,1]"#).contains("row 0 is of null"));
    let twice = FIELDS.replace("amount", "vol");
    assert!(refusal(&answer(&twice, good)).contains("column `vol` occurs more than once"));
}

#[test]
fn an_error_shows_a_short_piece_on_one_line() {
    let body = format!("<html>\n{}", "长".repeat(10_000));
    let text = refusal(&body);
    assert!(text.chars().count() < 300 && !text.contains('\n'), "{text}");
}

fn cell() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<f64>().prop_map(|number| serde_json::to_string(&number).unwrap()),
        "-?[0-9]{1,40}(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,6})?",
        "\\PC{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("null".to_owned()),
        Just("[[],{\"a\":[1]}]".to_owned()),
        "\\PC{0,6}",
    ]
}

#[test]
fn mutated_answers_give_rows_or_error() {
    kit::fuzz::mutate_text(&[SAMPLE], |text| parse(text, code()));
}

proptest! {
    #[test]
    fn any_text_gives_rows_or_a_clear_error(body in "\\PC{0,200}") {
        if let Err(error) = parse(&body, code()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn truncated_or_mutated_answer_gives_rows_or_error(cut in 0..SAMPLE.len(), at in 0..SAMPLE.len(), byte: u8) {
        prop_assert!(parse(&SAMPLE[..cut], code()).is_err());
        let mut mutated = SAMPLE.as_bytes().to_vec();
        mutated[at] = byte;
        let mutated = String::from_utf8_lossy(&mutated);
        if let Err(error) = parse(&mutated, code()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn any_cells_give_rows_or_a_clear_error(cells in prop::collection::vec(cell(), 8)) {
        let body = answer(FIELDS, &format!("[\"000001.SZ\",{}]", cells.join(",")));
        match parse(&body, code()) {
            Ok(page) => prop_assert_eq!(page.rows.len(), 1),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn every_decimal_comes_through_unchanged(mantissa in -999_999_999_999_i64..999_999_999_999, scale in 0_u32..6) {
        let number = Decimal::new(mantissa, scale);
        let rows = read(&format!("[\"000001.SZ\",\"20180718\",{number},{number},{number},{number},\"{number}\",{number},{number}]"));
        prop_assert_eq!(&rows[0].open, &Field::Value(number));
        prop_assert_eq!(&rows[0].volume, &Field::Value(number));
    }
}

#[test]
fn a_call_names_several_securities_and_takes_no_others() {
    let codes: Vec<Code> = ["000001.SZ", "600000.SH"].map(|code| code.parse().unwrap()).to_vec();
    let range = DateRange { start: "2018-07-17".parse().unwrap(), end: "2018-07-18".parse().unwrap() };
    let call = Daily { codes: &codes, range };
    assert_eq!(call.params()["ts_code"], "000001.SZ,600000.SH");
    assert_eq!((&call.params()["start_date"], &call.params()["end_date"]), (&"20180717".into(), &"20180718".into()));
    let items = r#"["600000.SH","20180718",9,9.1,8.9,9,100,90,9],["000001.SZ","20180718",8.75,8.85,8.69,8.7,5,4,8.72]"#;
    let rows = call.parse(&answer(FIELDS, items)).unwrap().rows;
    assert_eq!(rows.iter().map(|(code, _)| *code).collect::<Vec<_>>(), [codes[1], codes[0]]);
    let error = call.parse(&answer(FIELDS, &items.replace("600000", "600001"))).unwrap_err().to_string();
    assert!(error.contains("row 0 is of") && error.contains("2 other securities"), "{error}");
}
