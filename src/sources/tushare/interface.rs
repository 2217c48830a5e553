// Upstream: many
// Downstream: actors, table
// Role: What the source needs to know of one of Tushare's interfaces.

use actors::domain::{Code, DateRange};
use serde_json::{Map, Value, json};

use super::table::{AnswerError, Page};

/// A call to one interface of the vendor's, but for the token and the page.
pub trait Interface: Sync {
    /// What a row of the answer becomes.
    type Row: PartialEq + Send;
    /// The interface's name.
    const NAME: &'static str;
    /// The columns asked for.
    const COLUMNS: &'static [&'static str];
    /// The most rows of one answer (Tushare documentation).
    const PAGE_ROWS: usize;
    /// Whether one can do without the answer. The vendor counts calls of each interface apart, and those of an optional one
    /// hold no others back.
    const IS_OPTIONAL: bool = false;

    /// The parameters.
    fn params(&self) -> Map<String, Value>;

    /// Reads the body of an answer.
    fn parse(&self, body: &str) -> Result<Page<Self::Row>, AnswerError>;
}

/// A literal object as parameters.
pub fn params(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(params) => params,
        _ => Map::new(),
    }
}

/// The parameters of an interface that is asked for one security in a range of days.
pub fn code_and_days(code: Code, range: DateRange) -> Map<String, Value> {
    params(json!({
        "ts_code": code.as_str(),
        "start_date": range.start.format("%Y%m%d").to_string(),
        "end_date": range.end.format("%Y%m%d").to_string(),
    }))
}
