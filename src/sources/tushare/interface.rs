// Upstream: many
// Downstream: actors, table
// Role: The interface that each of Tushare's interfaces implements for the source.

use actors::domain::{Code, DateRange};
use serde_json::{Map, Value, json};

use super::table::{AnswerError, Page};

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

/// Converts a literal object to parameters.
pub fn params(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(params) => params,
        _ => Map::new(),
    }
}

/// The parameters of a call for one security and a range of days.
pub fn code_and_days(code: Code, range: DateRange) -> Map<String, Value> {
    params(json!({
        "ts_code": code.as_str(),
        "start_date": range.start.format("%Y%m%d").to_string(),
        "end_date": range.end.format("%Y%m%d").to_string(),
    }))
}
