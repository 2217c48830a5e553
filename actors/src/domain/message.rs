// Upstream: command, command_router, operator_order, trace_ids
// Downstream: command_error
// Role: Parses the fields of a control message.

use crate::domain::CommandError;
use serde_json::{Map, Value};

/// The object in a message, either plain or encoded once more as a JSON string. `None` if the message is empty or null.
pub(crate) fn message_of(payload: &[u8]) -> Result<Option<Map<String, Value>>, CommandError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let value = match parse_json(payload)? {
        Value::String(inner) => parse_json(inner.as_bytes())?,
        other => other,
    };
    match value {
        Value::Object(message) => Ok(Some(message)),
        Value::Null => Ok(None),
        other => Err(CommandError::NotAnObject { found: kind_of(&other) }),
    }
}

pub(crate) fn parse_json(bytes: &[u8]) -> Result<Value, CommandError> {
    serde_json::from_slice(bytes).map_err(|error| CommandError::NotJson {
        reason: error.to_string(),
        start: shorten(&String::from_utf8_lossy(bytes.get(..60).unwrap_or(bytes))),
    })
}

pub(crate) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

pub(crate) fn bad_field(field: &'static str, found: Option<&Value>, expected: &'static str) -> CommandError {
    let found = match found {
        None => "absent".to_owned(),
        Some(value) => format!("{} {}", kind_of(value), shorten(&value.to_string())),
    };
    CommandError::BadField { field, found, expected }
}

pub(crate) fn optional_text(message: &Map<String, Value>, field: &'static str) -> Result<Option<String>, CommandError> {
    match message.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        other => Err(bad_field(field, other, "a string or null")),
    }
}
