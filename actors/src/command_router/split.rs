// Upstream: actor
// Downstream: domain
// Role: Splits a command with many codes into smaller commands, so that the whole consumer group works on it.

use serde_json::{Value, json};

use crate::domain::message::message_of;
use crate::domain::{Code, CommandError, CommandPart};

/// The parts of a command: copies of its message, each with at most `max_codes` of the codes. Each part has the
/// correlation id of the parent command, or `parent_id` if the parent has none.
pub fn split(
    payload: &[u8],
    codes: &[Code],
    max_codes: usize,
    parent_id: &str,
) -> Result<Vec<CommandPart>, CommandError> {
    let parent = message_of(payload)?.unwrap_or_default();
    let correlation_id = ["correlation_id", "request_id", "message_id"]
        .iter()
        .find_map(|field| parent.get(*field).and_then(Value::as_str))
        .unwrap_or(parent_id)
        .to_owned();
    let part = |codes: &[Code]| {
        let mut message = parent.clone();
        let mut params = match message.remove("params") {
            Some(Value::Object(params)) => params,
            _ => serde_json::Map::new(),
        };
        params.remove("code");
        params.insert("codes".to_owned(), codes.iter().map(Code::as_str).collect());
        message.insert("params".to_owned(), Value::Object(params));
        message.insert("correlation_id".to_owned(), json!(correlation_id));
        let key = codes.first().map(ToString::to_string).unwrap_or_default();
        CommandPart { key, payload: Value::Object(message).to_string() }
    };
    Ok(codes.chunks(max_codes.max(1)).map(part).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CodeSelection, ControlCommand, Instruction};

    #[test]
    fn the_parts_are_the_whole_and_keep_everything_else() {
        let codes: Vec<Code> = (0..120).map(|n| format!("{n:06}.SZ").parse().unwrap()).collect();
        let parent =
            r#"{"command":"bar_snapshot","timestamp":"2026-08-10T21:10:00","params":{"full":true},"request_id":"r"}"#;
        let parts = split(parent.as_bytes(), &codes, 50, "t[0]@7").unwrap();
        assert_eq!(parts.len(), 3);
        let mut all = Vec::new();
        for part in &parts {
            let command = ControlCommand::parse(part.payload.as_bytes()).unwrap();
            assert_eq!(command.correlation_id.as_deref(), Some("r"));
            assert!(command.issued_at.is_some());
            let Instruction::BarSnapshot(snapshot) = command.instruction else { panic!("{part:?}") };
            assert_eq!(snapshot.bars.mode, crate::domain::SyncMode::Replace);
            let CodeSelection::These(codes) = snapshot.codes else { panic!("{part:?}") };
            assert!(codes.len() <= 50 && part.key == codes[0].as_str());
            all.extend(codes);
        }
        assert_eq!(all, codes);
        let without_id = split(br#"{"command":"bar_snapshot"}"#, &codes, 500, "t[0]@7").unwrap();
        assert!(without_id[0].payload.contains(r#""correlation_id":"t[0]@7""#), "{}", without_id[0].payload);
    }
}
