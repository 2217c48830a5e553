// Upstream: many
// Downstream: actors, sources::shared, table
// Role: The interface that each of Tushare's interfaces implements for the source.

use actors::domain::{Code, DateRange, Field};
use serde_json::{Map, Value, json};

use super::table::{self, AnswerError, Page, Table, unreadable};
use crate::sources::shared::cells;
use crate::sources::shared::excerpt::excerpt;

/// A call to one of the vendor's interfaces, except for the token and the page.
pub trait Interface: Sync {
    /// The type that a row of the answer becomes.
    type Row: PartialEq + Send;
    /// The interface's name.
    const NAME: &'static str;
    /// The requested columns.
    const COLUMNS: &'static [&'static str];
    /// Maximum number of rows in one answer (Tushare documentation).
    const PAGE_ROWS: usize;
    /// Whether the source can do without the answer. The vendor counts the calls of each interface separately, and the
    /// calls of an optional interface do not delay others.
    const IS_OPTIONAL: bool = false;

    /// The parameters.
    fn params(&self) -> Map<String, Value>;

    /// Parses the body of an answer.
    fn parse(&self, body: &str) -> Result<Page<Self::Row>, AnswerError>;
}

/// The security of a row, which must be one of `codes`.
fn code_among(ts_code: &str, codes: &[Code], number: usize, body: &str) -> Result<Code, AnswerError> {
    let named = match cells::text(ts_code) {
        Field::Value(text) => text.parse().ok(),
        Field::Missing | Field::Unreadable(_) => None,
    };
    named.filter(|code| codes.contains(code)).ok_or_else(|| {
        let asked = match codes {
            [code] => format!("{code} was"),
            _ => format!("{} other securities were", codes.len()),
        };
        let reason = format!("row {number} is of {}, but {asked} requested", excerpt(ts_code));
        unreadable("`items`", &reason, body)
    })
}

/// Reads the rows of an answer about `codes`, whose first column is the security.
pub fn rows_of<T, const N: usize>(
    body: &str,
    columns: &[&'static str; N],
    codes: &[Code],
    row: impl Fn(&[&str; N]) -> T,
) -> Result<Page<(Code, T)>, AnswerError> {
    let Table { rows, has_more } = table::parse(body, columns)?;
    let rows = rows.iter().enumerate().map(|(number, cells)| {
        let ts_code = cells.first().copied().unwrap_or_default();
        Ok((code_among(ts_code, codes, number, body)?, row(cells)))
    });
    Ok(Page { rows: rows.collect::<Result<_, _>>()?, has_more })
}

/// Converts a literal object to parameters.
pub fn params(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(params) => params,
        _ => Map::new(),
    }
}

/// The parameters of a call for some securities and a range of days. `ts_code` takes several codes, joined by commas
/// (Tushare documentation).
pub fn codes_and_days(codes: &[Code], range: DateRange) -> Map<String, Value> {
    let codes: Vec<&str> = codes.iter().map(Code::as_str).collect();
    params(json!({
        "ts_code": codes.join(","),
        "start_date": range.start.format("%Y%m%d").to_string(),
        "end_date": range.end.format("%Y%m%d").to_string(),
    }))
}
