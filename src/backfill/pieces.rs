// Upstream: backfill, feed, journal, plan
// Downstream: actors, request
// Role: A piece of a backfill and its command.

use std::fmt;
use std::sync::Arc;

use actors::domain::{Code, DateRange};
use actors::fetcher::request_plan::Way;
use serde_json::{Map, Value, json};

use super::request::{Kind, Request};

/// A part of a backfill: a command for as many securities and days as a vendor returns in one response, or for all
/// securities on some days. So a kill repeats only the pieces in progress, and a failure only one response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The securities.
    pub codes: Arc<[Code]>,
    /// The days.
    pub range: DateRange,
    /// How the rows are requested.
    pub way: Way,
    /// The number of calls.
    pub num_calls: usize,
}

impl Piece {
    /// The command message.
    pub fn payload(&self, request: &Request) -> String {
        let mut params = Map::new();
        let codes: Vec<&str> = self.codes.iter().map(Code::as_str).collect();
        params.insert("codes".to_owned(), json!(codes));
        if request.force {
            let name = if request.kind == Kind::Tick { "overwrite" } else { "force" };
            params.insert(name.to_owned(), json!(true));
        }
        let command = match request.kind {
            Kind::Bar => "bar_snapshot",
            Kind::Tick => "tick",
            Kind::Adjustfactor => "adjustfactor",
        };
        if request.kind != Kind::Adjustfactor {
            params.insert("start_date".to_owned(), json!(self.range.start.format("%Y%m%d").to_string()));
            params.insert("end_date".to_owned(), json!(self.range.end.format("%Y%m%d").to_string()));
        }
        if request.kind == Kind::Bar {
            params.insert("frequency".to_owned(), json!(request.frequency.as_str()));
            if self.way == Way::ByDay {
                params.insert("by_day".to_owned(), json!(true));
            }
        }
        json!({"command": command, "params": Value::Object(params), "source": "backfill"}).to_string()
    }
}

impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.codes, self.way) {
            ([code], _) => write!(f, "{code} {}", self.range),
            (codes, _) => write!(f, "{} codes {}", codes.len(), self.range),
        }
    }
}
