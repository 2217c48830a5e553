// Upstream: sources::baostock, sources::tushare, sources::yahoo
// Downstream: actors, timestamps
// Role: Reads one JSON cell of a vendor's table as a number, a day, a text or a code. Pure.

use actors::domain::{Code, Field};
use chrono::NaiveDateTime;
use rust_decimal::Decimal;

use crate::sources::shared::timestamps;

/// Whether a cell contains this security code.
pub fn names(cell: &str, code: Code) -> bool {
    with_text(cell, |text| text == code.as_str() || text.parse() == Ok(code)).unwrap_or(false)
}

/// Reads a day, as midnight in Shanghai.
pub fn day(cell: &str) -> Field<NaiveDateTime> {
    match cell {
        "null" => Field::Missing,
        _ => with_text(cell, timestamps::day_of_text).unwrap_or_else(|| timestamps::day_of_number(cell)),
    }
}

/// Reads a time, as wall clock in Shanghai.
pub fn time(cell: &str) -> Field<NaiveDateTime> {
    match cell {
        "null" => Field::Missing,
        _ => with_text(cell, timestamps::time_of_text).unwrap_or_else(|| Field::unreadable(cell)),
    }
}

/// Reads a number, or a string that contains one.
pub fn number(cell: &str) -> Field<Decimal> {
    match cell.as_bytes().first() {
        Some(b'0'..=b'9' | b'-') => Field::number(cell),
        _ if cell == "null" => Field::Missing,
        _ => with_text(cell, Field::number).unwrap_or_else(|| Field::unreadable(cell)),
    }
}

/// Reads a string. An empty string counts as missing.
pub fn text(cell: &str) -> Field<String> {
    match with_text(cell, |text| text.trim().to_owned()) {
        Some(text) if text.is_empty() => Field::Missing,
        Some(text) => Field::Value(text),
        None if cell == "null" => Field::Missing,
        None => Field::unreadable(cell),
    }
}

/// Reads a JSON string and allocates only if it has escapes. `None` for any other value.
fn with_text<T>(cell: &str, read: impl FnOnce(&str) -> T) -> Option<T> {
    let inner = cell.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str::<String>(cell).ok().map(|text| read(&text))
    } else {
        Some(read(inner))
    }
}
