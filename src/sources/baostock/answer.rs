// Upstream: adjust_factor, k_data, query, source, stock_basic, trade_dates
// Downstream: frame, kit, sources::shared
// Role: Parses the body of a BaoStock answer: its table, or the vendor's error. Pure.

//! The first field is a code, `0` for success, the second a text. A success continues with the method and the user. The
//! answer to a query also has the page, the page size, the rows as JSON, the query's parameters and, at a position that
//! depends on the query, the column names. Rows are `{"record": [["…", …], …]}`. All cells are strings, and an empty
//! one is a missing value. If there are no rows, the field is empty.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::frame::{Message, SEPARATOR};
use crate::sources::shared::excerpt::excerpt;
use crate::sources::shared::json_rows::Columns;

const SUCCESS: &str = "0";

/// An answer without rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// The vendor refused the request.
    #[error("code {code}: {message}")]
    Refused {
        /// The vendor's code.
        code: String,
        /// The vendor's text.
        message: String,
    },
    /// The body violates the protocol.
    #[error("{0}")]
    Unreadable(String),
}

/// The positions of an answer's parts among its fields.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// The page number; `None` if the query has no pages.
    pub page_at: Option<usize>,
    /// The rows.
    pub rows_at: usize,
    /// The column names.
    pub columns_at: usize,
}

impl Layout {
    /// The layout of a query with pages and with its column names at this position.
    pub const fn paged(columns_at: usize) -> Self {
        Self { page_at: Some(4), rows_at: 6, columns_at }
    }
}

#[derive(Deserialize)]
struct Records<'a> {
    #[serde(borrow)]
    record: &'a RawValue,
}

/// Checks that the answer is a success for this method.
pub fn check(message: &Message, method: &str) -> Result<(), AnswerError> {
    let mut fields = message.body.split(SEPARATOR);
    let (code, text) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    if code != SUCCESS {
        // A code consists of digits. Anything else is no valid answer.
        if code.is_empty() || !code.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(unreadable(message, "no code"));
        }
        return Err(AnswerError::Refused { code: excerpt(code), message: excerpt(text) });
    }
    match fields.next() {
        Some(found) if found == method => Ok(()),
        _ => Err(unreadable(message, &format!("no answer to {method}"))),
    }
}

/// Parses the rows of page `page` of a query. Each row has the cells of these columns as JSON text.
pub fn table<'a, const N: usize>(
    message: &'a Message,
    method: &str,
    page: usize,
    layout: Layout,
    wanted: &[&str; N],
) -> Result<Vec<[&'a str; N]>, AnswerError> {
    check(message, method)?;
    let fields: Vec<&str> = message.body.split(SEPARATOR).collect();
    let field = |at: usize| fields.get(at).map(|text| text.trim());
    if let Some(found) = layout.page_at.and_then(field)
        && found != page.to_string()
    {
        return Err(unreadable(message, &format!("page `{}` instead of {page}", excerpt(found))));
    }
    let rows = field(layout.rows_at).ok_or_else(|| unreadable(message, "no rows"))?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let names = field(layout.columns_at).ok_or_else(|| unreadable(message, "no columns"))?;
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    let columns = Columns::find(&names, wanted).map_err(|reason| unreadable(message, &reason))?;
    let records = |error: serde_json::Error| unreadable(message, &format!("rows: {error}"));
    let json: Records<'a> = serde_json::from_str(rows).map_err(records)?;
    columns.rows(json.record.get()).map_err(records)
}

fn unreadable(message: &Message, reason: &str) -> AnswerError {
    let Message { kind, body } = message;
    AnswerError::Unreadable(format!("{reason}; the answer of kind {} begins with `{}`", excerpt(kind), excerpt(body)))
}

/// The error of an unexpected row.
pub fn wrong_row(number: usize, reason: &str) -> AnswerError {
    AnswerError::Unreadable(format!("row {number} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const METHOD: &str = "query_trade_dates";
    const LAYOUT: Layout = Layout::paged(9);
    const WANTED: [&str; 2] = ["calendar_date", "is_trading_day"];

    fn message(fields: &[&str]) -> Message {
        Message { kind: "34".to_owned(), body: fields.join("\u{1}") }
    }

    fn success(json: &str) -> Message {
        let columns = "calendar_date, is_trading_day";
        message(&["0", "success", METHOD, "anonymous", "1", "2000", json, "2024-01-01", "2024-01-02", columns])
    }

    fn refusal(message: &Message) -> String {
        table(message, METHOD, 1, LAYOUT, &WANTED).unwrap_err().to_string()
    }

    #[test]
    fn rows_are_read_by_the_names_of_their_columns() {
        let answer = success(r#"{"record":[["2024-01-01","0"],["2024-01-02","1"]]}"#);
        let rows = table(&answer, METHOD, 1, LAYOUT, &WANTED).unwrap();
        assert_eq!(rows, [[r#""2024-01-01""#, r#""0""#], [r#""2024-01-02""#, r#""1""#]]);
        assert_eq!(table(&success(""), METHOD, 1, LAYOUT, &WANTED), Ok(vec![]));
        assert_eq!(table(&success(r#"{"record":[]}"#), METHOD, 1, LAYOUT, &WANTED), Ok(vec![]));
    }

    #[test]
    fn reports_a_refusal_with_code_and_text() {
        let refused = message(&["10004011", "证券代码不正确"]);
        assert_eq!(refusal(&refused), "code 10004011: 证券代码不正确");
        assert_eq!(refusal(&message(&["10001001"])), "code 10001001: ");
    }

    #[test]
    fn what_is_no_answer_is_refused_with_its_beginning() {
        let cases = [
            (message(&[""]), "no code"),
            (message(&["<html>", "b"]), "no code; the answer of kind 34 begins with `<html>"),
            (message(&["0", "success"]), "no answer to query_trade_dates"),
            (message(&["0", "success", "login", "anonymous"]), "no answer to query_trade_dates"),
            (message(&["0", "success", METHOD, "anonymous", "1"]), "no rows"),
            (message(&["0", "success", METHOD, "anonymous", "2", "2000", ""]), "page `2` instead of 1"),
            (message(&["0", "success", METHOD, "anonymous", "1", "2000", "{}"]), "no columns"),
            (success("{}"), "missing field `record`"),
            (success("[["), "rows: "),
            (success(r#"{"record":[["2024-01-01"]]}"#), "row 0 has 1 cells for 2 columns"),
            (success(r#"{"record":"none"}"#), "rows: "),
        ];
        for (message, part) in cases {
            let text = refusal(&message);
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn mutated_bodies_give_rows_or_error() {
        let sample = success(r#"{"record":[["2024-01-01","0"],["2024-01-02","1"]]}"#).body;
        kit::fuzz::mutate_text(&[sample], |text| {
            let message = Message { kind: "34".to_owned(), body: text.to_owned() };
            table(&message, METHOD, 1, LAYOUT, &WANTED).map(drop)
        });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(15_000))]

        #[test]
        fn any_body_gives_rows_or_a_clear_error(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            near in prop::collection::vec(prop::sample::select(b"[]{}\",:0a\x01".to_vec()), 0..30),
        ) {
            let [body, json] = [bytes, near].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            for message in [Message { kind: "34".to_owned(), body: body.clone() }, success(&body), success(&json)] {
                if let Err(error) = table(&message, METHOD, 1, LAYOUT, &WANTED) {
                    prop_assert!(!error.to_string().is_empty());
                }
            }
        }
    }
}
